//! Shapes and conditioning of the two models.

use crate::relations::Relations;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A named size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Width 32: unit tests.
    Test,
    /// Width 128, 4 layers: learns the demo's closed vocabulary in minutes on a laptop.
    #[default]
    Demo,
    /// Width 256, 6 layers.
    Tiny,
    /// Width 384, 8 layers: a corpus of one voice on a consumer GPU.
    Small,
    /// Width 512, 12 layers.
    Base,
    /// Width 1024, 12 layers: the width of the VALL-E paper.
    Large,
}

/// Resolved shape of a transformer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelDims {
    /// Width of every hidden state.
    pub width: usize,
    /// Attention heads.
    pub n_heads: usize,
    /// Layers over audio frames.
    pub n_layers: usize,
    /// Inner width of the feed-forward layers.
    pub ffn_width: usize,
    /// Layers of a separate text encoder (`conditioning = "cross"` only).
    pub n_text_layers: usize,
}

impl Preset {
    /// The shape that this name stands for.
    pub fn dims(self) -> ModelDims {
        let dims = |width, n_heads, n_layers, ffn_width, n_text_layers| ModelDims {
            width,
            n_heads,
            n_layers,
            ffn_width,
            n_text_layers,
        };
        match self {
            Self::Test => dims(32, 2, 2, 64, 1),
            Self::Demo => dims(128, 2, 4, 512, 2),
            Self::Tiny => dims(256, 4, 6, 704, 2),
            Self::Small => dims(384, 6, 8, 1024, 3),
            Self::Base => dims(512, 8, 12, 1408, 4),
            Self::Large => dims(1024, 16, 12, 2816, 6),
        }
    }
}

/// How text reaches the audio frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Conditioning {
    /// Text stands before the audio in one sequence (VALL-E).
    #[default]
    Prefix,
    /// A text encoder, read by cross-attention in every layer.
    Cross,
}

/// How the voice reaches the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SpeakerConditioning {
    /// A learned vector for each speaker of the training corpus.
    #[default]
    Embedding,
    /// Frames of another utterance of the same speaker stand before the target.
    Prompt,
}

/// How the speaker encoder sums up reference frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SpeakerPooling {
    /// One speaker token a reference frame.
    #[default]
    None,
    /// Their mean.
    Mean,
    /// A learned weighted mean.
    Attention,
}

/// How an utterance ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LengthControl {
    /// A trained end-of-speech token.
    #[default]
    StopToken,
}

macro_rules! shape_overrides {
    ($name:ident) => {
        impl $name {
            /// The preset with this configuration's overrides.
            pub fn dims(&self) -> ModelDims {
                let preset = self.preset.dims();
                ModelDims {
                    width: self.width.unwrap_or(preset.width),
                    n_heads: self.n_heads.unwrap_or(preset.n_heads),
                    n_layers: self.n_layers.unwrap_or(preset.n_layers),
                    ffn_width: self.ffn_width.unwrap_or(preset.ffn_width),
                    n_text_layers: self.n_text_layers.unwrap_or(preset.n_text_layers),
                }
            }

            pub(crate) fn relations(&self, at: &str, relations: &mut Relations) {
                let dims = self.dims();
                relations.require(
                    dims.n_heads > 0 && dims.width.is_multiple_of(dims.n_heads.saturating_mul(2)),
                    at,
                    "n_heads",
                    dims.n_heads,
                    format!(
                        "a number whose double divides {} (width; rotary positions turn pairs)",
                        dims.width
                    ),
                    &["width", "preset"],
                );
            }
        }
    };
}

/// The autoregressive model: writes codebook 1 frame by frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ArModelConfig {
    /// Named size. Default `demo`.
    pub preset: Preset,
    /// Overrides the preset's width.
    #[schemars(range(min = 8, max = 8192), extend("x-unit" = "units"))]
    pub width: Option<usize>,
    /// Overrides the preset's number of heads.
    #[schemars(range(min = 1, max = 1024), extend("x-unit" = "heads"))]
    pub n_heads: Option<usize>,
    /// Overrides the preset's number of layers.
    #[schemars(range(min = 1, max = 64), extend("x-unit" = "layers"))]
    pub n_layers: Option<usize>,
    /// Overrides the preset's inner feed-forward width.
    #[schemars(range(min = 8, max = 65_536), extend("x-unit" = "units"))]
    pub ffn_width: Option<usize>,
    /// Overrides the preset's number of text encoder layers.
    #[schemars(range(min = 1, max = 64), extend("x-unit" = "layers"))]
    pub n_text_layers: Option<usize>,
    /// How text reaches the frames. Default `prefix`.
    pub conditioning: Conditioning,
    /// How the voice reaches the model. Default `embedding`.
    pub speaker: SpeakerConditioning,
    /// How an utterance ends. Default `stop_token`.
    pub length_control: LengthControl,
    /// Share of units dropped in training, 0 to 0.9. Default 0.1.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 0.9))]
    pub dropout: f64,
    /// Longest text, in symbols. Default 256.
    #[schemars(range(min = 4, max = 65_536), extend("x-unit" = "symbols"))]
    pub max_text_symbols: usize,
    /// Longest prompt and target together, in frames. Default 512.
    #[schemars(range(min = 8, max = 1_000_000), extend("x-unit" = "frames"))]
    pub max_frames: usize,
    /// Whether codes are also read and scored by the codec's own centroids. Default true.
    pub codec_geometry: bool,
}

impl Default for ArModelConfig {
    fn default() -> Self {
        Self {
            preset: Preset::default(),
            width: None,
            n_heads: None,
            n_layers: None,
            ffn_width: None,
            n_text_layers: None,
            conditioning: Conditioning::default(),
            speaker: SpeakerConditioning::default(),
            length_control: LengthControl::default(),
            dropout: 0.1,
            max_text_symbols: 256,
            max_frames: 512,
            codec_geometry: true,
        }
    }
}

shape_overrides!(ArModelConfig);

/// The non-autoregressive model: fills codebooks 2..Q, a codebook a pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NarModelConfig {
    /// Named size. Default `demo`.
    pub preset: Preset,
    /// Overrides the preset's width.
    #[schemars(range(min = 8, max = 8192), extend("x-unit" = "units"))]
    pub width: Option<usize>,
    /// Overrides the preset's number of heads.
    #[schemars(range(min = 1, max = 1024), extend("x-unit" = "heads"))]
    pub n_heads: Option<usize>,
    /// Overrides the preset's number of layers.
    #[schemars(range(min = 1, max = 64), extend("x-unit" = "layers"))]
    pub n_layers: Option<usize>,
    /// Overrides the preset's inner feed-forward width.
    #[schemars(range(min = 8, max = 65_536), extend("x-unit" = "units"))]
    pub ffn_width: Option<usize>,
    /// Overrides the preset's number of text encoder layers.
    #[schemars(range(min = 1, max = 64), extend("x-unit" = "layers"))]
    pub n_text_layers: Option<usize>,
    /// How text reaches the frames. Default `prefix`.
    pub conditioning: Conditioning,
    /// How the voice reaches the model. Default `embedding`.
    pub speaker: SpeakerConditioning,
    /// How the speaker encoder sums up the reference (`speaker = "prompt"` only). Default `none`.
    pub speaker_pooling: SpeakerPooling,
    /// Share of units dropped in training, 0 to 0.9. Default 0.1.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 0.9))]
    pub dropout: f64,
    /// Longest text, in symbols. Default 256.
    #[schemars(range(min = 4, max = 65_536), extend("x-unit" = "symbols"))]
    pub max_text_symbols: usize,
    /// Longest prompt and target together, in frames. Default 512.
    #[schemars(range(min = 8, max = 1_000_000), extend("x-unit" = "frames"))]
    pub max_frames: usize,
    /// Whether codes are also read and scored by the codec's own centroids. Default true.
    pub codec_geometry: bool,
}

impl Default for NarModelConfig {
    fn default() -> Self {
        Self {
            preset: Preset::default(),
            width: None,
            n_heads: None,
            n_layers: Some(3),
            ffn_width: None,
            n_text_layers: None,
            conditioning: Conditioning::default(),
            speaker: SpeakerConditioning::default(),
            speaker_pooling: SpeakerPooling::default(),
            dropout: 0.1,
            max_text_symbols: 256,
            max_frames: 512,
            codec_geometry: true,
        }
    }
}

shape_overrides!(NarModelConfig);
