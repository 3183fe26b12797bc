//! What training minimises beside plain cross-entropy. Every term is off until a run asks for it.

use crate::error::Checks;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Weight of a term that fades linearly to zero.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduledWeight {
    /// Weight at update 0. Default 0 (off).
    pub weight: f64,
    /// Updates until it has faded to zero; 0 keeps it for the whole run. Default 0.
    pub fade_updates: u64,
}

impl ScheduledWeight {
    /// Weight at `update`.
    pub fn at(&self, update: u64) -> f64 {
        if self.fade_updates == 0 {
            return self.weight;
        }
        self.weight * (1.0 - update as f64 / self.fade_updates as f64).max(0.0)
    }
}

/// The training objective: cross-entropy and named terms.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectiveConfig {
    /// Probability mass moved from the target to all classes.
    pub label_smoothing: ScheduledWeight,
    /// Rewards the entropy of every prediction.
    pub entropy: ScheduledWeight,
    /// Rewards the entropy of the mean prediction of a batch.
    pub usage_entropy: ScheduledWeight,
    /// Terms registered by name, such as those of the research crate; an unknown name fails before update 0.
    pub registered: BTreeMap<String, ScheduledWeight>,
}

impl ObjectiveConfig {
    pub(crate) fn check(&self, at: &str, checks: &mut Checks) {
        let named = [
            ("label_smoothing", &self.label_smoothing),
            ("entropy", &self.entropy),
            ("usage_entropy", &self.usage_entropy),
        ];
        for (name, term) in named {
            checks.range(format!("{at}.{name}.weight"), term.weight, 0.0, 1.0, "");
        }
        for (name, term) in &self.registered {
            checks.range(format!("{at}.registered.{name}.weight"), term.weight, -100.0, 100.0, "");
        }
    }
}
