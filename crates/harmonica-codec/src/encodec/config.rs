//! The model's `config.json` as the Hugging Face libraries write it.
//!
//! In: JSON bytes. Out: a checked [`EnCodecConfig`]. Keys that do not concern the computation are passed over; where the
//! codec is a part of another model (Bark, MusicGen), its part of that configuration is read.
//! Invariant: every shape of the network follows from this configuration; nothing is assumed of a released model.

use serde::{Deserialize, Serialize};

/// How a convolution continues its input beyond the ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PadMode {
    /// Mirrored, without repeating the end.
    Reflect,
    /// Zeros.
    #[serde(alias = "zero")]
    Constant,
    /// The end, repeated.
    Replicate,
}

/// What keeps activations in range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormType {
    /// Weights as direction and length; folded when they are read.
    WeightNorm,
    /// Group normalization with one group, over time as well: such a model sees a chunk as a whole.
    TimeGroupNorm,
}

/// Shape and rules of an EnCodec model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EnCodecConfig {
    /// Bandwidths it was trained for, in kbit/s, ascending; the last one decides how many codebooks there are.
    pub target_bandwidths: Vec<f64>,
    /// Samples a second.
    pub sampling_rate: u32,
    /// Channels of a waveform.
    pub audio_channels: usize,
    /// Whether a chunk is divided by its root mean square.
    pub normalize: bool,
    /// Length of a chunk, in seconds; without it a waveform is one chunk.
    pub chunk_length_s: Option<f64>,
    /// Part of a chunk that the next one covers too.
    pub overlap: Option<f64>,
    /// Width of a latent frame.
    pub hidden_size: usize,
    /// Channels after the first convolution.
    pub num_filters: usize,
    /// Residual blocks at every rate.
    pub num_residual_layers: usize,
    /// Strides of the decoder, in its order.
    pub upsampling_ratios: Vec<usize>,
    /// What keeps activations in range.
    pub norm_type: NormType,
    /// Kernel of the first convolutions.
    pub kernel_size: usize,
    /// Kernel of the last convolutions.
    pub last_kernel_size: usize,
    /// Kernel of the residual blocks.
    pub residual_kernel_size: usize,
    /// Factor of the dilation from one residual block to the next.
    pub dilation_growth_rate: usize,
    /// Whether a convolution looks back only.
    pub use_causal_conv: bool,
    /// How convolutions continue their input.
    pub pad_mode: PadMode,
    /// Factor by which a residual branch is narrower.
    pub compress: usize,
    /// Layers of the long short-term memory.
    pub num_lstm_layers: usize,
    /// Part of a transposed convolution's surplus that is cut at the right.
    pub trim_right_ratio: f64,
    /// Entries of a codebook.
    pub codebook_size: usize,
    /// Width of a codebook's vectors; that of a latent where it is absent.
    pub codebook_dim: Option<usize>,
    /// Whether the skip of a residual block is a convolution.
    pub use_conv_shortcut: bool,
}

impl Default for EnCodecConfig {
    fn default() -> Self {
        Self {
            target_bandwidths: vec![1.5, 3.0, 6.0, 12.0, 24.0],
            sampling_rate: 24_000,
            audio_channels: 1,
            normalize: false,
            chunk_length_s: None,
            overlap: None,
            hidden_size: 128,
            num_filters: 32,
            num_residual_layers: 1,
            upsampling_ratios: vec![8, 5, 4, 2],
            norm_type: NormType::WeightNorm,
            kernel_size: 7,
            last_kernel_size: 7,
            residual_kernel_size: 3,
            dilation_growth_rate: 2,
            use_causal_conv: true,
            pad_mode: PadMode::Reflect,
            compress: 2,
            num_lstm_layers: 2,
            trim_right_ratio: 1.0,
            codebook_size: 1024,
            codebook_dim: None,
            use_conv_shortcut: true,
        }
    }
}

impl EnCodecConfig {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// What is wrong with it, naming the key.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let mut value: serde_json::Value = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        // Of a model that contains the codec: its own part.
        for part in ["audio_encoder", "codec_config"] {
            if let Some(inner) = value.get_mut(part).filter(|inner| inner.is_object()) {
                value = inner.take();
                break;
            }
        }
        if let Some(kind) = value.get("model_type").and_then(|kind| kind.as_str())
            && kind != "encodec"
        {
            return Err(format!("`model_type` is `{kind}`, not `encodec`"));
        }
        let config: Self = serde_json::from_value(value).map_err(|e| e.to_string())?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let scale = self.scale();
        let within = [
            ("sampling_rate", self.sampling_rate as usize, 1_000, 384_000),
            ("audio_channels", self.audio_channels, 1, 2),
            ("hidden_size", self.hidden_size, 1, 4096),
            ("num_filters", self.num_filters, 1, 512),
            ("num_residual_layers", self.num_residual_layers, 0, 8),
            ("upsampling_ratios (their number)", self.upsampling_ratios.len(), 1, 8),
            ("upsampling_ratios (their product)", self.hop_samples(), 1, 16_384),
            ("kernel_size", self.kernel_size, 1, 63),
            ("last_kernel_size", self.last_kernel_size, 1, 63),
            ("residual_kernel_size", self.residual_kernel_size, 1, 63),
            ("dilation_growth_rate", self.dilation_growth_rate, 1, 4),
            ("compress", self.compress, 1, self.num_filters),
            ("num_lstm_layers", self.num_lstm_layers, 0, 8),
            ("codebook_size", self.codebook_size, 2, 1 << 16),
            ("num_filters x 2^(number of ratios)", scale.saturating_mul(self.num_filters), 1, 16_384),
        ];
        for (key, value, least, most) in within {
            if !(least..=most).contains(&value) {
                return Err(format!("`{key}` is {value}, not from {least} to {most}"));
            }
        }
        if self.upsampling_ratios.contains(&0) {
            return Err("`upsampling_ratios` holds a zero".into());
        }
        if self.codebook_dim.is_some_and(|dim| dim != self.hidden_size) {
            return Err("`codebook_dim` differs from `hidden_size`".into());
        }
        if !(0.0..=1.0).contains(&self.trim_right_ratio) {
            return Err(format!("`trim_right_ratio` is {}, not from 0 to 1", self.trim_right_ratio));
        }
        if self.target_bandwidths.iter().any(|kbps| !(0.0..=1000.0).contains(kbps)) || self.n_codebooks() == 0
        {
            return Err("the last of `target_bandwidths` leaves no codebook".into());
        }
        if self.chunk_length_s.is_some() != self.overlap.is_some() {
            return Err("`chunk_length_s` and `overlap` belong together".into());
        }
        if self.chunk_length_s.is_some_and(|s| !(0.05..=3600.0).contains(&s))
            || self.overlap.is_some_and(|part| !(0.0..1.0).contains(&part))
        {
            return Err("`chunk_length_s` or `overlap` is out of range".into());
        }
        Ok(())
    }

    /// Factor from the channels of the first convolution to those at the lowest rate.
    pub(crate) fn scale(&self) -> usize {
        1_usize.checked_shl(self.upsampling_ratios.len() as u32).unwrap_or(usize::MAX)
    }

    /// Samples a frame.
    pub fn hop_samples(&self) -> usize {
        self.upsampling_ratios.iter().fold(1, |product, ratio| product.saturating_mul(*ratio))
    }

    /// Frames a second, as bandwidths count them.
    fn frame_rate_hz(&self) -> f64 {
        f64::from(self.sampling_rate.div_ceil(self.hop_samples() as u32))
    }

    /// Codebooks that the model has.
    pub fn n_codebooks(&self) -> usize {
        let bits = (self.codebook_size as f64).log2().ceil();
        let highest = self.target_bandwidths.last().copied().unwrap_or(0.0);
        (1000.0 * highest / (self.frame_rate_hz() * bits)).floor() as usize
    }

    /// Codebooks that fit in a bandwidth, at least one.
    pub fn codebooks_within(&self, kbps: f64) -> usize {
        let each = (self.codebook_size as f64).log2() * self.frame_rate_hz();
        ((kbps * 1000.0 / each).floor() as usize).clamp(1, self.n_codebooks())
    }

    /// Samples of a chunk, and from one chunk to the next.
    pub(crate) fn chunking(&self) -> Option<(usize, usize)> {
        let length = (self.chunk_length_s? * f64::from(self.sampling_rate)) as usize;
        Some((length, (((1.0 - self.overlap?) * length as f64) as usize).max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bandwidths_choose_codebooks() {
        let config = EnCodecConfig::default();
        assert_eq!(config.n_codebooks(), 32);
        let chosen = [1.5, 3.0, 6.0, 12.0, 24.0, 100.0, 0.1].map(|kbps| config.codebooks_within(kbps));
        assert_eq!(chosen, [2, 4, 8, 16, 32, 32, 1]);
    }

    #[test]
    fn a_part_of_another_model_is_found_and_a_wrong_key_is_named() {
        let music = br#"{"model_type": "musicgen", "audio_encoder": {"model_type": "encodec", "num_filters": 64,
            "upsampling_ratios": [8, 5, 4, 4], "sampling_rate": 32000, "codebook_size": 2048,
            "target_bandwidths": [2.2], "use_causal_conv": false, "use_conv_shortcut": false, "dtype": "float32"}}"#;
        let config = EnCodecConfig::parse(music).unwrap();
        assert_eq!((config.hop_samples(), config.n_codebooks()), (640, 4));
        for (json, key) in [
            (r#"{"model_type": "dac"}"#, "model_type"),
            (r#"{"pad_mode": "wrap"}"#, "wrap"),
            (r#"{"upsampling_ratios": [8, 0]}"#, "upsampling_ratios"),
            (r#"{"num_filters": 0}"#, "num_filters"),
            (r#"{"target_bandwidths": [0.1]}"#, "target_bandwidths"),
        ] {
            let error = EnCodecConfig::parse(json.as_bytes()).unwrap_err();
            assert!(error.contains(key), "{error}");
        }
    }
}
