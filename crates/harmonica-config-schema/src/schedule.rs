//! How a quantity moves over the updates of a run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Shape of the fall after the plateau.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// A straight line.
    #[default]
    Linear,
    /// Half a cosine.
    Cosine,
}

/// Warm-up, plateau, decay. Invariant: the value is above zero at update 0 and never rises after the plateau,
/// also beyond `max_updates`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// Highest value. Default 0.002.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub peak: f64,
    /// Updates of linear warm-up. Default 100.
    #[schemars(extend("x-unit" = "updates"))]
    pub warmup_updates: u64,
    /// Another spelling of `warmup_updates`, in batches: it must be a multiple of `grad_accumulation`, and the later spelling
    /// wins.
    #[schemars(range(max = 1_000_000_000_000_i64), extend("x-unit" = "batches"))]
    pub warmup_micro_steps: Option<u64>,
    /// Share of the run after which the decay starts, 0 to 1. Default 0.6.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub decay_start: f64,
    /// Shape of the decay. Default `linear`.
    pub decay: Decay,
    /// Last value as a share of `peak`. Default 0.03.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub final_ratio: f64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            peak: 2e-3,
            warmup_updates: 100,
            warmup_micro_steps: None,
            decay_start: 0.6,
            decay: Decay::Linear,
            final_ratio: 0.03,
        }
    }
}

impl Schedule {
    /// Value at `update` (counted from 0) of a run of `max_updates`.
    pub fn at(&self, update: u64, max_updates: u64) -> f64 {
        if update < self.warmup_updates {
            return self.peak * (update + 1) as f64 / (self.warmup_updates + 1) as f64;
        }
        let start = (self.decay_start * max_updates as f64).max(self.warmup_updates as f64);
        let span = (max_updates as f64 - start).max(1.0);
        let progress = ((update as f64 - start) / span).clamp(0.0, 1.0);
        let fallen = match self.decay {
            Decay::Linear => progress,
            Decay::Cosine => 0.5 - 0.5 * (std::f64::consts::PI * progress).cos(),
        };
        self.peak * (1.0 - (1.0 - self.final_ratio) * fallen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn first_update_already_moves_the_weights() {
        assert!(Schedule::default().at(0, 1000) > 0.0);
    }

    #[test]
    fn decay_ends_at_the_final_ratio_and_stays_there() {
        let schedule = Schedule { peak: 1.0, final_ratio: 0.1, ..Schedule::default() };
        assert!((schedule.at(1000, 1000) - 0.1).abs() < 1e-12);
        assert!((schedule.at(5000, 1000) - 0.1).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn never_rises_after_warm_up(warmup in 0_u64..50, start in 0.0_f64..1.0, update in 50_u64..2000) {
            for decay in [Decay::Linear, Decay::Cosine] {
                let schedule = Schedule { warmup_updates: warmup, decay_start: start, decay, ..Schedule::default() };
                prop_assert!(schedule.at(update + 1, 1000) <= schedule.at(update, 1000) + 1e-15);
            }
        }
    }
}
