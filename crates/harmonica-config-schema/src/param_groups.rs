//! Groups of parameters that learn at their own pace.
//!
//! In: a name of a group; out: its learning rate as a multiple of the run's, and its weight decay. Which parameters a group
//! holds is decided where the optimizer is made. Invariant: with the defaults every group learns at the run's pace.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One group of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ParamGroupConfig {
    /// Learning rate as a multiple of the run's; 0 freezes the group. Default 1.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub lr_multiplier: f64,
    /// Decoupled weight decay of the group's matrices; unset takes the optimizer's, and none for embeddings. Vectors such as
    /// biases and norms never decay.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub weight_decay: Option<f64>,
}

impl Default for ParamGroupConfig {
    fn default() -> Self {
        Self { lr_multiplier: 1.0, weight_decay: None }
    }
}

/// The groups that partition the parameters of a model.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ParamGroupsConfig {
    /// Tables of symbols, codes, positions and speakers.
    pub embeddings: ParamGroupConfig,
    /// Self- and cross-attention of the decoder, with the norms before them.
    pub attention: ParamGroupConfig,
    /// Feed-forward layers of the decoder, with the norms before them.
    pub feed_forward: ParamGroupConfig,
    /// Heads that score codes, and the last norm of the decoder.
    pub output: ParamGroupConfig,
    /// The whole text encoder (`conditioning = "cross"` only).
    pub text_encoder: ParamGroupConfig,
    /// The whole speaker encoder (`speaker = "prompt"` of the NAR model only).
    pub speaker_encoder: ParamGroupConfig,
}
