//! How a run steers itself: which checkpoint is the best, when its learning rate is cut, when it stops.
//!
//! In: what was measured. Out: nothing here decides anything but [`BestRule`], which is a pure function of a validation.
//! Invariant: all windows are counted in optimizer updates; 0 turns a policy off.

use crate::record::ValidationMetrics;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a best checkpoint is best at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BestMetric {
    /// Lowest mean cross-entropy of validation.
    #[default]
    CrossEntropy,
    /// Highest mean share of likeliest codes that are right.
    Accuracy,
    /// Highest mean share of right codes among the ten likeliest.
    Top10Accuracy,
}

/// Which weights a figure is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JudgedWeights {
    /// The running average.
    #[default]
    Ema,
    /// Those that the optimizer moves.
    Raw,
}

/// Which validation is the best one; among equals the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BestRule {
    /// What is compared. Default `cross_entropy`.
    pub metric: BestMetric,
    /// Whose figure it is; `raw` needs `training.validate_raw_weights`. Default `ema`.
    pub weights: JudgedWeights,
}

impl BestRule {
    /// The figure that the rule compares; none if it was not measured or is not a number.
    pub fn value(&self, validation: &ValidationMetrics) -> Option<f64> {
        let (cross_entropy, codebooks) = match self.weights {
            JudgedWeights::Ema => (validation.cross_entropy, &validation.codebooks),
            JudgedWeights::Raw => {
                let raw = validation.raw.as_ref()?;
                (raw.cross_entropy, &raw.codebooks)
            }
        };
        let mean = |of: fn(&crate::record::CodebookMetrics) -> f64| {
            codebooks.iter().map(of).sum::<f64>() / codebooks.len() as f64
        };
        let value = match self.metric {
            BestMetric::CrossEntropy => cross_entropy,
            BestMetric::Accuracy => mean(|c| c.accuracy),
            BestMetric::Top10Accuracy => mean(|c| c.top10_accuracy),
        };
        value.is_finite().then_some(value)
    }

    /// Whether `value` is strictly better than `other`.
    pub fn is_better(&self, value: f64, other: f64) -> bool {
        match self.metric {
            BestMetric::CrossEntropy => value < other,
            BestMetric::Accuracy | BestMetric::Top10Accuracy => value > other,
        }
    }

    /// The best validation and its value, the first among equals.
    pub fn best<'a>(
        &self,
        validations: impl IntoIterator<Item = &'a ValidationMetrics>,
    ) -> Option<(&'a ValidationMetrics, f64)> {
        let mut best: Option<(&ValidationMetrics, f64)> = None;
        for validation in validations {
            if let Some(value) = self.value(validation)
                && best.is_none_or(|(_, known)| self.is_better(value, known))
            {
                best = Some((validation, value));
            }
        }
        best
    }

    /// The rule in words.
    pub fn words(&self) -> String {
        let metric = match self.metric {
            BestMetric::CrossEntropy => "lowest validation cross-entropy",
            BestMetric::Accuracy => "highest validation accuracy",
            BestMetric::Top10Accuracy => "highest validation top-10 accuracy",
        };
        let weights = match self.weights {
            JudgedWeights::Ema => "averaged",
            JudgedWeights::Raw => "raw",
        };
        format!("{metric} of the {weights} weights")
    }
}

/// The learning rate falls where validation no longer does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PlateauConfig {
    /// Updates without a lower validation cross-entropy after which the learning rate is cut; 0 never cuts it. Default 0.
    #[schemars(extend("x-unit" = "updates"))]
    pub patience_updates: u64,
    /// Nats by which cross-entropy must fall to count as lower. Default 0.001.
    #[schemars(range(min = 0.0, max = 10.0), extend("x-unit" = "nats"))]
    pub min_gain_nats: f64,
    /// What a cut multiplies the learning rate by. Default 0.5.
    #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
    pub cut_factor: f64,
    /// Share of the scheduled learning rate below which it is never cut. Default 0.05.
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    pub min_scale: f64,
}

impl Default for PlateauConfig {
    fn default() -> Self {
        Self { patience_updates: 0, min_gain_nats: 0.001, cut_factor: 0.5, min_scale: 0.05 }
    }
}

/// The run ends where neither cross-entropy nor utilization gets better.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EarlyStopConfig {
    /// Updates without a lower validation cross-entropy that may pass; 0 never stops. Default 0.
    #[schemars(extend("x-unit" = "updates"))]
    pub patience_updates: u64,
    /// Nats by which cross-entropy must fall to count as lower. Default 0.001.
    #[schemars(range(min = 0.0, max = 10.0), extend("x-unit" = "nats"))]
    pub min_gain_nats: f64,
    /// Updates without a higher utilization that must pass too. Default 2000.
    #[schemars(extend("x-unit" = "updates"))]
    pub utilization_patience_updates: u64,
    /// By how much the median utilization of the codebooks, a ratio to their targets', must rise to count. Default 0.01.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_utilization_gain: f64,
}

impl Default for EarlyStopConfig {
    fn default() -> Self {
        Self {
            patience_updates: 0,
            min_gain_nats: 0.001,
            utilization_patience_updates: 2000,
            min_utilization_gain: 0.01,
        }
    }
}

/// What is done about losses and gradients that leap.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InstabilityConfig {
    /// Instabilities within `window_updates` after which the learning rate is cut; 0 never cuts it. Default 3.
    #[schemars(range(max = 1000), extend("x-unit" = "updates"))]
    pub events_to_cut: usize,
    /// How long an instability is remembered. Default 100.
    #[schemars(range(min = 1), extend("x-unit" = "updates"))]
    pub window_updates: u64,
    /// A gradient norm above this multiple of its running mean is an instability. Default 10.
    #[schemars(extend("exclusiveMinimum" = 1.0))]
    pub grad_norm_ratio: f64,
    /// A cross-entropy this far above its running mean is an instability. Default 1.5.
    #[schemars(extend("exclusiveMinimum" = 0.0, "x-unit" = "nats"))]
    pub loss_rise_nats: f64,
    /// Whether an update whose gradient norm leaps is skipped. Default false.
    pub skip_spikes: bool,
    /// What a cut multiplies the learning rate by. Default 0.5.
    #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
    pub cut_factor: f64,
    /// Share of the scheduled learning rate below which it is never cut. Default 0.01.
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    pub min_scale: f64,
    /// Calm updates after which one cut is taken back. Default 500.
    #[schemars(range(min = 1), extend("x-unit" = "updates"))]
    pub recover_updates: u64,
}

impl Default for InstabilityConfig {
    fn default() -> Self {
        Self {
            events_to_cut: 3,
            window_updates: 100,
            grad_norm_ratio: 10.0,
            loss_rise_nats: 1.5,
            skip_spikes: false,
            cut_factor: 0.5,
            min_scale: 0.01,
            recover_updates: 500,
        }
    }
}

/// How a run steers itself.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunControl {
    /// Which checkpoint is the best.
    pub best: BestRule,
    /// The learning rate falls where validation no longer does.
    pub plateau: PlateauConfig,
    /// The run ends where neither cross-entropy nor utilization gets better.
    pub early_stop: EarlyStopConfig,
    /// What is done about losses and gradients that leap.
    pub instability: InstabilityConfig,
}
