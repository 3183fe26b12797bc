//! The log-mel frames that Whisper hears (Radford et al. 2022): 25 ms windows every 10 ms, 30 seconds at a time.
//!
//! In: samples at 16 kHz. Out: `n_bands` rows of 3000 frames. Invariant: values are those of `transformers`, up to rounding
//! (`tools/whisper_golden.py`).

use crate::slaney::slaney_filters;
use realfft::{RealFftPlanner, RealToComplex};
use std::f64::consts::TAU;
use std::sync::Arc;

/// Sample rate that Whisper hears, in Hz.
pub(crate) const RATE_HZ: u32 = 16_000;
/// Samples of a window of 30 seconds.
pub(crate) const N_SAMPLES: usize = 30 * RATE_HZ as usize;
/// Frames of a window of 30 seconds.
pub(crate) const N_FRAMES: usize = N_SAMPLES / STEP;
/// Samples of an analysis frame.
const FRAME: usize = 400;
/// From frame to frame, in samples.
const STEP: usize = 160;
const N_BINS: usize = FRAME / 2 + 1;

/// Makes frames.
#[derive(Clone)]
pub(crate) struct WhisperFeatures {
    n_bands: usize,
    /// `[n_bands, N_BINS]`.
    filters: Vec<f64>,
    window: Vec<f64>,
    forward: Arc<dyn RealToComplex<f64>>,
}

impl WhisperFeatures {
    pub(crate) fn new(n_bands: usize) -> Self {
        Self {
            n_bands,
            filters: slaney_filters(RATE_HZ, n_bands, N_BINS),
            window: (0..FRAME).map(|i| 0.5 - 0.5 * (TAU * i as f64 / FRAME as f64).cos()).collect(),
            forward: RealFftPlanner::new().plan_fft_forward(FRAME),
        }
    }

    /// `n_bands` rows of [`N_FRAMES`] values of at most [`N_SAMPLES`] samples; what is missing is silence.
    pub(crate) fn of(&self, samples: &[f32]) -> Vec<f32> {
        // Sound is reflected about its first sample; behind it, where the silence ends, silence is reflected.
        let sample = |at: isize| samples.get(at.unsigned_abs()).map_or(0.0, |s| f64::from(*s));
        let mut logs = vec![0.0_f64; self.n_bands * N_FRAMES];
        let (mut time, mut bins) = (self.forward.make_input_vec(), self.forward.make_output_vec());
        let mut scratch = self.forward.make_scratch_vec();
        for frame in 0..N_FRAMES {
            let start = (frame * STEP) as isize - (FRAME / 2) as isize;
            for (i, (t, w)) in time.iter_mut().zip(&self.window).enumerate() {
                // The last frames look beyond the 30 seconds: reflected about the last sample.
                let last = N_SAMPLES as isize - 1;
                let at = start + i as isize;
                *t = w * sample(if at > last { 2 * last - at } else { at });
            }
            // Buffers come from the plan itself: their lengths always fit.
            let done = self.forward.process_with_scratch(&mut time, &mut bins, &mut scratch);
            debug_assert!(done.is_ok());
            for (band, filter) in self.filters.chunks_exact(N_BINS).enumerate() {
                let power: f64 = filter.iter().zip(&bins).map(|(f, b)| f * b.norm_sqr()).sum();
                logs[band * N_FRAMES + frame] = power.max(1e-10).log10();
            }
        }
        let floor = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max) - 8.0;
        logs.into_iter().map(|l| ((l.max(floor) + 4.0) / 4.0) as f32).collect()
    }
}
