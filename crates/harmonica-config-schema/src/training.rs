//! How the two models are trained: separate blocks over a small shared base. Steps are optimizer updates.

use crate::error::Checks;
use crate::{ObjectiveConfig, Schedule};
use serde::{Deserialize, Serialize};

/// AdamW (Loshchilov & Hutter 2019) and what surrounds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Learning rate over the run.
    pub learning_rate: Schedule,
    /// Decay of the first moment. Default 0.9.
    pub beta_1: f64,
    /// Decay of the second moment. Default 0.95.
    pub beta_2: f64,
    /// Added to the root of the second moment. Default 1e-8.
    pub epsilon: f64,
    /// Decoupled weight decay of matrices; vectors and embeddings have none. Default 0.02.
    pub weight_decay: f64,
    /// Largest global gradient norm; larger gradients are scaled down. Default 1.
    pub max_grad_norm: f64,
    /// Decay of the weight average that is evaluated and shipped. Default 0.998.
    pub ema_decay: f64,
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
        }
    }
}

/// Training of the AR model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ArTraining {
    /// Optimizer updates of the whole run. Default 6000.
    pub max_updates: u64,
    /// Batches whose gradients make one update. Default 1.
    pub grad_accumulation: usize,
    /// Optimizer.
    pub optimizer: OptimizerConfig,
    /// Share of input codes replaced by random ones, 0 to 1. Default 0.1.
    pub token_noise: f64,
    /// Objective.
    pub objective: ObjectiveConfig,
}

impl Default for ArTraining {
    fn default() -> Self {
        Self {
            max_updates: 6000,
            grad_accumulation: 1,
            optimizer: OptimizerConfig::default(),
            token_noise: 0.1,
            objective: ObjectiveConfig::default(),
        }
    }
}

/// Training of the NAR model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NarTraining {
    /// Optimizer updates of the whole run. Default 6000.
    pub max_updates: u64,
    /// Batches whose gradients make one update. Default 1.
    pub grad_accumulation: usize,
    /// Optimizer.
    pub optimizer: OptimizerConfig,
    /// Share of input codes replaced by random ones, 0 to 1. Default 0.05.
    pub token_noise: f64,
    /// Objective.
    pub objective: ObjectiveConfig,
}

impl Default for NarTraining {
    fn default() -> Self {
        Self {
            max_updates: 6000,
            grad_accumulation: 1,
            optimizer: OptimizerConfig::default(),
            token_noise: 0.05,
            objective: ObjectiveConfig::default(),
        }
    }
}

/// What AR and NAR training share, and their own blocks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingConfig {
    /// A line in the metrics every so many updates. Default 50.
    pub log_every_updates: u64,
    /// Validation every so many updates. Default 500.
    pub validate_every_updates: u64,
    /// A checkpoint every so many updates. Default 1000.
    pub checkpoint_every_updates: u64,
    /// Checkpoints kept beside the best one. Default 2.
    pub keep_checkpoints: usize,
    /// Updates in a row with a non-finite loss or gradient after which the run stops. Default 10.
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
            checkpoint_every_updates: 1000,
            keep_checkpoints: 2,
            max_skipped_updates: 10,
            ar: ArTraining::default(),
            nar: NarTraining::default(),
        }
    }
}

impl TrainingConfig {
    pub(crate) fn check(&self, checks: &mut Checks) {
        for (name, value) in [
            ("log_every_updates", self.log_every_updates),
            ("validate_every_updates", self.validate_every_updates),
            ("checkpoint_every_updates", self.checkpoint_every_updates),
            ("ar.max_updates", self.ar.max_updates),
            ("nar.max_updates", self.nar.max_updates),
        ] {
            checks.range(format!("training.{name}"), value, 1, 1_000_000_000, "updates");
        }
        checks.range("training.keep_checkpoints".into(), self.keep_checkpoints, 1, 1000, "checkpoints");
        let blocks = [
            ("ar", self.ar.grad_accumulation, self.ar.token_noise, &self.ar.optimizer, &self.ar.objective),
            (
                "nar",
                self.nar.grad_accumulation,
                self.nar.token_noise,
                &self.nar.optimizer,
                &self.nar.objective,
            ),
        ];
        for (name, accumulation, noise, optimizer, objective) in blocks {
            let at = format!("training.{name}");
            checks.range(format!("{at}.grad_accumulation"), accumulation, 1, 4096, "batches");
            checks.range(format!("{at}.token_noise"), noise, 0.0, 1.0, "");
            optimizer.learning_rate.check(&format!("{at}.optimizer.learning_rate"), checks);
            for (key, value) in [
                ("beta_1", optimizer.beta_1),
                ("beta_2", optimizer.beta_2),
                ("weight_decay", optimizer.weight_decay),
                ("ema_decay", optimizer.ema_decay),
            ] {
                checks.require(
                    (0.0..1.0).contains(&value),
                    format!("{at}.optimizer.{key}"),
                    value,
                    "from 0 to below 1",
                );
            }
            checks.require(
                optimizer.epsilon > 0.0,
                format!("{at}.optimizer.epsilon"),
                optimizer.epsilon,
                "above 0",
            );
            checks.require(
                optimizer.max_grad_norm > 0.0,
                format!("{at}.optimizer.max_grad_norm"),
                optimizer.max_grad_norm,
                "above 0",
            );
            objective.check(&format!("{at}.objective"), checks);
        }
    }
}
