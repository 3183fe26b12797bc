//! Which codec a run speaks in, and what every codec promises about its tokens.

use crate::ConfigError;
use crate::relations::{Checked, Relations};
use schemars::JsonSchema;
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CodecKind {
    /// Log-mel frames, PCA and residual k-means, fitted on the corpus in seconds.
    #[default]
    MelRvq,
    /// EnCodec, a neural codec, in the files that the Hugging Face libraries write.
    #[serde(rename = "encodec")]
    EnCodec,
}

impl CodecKind {
    /// Its name in configurations and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::MelRvq => "mel_rvq",
            Self::EnCodec => "encodec",
        }
    }
}

/// The codec of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CodecConfig {
    /// Which kind of codec. Default `mel_rvq`.
    pub kind: CodecKind,
    /// Directory of the codec's files, or `hf://org/name[@revision]` for an EnCodec model of the Hugging Face hub. Default `runs/codec`.
    pub dir: String,
    /// Settings of a fit of `mel_rvq`.
    pub mel_rvq: MelRvqConfig,
    /// How `encodec` is used.
    pub encodec: EnCodecSettings,
}

impl Default for CodecConfig {
    fn default() -> Self {
        Self {
            kind: CodecKind::MelRvq,
            dir: "runs/codec".into(),
            mel_rvq: MelRvqConfig::default(),
            encodec: EnCodecSettings::default(),
        }
    }
}

/// How an EnCodec model is used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EnCodecSettings {
    /// Bandwidth, in kbit/s: as many codebooks as fit in it, at least one. Default 6.0 (8 codebooks of the 24 kHz model).
    #[schemars(range(max = 96.0), extend("exclusiveMinimum" = 0.0, "x-unit" = "kbit/s"))]
    pub bandwidth_kbps: f64,
}

impl Default for EnCodecSettings {
    fn default() -> Self {
        Self { bandwidth_kbps: 6.0 }
    }
}

/// How to fit the embedded codec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MelRvqConfig {
    /// Samples a second: 16000 or 24000. Default 16000.
    #[schemars(extend("enum" = [16_000, 24_000], "x-unit" = "Hz"))]
    pub sample_rate_hz: u32,
    /// Window of the short-time Fourier transform, in samples; a power of two. Default 1024.
    #[schemars(extend("enum" = [256, 512, 1024, 2048, 4096], "x-unit" = "samples"))]
    pub fft_samples: usize,
    /// Length of the Hann window, in samples, at most `fft_samples`. Default 640.
    #[schemars(range(min = 64, max = 4096), extend("x-unit" = "samples"))]
    pub window_samples: usize,
    /// Step between mel frames, in samples. Default 160.
    #[schemars(range(min = 32, max = 1024), extend("x-unit" = "samples"))]
    pub step_samples: usize,
    /// Mel frames stacked into one codec frame. Default 4 (25 codec frames a second at 16 kHz).
    #[schemars(range(min = 1, max = 16), extend("x-unit" = "mel frames"))]
    pub stack: usize,
    /// Mel bands. Default 80.
    #[schemars(range(min = 20, max = 256), extend("x-unit" = "bands"))]
    pub n_mels: usize,
    /// Lowest mel edge, in Hz. Default 40.
    #[schemars(range(min = 0.0, max = 12000.0), extend("x-unit" = "Hz"))]
    pub mel_low_hz: f64,
    /// Highest mel edge, in Hz. Default 7600.
    #[schemars(range(max = 12000.0), extend("exclusiveMinimum" = 0.0, "x-unit" = "Hz"))]
    pub mel_high_hz: f64,
    /// What ripples along frequency finer than a quarter of the bands (the harmonics of a voice) count when codes are chosen,
    /// where the spectral envelope counts 1; above 0 to 1. Default 0.5.
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    pub fine_weight: f64,
    /// Principal components kept of a stacked frame. Default 96.
    #[schemars(range(min = 4, max = 4096), extend("x-unit" = "components"))]
    pub n_components: usize,
    /// Codebooks a frame. Default 4.
    #[schemars(range(min = 1, max = 32), extend("x-unit" = "codebooks"))]
    pub n_codebooks: usize,
    /// Entries a codebook. Default 1024.
    #[schemars(range(min = 2, max = 8192), extend("x-unit" = "entries"))]
    pub codebook_size: usize,
    /// Lloyd iterations a codebook. Default 12.
    #[schemars(range(min = 1, max = 100), extend("x-unit" = "iterations"))]
    pub kmeans_iterations: usize,
    /// Frames used for the fit at most, of utterances that are spread over the corpus. Default 120000.
    #[schemars(range(min = 8, max = 100_000_000), extend("x-unit" = "frames"))]
    pub max_fit_frames: usize,
    /// Phase reconstruction iterations of the decoder. Default 32.
    #[schemars(range(min = 1, max = 200), extend("x-unit" = "iterations"))]
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

    /// Checks every value; settings that come from a codec's own files have passed no loader.
    ///
    /// # Errors
    /// Each key that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::unless_empty(crate::loader::problems_of(self, "codec.mel_rvq"))
    }
}

impl Checked for MelRvqConfig {
    fn relations(&self, at: &str, relations: &mut Relations) {
        let (least, most) = (self.step_samples.saturating_mul(2), self.fft_samples);
        relations.require(
            (least..=most).contains(&self.window_samples),
            at,
            "window_samples",
            self.window_samples,
            format!("from {least} (2 x step_samples) to {most} (fft_samples)"),
            &["step_samples", "fft_samples"],
        );
        let half_rate = f64::from(self.sample_rate_hz) / 2.0;
        relations.require(
            self.mel_low_hz < self.mel_high_hz && self.mel_high_hz <= half_rate,
            at,
            "mel_high_hz",
            self.mel_high_hz,
            format!(
                "above {} (mel_low_hz) and at most {half_rate} Hz (half the sample rate)",
                self.mel_low_hz
            ),
            &["mel_low_hz", "sample_rate_hz"],
        );
        let stacked = self.n_mels.saturating_mul(self.stack);
        relations.require(
            self.n_components <= stacked,
            at,
            "n_components",
            self.n_components,
            format!("at most {stacked} (n_mels x stack)"),
            &["n_mels", "stack"],
        );
        let needed = self.codebook_size.max(self.n_components).saturating_mul(2);
        relations.require(
            self.max_fit_frames >= needed,
            at,
            "max_fit_frames",
            self.max_fit_frames,
            format!("at least {needed} (2 x the larger of codebook_size and n_components)"),
            &["codebook_size", "n_components"],
        );
    }
}
