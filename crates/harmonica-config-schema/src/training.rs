//! How the two models are trained: separate blocks over a small shared base. Steps are optimizer updates.

use crate::{ObjectiveConfig, ParamGroupsConfig, RunControl, Schedule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// AdamW (Loshchilov & Hutter 2019) and what surrounds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Learning rate over the run.
    pub learning_rate: Schedule,
    /// Decay of the first moment. Default 0.9.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub beta_1: f64,
    /// Decay of the second moment. Default 0.95.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub beta_2: f64,
    /// Added to the root of the second moment. Default 1e-8.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub epsilon: f64,
    /// Decoupled weight decay of matrices; vectors and embeddings have none. Default 0.02.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub weight_decay: f64,
    /// Largest global gradient norm; larger gradients are scaled down. Default 1.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub max_grad_norm: f64,
    /// Decay of the weight average that is evaluated and shipped; over the first updates it is (1 + update) / (10 + update)
    /// where that is less, so that the average forgets the first weights. Default 0.998.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub ema_decay: f64,
    /// Groups of parameters with their own learning rate and weight decay.
    pub groups: ParamGroupsConfig,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            learning_rate: Schedule::default(),
            beta_1: 0.9,
            beta_2: 0.95,
            epsilon: 1e-8,
            weight_decay: 0.02,
            max_grad_norm: 1.0,
            ema_decay: 0.998,
            groups: ParamGroupsConfig::default(),
        }
    }
}

/// Training of the AR model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ArTraining {
    /// Optimizer updates of the whole run. Default 6000.
    #[schemars(range(min = 1, max = 1_000_000_000), extend("x-unit" = "updates"))]
    pub max_updates: u64,
    /// Another spelling of `max_updates`, in batches: it must be a multiple of `grad_accumulation`, and the later spelling wins.
    #[schemars(range(min = 1, max = 1_000_000_000_000_i64), extend("x-unit" = "batches"))]
    pub max_micro_steps: Option<u64>,
    /// Batches whose gradients make one update. Default 1.
    #[schemars(range(min = 1, max = 4096), extend("x-unit" = "batches"))]
    pub grad_accumulation: usize,
    /// Optimizer.
    pub optimizer: OptimizerConfig,
    /// Share of input codes replaced by random ones, 0 to 1. Default 0.1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub token_noise: f64,
    /// Objective.
    pub objective: ObjectiveConfig,
    /// How the run steers itself.
    pub control: RunControl,
}

impl Default for ArTraining {
    fn default() -> Self {
        Self {
            max_updates: 6000,
            max_micro_steps: None,
            grad_accumulation: 1,
            optimizer: OptimizerConfig::default(),
            token_noise: 0.1,
            objective: ObjectiveConfig::default(),
            control: RunControl::default(),
        }
    }
}

/// Training of the NAR model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NarTraining {
    /// Optimizer updates of the whole run. Default 6000.
    #[schemars(range(min = 1, max = 1_000_000_000), extend("x-unit" = "updates"))]
    pub max_updates: u64,
    /// Another spelling of `max_updates`, in batches: it must be a multiple of `grad_accumulation`, and the later spelling wins.
    #[schemars(range(min = 1, max = 1_000_000_000_000_i64), extend("x-unit" = "batches"))]
    pub max_micro_steps: Option<u64>,
    /// Batches whose gradients make one update. Default 1.
    #[schemars(range(min = 1, max = 4096), extend("x-unit" = "batches"))]
    pub grad_accumulation: usize,
    /// Optimizer.
    pub optimizer: OptimizerConfig,
    /// Share of input codes replaced by random ones, 0 to 1. Default 0.05.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub token_noise: f64,
    /// Objective.
    pub objective: ObjectiveConfig,
    /// How the run steers itself.
    pub control: RunControl,
}

impl Default for NarTraining {
    fn default() -> Self {
        Self {
            max_updates: 6000,
            max_micro_steps: None,
            grad_accumulation: 1,
            optimizer: OptimizerConfig::default(),
            token_noise: 0.05,
            objective: ObjectiveConfig::default(),
            control: RunControl::default(),
        }
    }
}

/// What AR and NAR training share, and their own blocks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingConfig {
    /// A line in the metrics every so many updates. Default 50.
    #[schemars(range(min = 1, max = 1_000_000_000), extend("x-unit" = "updates"))]
    pub log_every_updates: u64,
    /// Validation every so many updates. Default 500.
    #[schemars(range(min = 1, max = 1_000_000_000), extend("x-unit" = "updates"))]
    pub validate_every_updates: u64,
    /// Whether validations judge the raw weights beside their running average. Default true.
    pub validate_raw_weights: bool,
    /// Validation utterances that are also written freely, without their own codes as input; 0 leaves that out. Default 8.
    #[schemars(range(max = 100_000), extend("x-unit" = "utterances"))]
    pub free_running_utterances: usize,
    /// Validation batches on which the use of text and prompt is probed and attention is looked at; 0 leaves that out. Default 4.
    #[schemars(range(max = 100_000), extend("x-unit" = "batches"))]
    pub probe_batches: usize,
    /// A checkpoint every so many updates. Default 1000.
    #[schemars(range(min = 1, max = 1_000_000_000), extend("x-unit" = "updates"))]
    pub checkpoint_every_updates: u64,
    /// Last checkpoints kept beside the best one. Default 2.
    #[schemars(range(min = 1, max = 1000), extend("x-unit" = "checkpoints"))]
    pub keep_checkpoints: usize,
    /// Checkpoints after a multiple of so many updates are kept too; 0 keeps none for that. Default 0.
    #[schemars(range(min = 0, max = 1_000_000_000), extend("x-unit" = "updates"))]
    pub keep_every_updates: u64,
    /// Updates in a row with a non-finite loss or gradient after which the run stops. Default 10.
    #[schemars(extend("x-unit" = "updates"))]
    pub max_skipped_updates: u64,
    /// The AR model.
    pub ar: ArTraining,
    /// The NAR model.
    pub nar: NarTraining,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            log_every_updates: 50,
            validate_every_updates: 500,
            validate_raw_weights: true,
            free_running_utterances: 8,
            probe_batches: 4,
            checkpoint_every_updates: 1000,
            keep_checkpoints: 2,
            keep_every_updates: 0,
            max_skipped_updates: 10,
            ar: ArTraining::default(),
            nar: NarTraining::default(),
        }
    }
}
