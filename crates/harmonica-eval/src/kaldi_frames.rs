//! Log-mel frames as Kaldi's `fbank` makes them, which public speaker embedders hear.
//!
//! In: samples at 16 kHz; out: natural logarithms of mel powers, 25 ms windows every 10 ms, each band less its mean over the
//! utterance. Samples count as 16-bit numbers, windows are Hamming's, there is no dither. Invariant: values are those of
//! `kaldi_native_fbank`, up to rounding (`tools/golden_onnx.py`).

use realfft::{RealFftPlanner, RealToComplex};
use std::f64::consts::TAU;
use std::sync::Arc;

/// From frame to frame, in seconds.
pub(crate) const STEP_S: f64 = 0.01;
const RATE_HZ: f64 = 16_000.0;
const WINDOW: usize = 400;
const STEP: usize = 160;
const N_FFT: usize = 512;
/// Lower edge of the lowest band, in Hz.
const LOW_HZ: f64 = 20.0;
const PREEMPHASIS: f64 = 0.97;
/// What full scale counts as.
const FULL_SCALE: f64 = 32_768.0;

/// Makes frames.
#[derive(Clone)]
pub(crate) struct KaldiFrames {
    n_bands: usize,
    /// `[n_bands, N_FFT / 2]`.
    filters: Vec<f64>,
    window: Vec<f64>,
    forward: Arc<dyn RealToComplex<f64>>,
}

fn mel(hz: f64) -> f64 {
    1127.0 * (1.0 + hz / 700.0).ln()
}

impl KaldiFrames {
    pub(crate) fn new(n_bands: usize) -> Self {
        let (low, high) = (mel(LOW_HZ), mel(RATE_HZ / 2.0));
        let step = (high - low) / (n_bands + 1) as f64;
        let mut filters = Vec::with_capacity(n_bands * N_FFT / 2);
        for band in 0..n_bands {
            let left = low + band as f64 * step;
            for bin in 0..N_FFT / 2 {
                let at = mel(RATE_HZ / N_FFT as f64 * bin as f64);
                filters.push(((at - left) / step).min((left + 2.0 * step - at) / step).max(0.0));
            }
        }
        let window = |i: usize| 0.54 - 0.46 * (TAU * i as f64 / (WINDOW - 1) as f64).cos();
        Self {
            n_bands,
            filters,
            window: (0..WINDOW).map(window).collect(),
            forward: RealFftPlanner::new().plan_fft_forward(N_FFT),
        }
    }

    pub(crate) fn n_bands(&self) -> usize {
        self.n_bands
    }

    /// Frames that fit wholly into the sound, `[frames, n_bands]`; sound shorter than one frame is followed by silence.
    pub(crate) fn of(&self, samples: &[f32]) -> Vec<f32> {
        let n_frames = 1 + samples.len().saturating_sub(WINDOW) / STEP;
        let mut logs = Vec::with_capacity(n_frames * self.n_bands);
        let (mut time, mut bins) = (self.forward.make_input_vec(), self.forward.make_output_vec());
        let mut scratch = self.forward.make_scratch_vec();
        for frame in 0..n_frames {
            let sample = |i: usize| samples.get(frame * STEP + i).map_or(0.0, |s| f64::from(*s) * FULL_SCALE);
            let mean = (0..WINDOW).map(sample).sum::<f64>() / WINDOW as f64;
            time.fill(0.0);
            for (i, (t, w)) in time.iter_mut().zip(&self.window).enumerate() {
                let before = sample(i.saturating_sub(1)) - mean;
                *t = w * (sample(i) - mean - PREEMPHASIS * before);
            }
            // Buffers come from the plan itself: their lengths always fit.
            let done = self.forward.process_with_scratch(&mut time, &mut bins, &mut scratch);
            debug_assert!(done.is_ok());
            for filter in self.filters.chunks_exact(N_FFT / 2) {
                let power: f64 = filter.iter().zip(&bins).map(|(f, b)| f * b.norm_sqr()).sum();
                logs.push(power.max(f64::from(f32::EPSILON)).ln());
            }
        }
        let means: Vec<f64> = (0..self.n_bands)
            .map(|b| logs.iter().skip(b).step_by(self.n_bands).sum::<f64>() / n_frames as f64)
            .collect();
        logs.iter().zip(means.iter().cycle()).map(|(l, m)| (l - m) as f32).collect()
    }
}
