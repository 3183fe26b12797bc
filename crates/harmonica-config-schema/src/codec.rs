//! Which codec a run speaks in, and what every codec promises about its tokens.

use crate::error::Checks;
use serde::{Deserialize, Serialize};

/// What the tokens of a codec mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodecSpec {
    /// Name of the kind of codec, such as `mel_rvq`.
    pub id: String,
    /// Samples a second of the waveforms it reads and writes.
    pub sample_rate_hz: u32,
    /// Samples that one frame of codes covers.
    pub hop_samples: usize,
    /// Codebooks a frame.
    pub n_codebooks: usize,
    /// Entries of every codebook.
    pub codebook_size: usize,
}

impl CodecSpec {
    /// Frames a second.
    pub fn frame_rate_hz(&self) -> f64 {
        f64::from(self.sample_rate_hz) / self.hop_samples as f64
    }

    /// Frames that cover `n_samples` samples.
    pub fn n_frames(&self, n_samples: usize) -> usize {
        n_samples.div_ceil(self.hop_samples)
    }
}

/// A kind of codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodecKind {
    /// Log-mel frames, PCA and residual k-means, fitted on the corpus in seconds.
    #[default]
    MelRvq,
}

/// The codec of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CodecConfig {
    /// Which kind of codec. Default `mel_rvq`.
    pub kind: CodecKind,
    /// Directory of the codec's files. Default `runs/codec`.
    pub dir: String,
    /// Settings of a fit of `mel_rvq`.
    pub mel_rvq: MelRvqConfig,
}

impl Default for CodecConfig {
    fn default() -> Self {
        Self { kind: CodecKind::MelRvq, dir: "runs/codec".into(), mel_rvq: MelRvqConfig::default() }
    }
}

/// How to fit the embedded codec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MelRvqConfig {
    /// Samples a second: 16000 or 24000. Default 16000.
    pub sample_rate_hz: u32,
    /// Window of the short-time Fourier transform, in samples; a power of two. Default 1024.
    pub fft_samples: usize,
    /// Length of the Hann window, in samples, at most `fft_samples`. Default 640.
    pub window_samples: usize,
    /// Step between mel frames, in samples. Default 160.
    pub step_samples: usize,
    /// Mel frames stacked into one codec frame. Default 4 (25 codec frames a second at 16 kHz).
    pub stack: usize,
    /// Mel bands. Default 80.
    pub n_mels: usize,
    /// Lowest mel edge, in Hz. Default 40.
    pub mel_low_hz: f64,
    /// Highest mel edge, in Hz. Default 7600.
    pub mel_high_hz: f64,
    /// What ripples along frequency finer than a quarter of the bands (the harmonics of a voice) count when codes are chosen,
    /// where the spectral envelope counts 1; above 0 to 1. Default 0.5.
    pub fine_weight: f64,
    /// Principal components kept of a stacked frame. Default 96.
    pub n_components: usize,
    /// Codebooks a frame. Default 4.
    pub n_codebooks: usize,
    /// Entries a codebook. Default 1024.
    pub codebook_size: usize,
    /// Lloyd iterations a codebook. Default 12.
    pub kmeans_iterations: usize,
    /// Frames used for the fit at most, of utterances that are spread over the corpus. Default 120000.
    pub max_fit_frames: usize,
    /// Phase reconstruction iterations of the decoder. Default 32.
    pub phase_iterations: usize,
}

impl Default for MelRvqConfig {
    fn default() -> Self {
        Self {
            sample_rate_hz: 16_000,
            fft_samples: 1024,
            window_samples: 640,
            step_samples: 160,
            stack: 4,
            n_mels: 80,
            mel_low_hz: 40.0,
            mel_high_hz: 7600.0,
            fine_weight: 0.5,
            n_components: 96,
            n_codebooks: 4,
            codebook_size: 1024,
            kmeans_iterations: 12,
            max_fit_frames: 120_000,
            phase_iterations: 32,
        }
    }
}

impl MelRvqConfig {
    /// What the tokens of a codec fitted with these settings mean.
    pub fn spec(&self) -> CodecSpec {
        CodecSpec {
            id: "mel_rvq".into(),
            sample_rate_hz: self.sample_rate_hz,
            hop_samples: self.step_samples * self.stack,
            n_codebooks: self.n_codebooks,
            codebook_size: self.codebook_size,
        }
    }

    pub(crate) fn check(&self, at: &str, checks: &mut Checks) {
        let key = |name: &str| format!("{at}.{name}");
        checks.require(
            [16_000, 24_000].contains(&self.sample_rate_hz),
            key("sample_rate_hz"),
            self.sample_rate_hz,
            "16000 or 24000 Hz",
        );
        checks.require(
            self.fft_samples.is_power_of_two() && (256..=4096).contains(&self.fft_samples),
            key("fft_samples"),
            self.fft_samples,
            "a power of two from 256 to 4096 samples",
        );
        checks.require(
            (2 * self.step_samples..=self.fft_samples).contains(&self.window_samples),
            key("window_samples"),
            self.window_samples,
            "from 2 x step_samples to fft_samples",
        );
        checks.range(key("step_samples"), self.step_samples, 32, 1024, "samples");
        checks.range(key("stack"), self.stack, 1, 16, "mel frames");
        checks.range(key("n_mels"), self.n_mels, 20, 256, "bands");
        checks.require(
            self.mel_low_hz >= 0.0
                && self.mel_low_hz < self.mel_high_hz
                && self.mel_high_hz <= f64::from(self.sample_rate_hz) / 2.0,
            key("mel_high_hz"),
            self.mel_high_hz,
            "above mel_low_hz and at most half the sample rate",
        );
        checks.require(
            self.fine_weight > 0.0 && self.fine_weight <= 1.0,
            key("fine_weight"),
            self.fine_weight,
            "above 0 and at most 1",
        );
        checks.range(key("n_components"), self.n_components, 4, self.n_mels * self.stack, "components");
        checks.range(key("n_codebooks"), self.n_codebooks, 1, 32, "codebooks");
        checks.range(key("codebook_size"), self.codebook_size, 2, 8192, "entries");
        checks.range(key("kmeans_iterations"), self.kmeans_iterations, 1, 100, "iterations");
        let needed = 2 * self.codebook_size.max(self.n_components);
        checks.range(key("max_fit_frames"), self.max_fit_frames, needed, 100_000_000, "frames");
        checks.range(key("phase_iterations"), self.phase_iterations, 1, 200, "iterations");
    }
}
