//! What training minimises beside plain cross-entropy. Every term is off until a run asks for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Weight of a term that fades linearly to zero.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduledWeight {
    /// Weight at update 0. Default 0 (off).
    #[schemars(range(min = -100.0, max = 100.0))]
    pub weight: f64,
    /// Updates until it has faded to zero; 0 keeps it for the whole run. Default 0.
    #[schemars(extend("x-unit" = "updates"))]
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
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectiveConfig {
    /// Probability mass moved from the target to all classes.
    #[schemars(transform = weight_from_0_to_1)]
    pub label_smoothing: ScheduledWeight,
    /// Rewards the entropy of every prediction.
    #[schemars(transform = weight_from_0_to_1)]
    pub entropy: ScheduledWeight,
    /// Rewards the entropy of the mean prediction of a batch.
    #[schemars(transform = weight_from_0_to_1)]
    pub usage_entropy: ScheduledWeight,
    /// Terms registered by name, such as those of the research crate; an unknown name fails before update 0.
    pub registered: BTreeMap<String, ScheduledWeight>,
}

/// A built-in term is a share of the loss: its weight has a tighter range than that of a registered one.
fn weight_from_0_to_1(schema: &mut schemars::Schema) {
    if let Some(weight) = schema.pointer_mut("/properties/weight") {
        weight["minimum"] = 0.0.into();
        weight["maximum"] = 1.0.into();
    }
}
