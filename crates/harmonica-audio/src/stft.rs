//! Short-time Fourier transform with a centred Hann window, and its inverse by weighted overlap-add.

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use std::sync::Arc;

/// Plans and window of one transform. Frame `t` is centred on sample `t * step + step / 2`, so that `n` samples have
/// exactly `ceil(n / step)` frames. Outside of the signal stands silence.
#[derive(Clone)]
pub struct Stft {
    fft_samples: usize,
    step_samples: usize,
    window: Vec<f32>,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
}

impl std::fmt::Debug for Stft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stft")
            .field("fft_samples", &self.fft_samples)
            .field("step_samples", &self.step_samples)
            .finish()
    }
}

impl Stft {
    /// A transform of `fft_samples` with a periodic Hann window of `window_samples`, every `step_samples`.
    ///
    /// # Panics
    /// If the window is longer than the transform.
    pub fn new(fft_samples: usize, window_samples: usize, step_samples: usize) -> Self {
        assert!(window_samples <= fft_samples && step_samples > 0, "window must fit the transform");
        let mut planner = RealFftPlanner::<f32>::new();
        let mut window = vec![0.0; fft_samples];
        let left = (fft_samples - window_samples) / 2;
        for (i, w) in window[left..left + window_samples].iter_mut().enumerate() {
            let phase = std::f64::consts::TAU * (i as f64 + 0.5) / window_samples as f64;
            *w = (0.5 - 0.5 * phase.cos()) as f32;
        }
        Self {
            fft_samples,
            step_samples,
            window,
            forward: planner.plan_fft_forward(fft_samples),
            inverse: planner.plan_fft_inverse(fft_samples),
        }
    }

    /// Frequency bins of a frame.
    pub fn n_bins(&self) -> usize {
        self.fft_samples / 2 + 1
    }

    /// Samples between frames.
    pub fn step_samples(&self) -> usize {
        self.step_samples
    }

    /// Frames that cover `n_samples`.
    pub fn n_frames(&self, n_samples: usize) -> usize {
        n_samples.div_ceil(self.step_samples)
    }

    fn frame_start(&self, frame: usize) -> isize {
        (frame * self.step_samples + self.step_samples / 2) as isize - (self.fft_samples / 2) as isize
    }

    /// Complex spectrum of `n_frames` frames, frame by frame. Frame 0's step begins at sample `offset`.
    pub fn analyse(&self, samples: &[f32], offset: usize, n_frames: usize) -> Vec<Complex<f32>> {
        let mut spectrum = vec![Complex::default(); n_frames * self.n_bins()];
        let (mut time, mut scratch) = (self.forward.make_input_vec(), self.forward.make_scratch_vec());
        for (frame, bins) in spectrum.chunks_exact_mut(self.n_bins()).enumerate() {
            let start = offset as isize + self.frame_start(frame);
            for (i, (value, weight)) in time.iter_mut().zip(&self.window).enumerate() {
                let at = start + i as isize;
                let sample = if at >= 0 { samples.get(at as usize).copied().unwrap_or(0.0) } else { 0.0 };
                *value = sample * weight;
            }
            // Buffers come from the plan itself: their lengths always fit.
            let done = self.forward.process_with_scratch(&mut time, bins, &mut scratch);
            debug_assert!(done.is_ok());
        }
        spectrum
    }

    /// Signal of `n_samples` whose spectrum is nearest to the given frames in the least-squares sense
    /// (Griffin & Lim 1984). Frame 0's step begins at sample `offset`.
    pub fn synthesise(&self, spectrum: &[Complex<f32>], offset: usize, n_samples: usize) -> Vec<f32> {
        let mut signal = vec![0.0_f32; n_samples];
        let mut weight = vec![0.0_f32; n_samples];
        let (mut time, mut scratch) = (self.inverse.make_output_vec(), self.inverse.make_scratch_vec());
        let mut bins = self.inverse.make_input_vec();
        let scale = 1.0 / self.fft_samples as f32;
        for (frame, source) in spectrum.chunks_exact(self.n_bins()).enumerate() {
            bins.copy_from_slice(source);
            bins[0].im = 0.0;
            bins[self.n_bins() - 1].im = 0.0;
            let done = self.inverse.process_with_scratch(&mut bins, &mut time, &mut scratch);
            debug_assert!(done.is_ok());
            let start = offset as isize + self.frame_start(frame);
            for (i, (value, window)) in time.iter().zip(&self.window).enumerate() {
                let at = start + i as isize;
                if at >= 0 && (at as usize) < n_samples {
                    signal[at as usize] += value * window * scale;
                    weight[at as usize] += window * window;
                }
            }
        }
        for (sample, weight) in signal.iter_mut().zip(&weight) {
            *sample /= weight.max(1e-4);
        }
        signal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synthesis_inverts_analysis() {
        let stft = Stft::new(512, 400, 100);
        let signal: Vec<f32> =
            (0..3333).map(|n| (n as f32 * 0.37).sin() + (n as f32 * 0.011).cos()).collect();
        let frames = stft.n_frames(signal.len());
        assert_eq!(frames, 34);
        let back = stft.synthesise(&stft.analyse(&signal, 0, frames), 0, signal.len());
        for (a, b) in signal.iter().zip(&back).skip(60).take(3200) {
            assert!((a - b).abs() < 1e-3, "{a} {b}");
        }
    }
}
