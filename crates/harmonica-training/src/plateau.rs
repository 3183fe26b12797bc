//! Validation that no longer gets better: the learning rate falls, and in the end the run stops.
//!
//! In: cross-entropy and utilization of each validation. Out: what changed, with its cause. Invariant: both states are plain
//! data, so that a resumed run cuts and stops at the very updates at which one that was never stopped does.

use harmonica_config_schema::record::CodebookMetrics;
use harmonica_config_schema::{EarlyStopConfig, PlateauConfig};
use serde::{Deserialize, Serialize};

/// The best value so far and since when nothing was better.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    best: Option<f64>,
    since_update: u64,
}

impl Record {
    /// Takes in a value of which less is better; returns how many updates ago the best one was.
    fn observe(&mut self, update: u64, value: f64, min_gain: f64) -> u64 {
        if value.is_finite() && self.best.is_none_or(|best| value < best - min_gain) {
            *self = Self { best: Some(value), since_update: update };
        }
        update - self.since_update
    }
}

/// Cuts the learning rate on a plateau of validation cross-entropy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlateauPolicy {
    /// What is left of the learning rate.
    pub scale: f64,
    cross_entropy: Record,
}

impl Default for PlateauPolicy {
    fn default() -> Self {
        Self { scale: 1.0, cross_entropy: Record::default() }
    }
}

impl PlateauPolicy {
    /// Takes in a validation; says why the learning rate was cut, if it was.
    pub fn observe(&mut self, config: &PlateauConfig, update: u64, cross_entropy: f64) -> Option<String> {
        if config.patience_updates == 0 {
            return None;
        }
        let waited = self.cross_entropy.observe(update, cross_entropy, config.min_gain_nats);
        if waited < config.patience_updates || self.scale <= config.min_scale {
            return None;
        }
        self.scale = (self.scale * config.cut_factor).max(config.min_scale);
        // The lower rate gets as long again to show what it can do.
        self.cross_entropy.since_update = update;
        let best = self.cross_entropy.best.unwrap_or(f64::NAN);
        Some(format!(
            "learning rate cut to {:.4} of its schedule: validation cross-entropy has not fallen below {best:.4} for {waited} updates",
            self.scale
        ))
    }
}

/// Stops a run in which neither cross-entropy nor utilization gets better.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStop {
    cross_entropy: Record,
    utilization: Record,
    /// Why the run stopped, once it did.
    pub stopped: Option<String>,
}

impl EarlyStop {
    /// Takes in a validation; says why to stop, if so.
    pub fn observe(
        &mut self,
        config: &EarlyStopConfig,
        update: u64,
        cross_entropy: f64,
        utilization: f64,
    ) -> Option<String> {
        if config.patience_updates == 0 {
            return None;
        }
        let loss = self.cross_entropy.observe(update, cross_entropy, config.min_gain_nats);
        let used = self.utilization.observe(update, -utilization, config.min_utilization_gain);
        if loss < config.patience_updates || used < config.utilization_patience_updates {
            return None;
        }
        let best = self.cross_entropy.best.unwrap_or(f64::NAN);
        let most = -self.utilization.best.unwrap_or(f64::NAN);
        self.stopped = Some(format!(
            "stopped early at update {update}: validation cross-entropy has not fallen below {best:.4} for {loss} updates, nor utilization risen above {most:.3} for {used}"
        ));
        self.stopped.clone()
    }
}

/// Median over the codebooks of how much of their targets' codes they use; more than all counts as all.
pub(crate) fn median_utilization(codebooks: &[CodebookMetrics]) -> f64 {
    let mut ratios: Vec<f64> = codebooks.iter().map(|c| c.utilization_ratio.min(1.0)).collect();
    ratios.sort_by(f64::total_cmp);
    let n = ratios.len();
    if n == 0 { f64::NAN } else { 0.5 * (ratios[(n - 1) / 2] + ratios[n / 2]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLATEAU: PlateauConfig =
        PlateauConfig { patience_updates: 200, min_gain_nats: 0.01, cut_factor: 0.5, min_scale: 0.2 };
    const STOP: EarlyStopConfig = EarlyStopConfig {
        patience_updates: 300,
        min_gain_nats: 0.01,
        utilization_patience_updates: 400,
        min_utilization_gain: 0.02,
    };

    /// State as a resumed run reads it.
    fn stored<T: Serialize + serde::de::DeserializeOwned>(state: &T) -> T {
        serde_json::from_str(&serde_json::to_string(state).unwrap()).unwrap()
    }

    /// Updates and scales of the cuts; a validation every 100 updates.
    fn cuts(series: &[f64]) -> Vec<(u64, f64)> {
        let mut policy = PlateauPolicy::default();
        let mut cuts = Vec::new();
        for (i, value) in series.iter().enumerate() {
            policy = stored(&policy);
            let update = 100 * (i as u64 + 1);
            if policy.observe(&PLATEAU, update, *value).is_some() {
                cuts.push((update, policy.scale));
            }
        }
        cuts
    }

    fn stop(series: &[(f64, f64)]) -> Option<u64> {
        let mut policy = EarlyStop::default();
        series.iter().enumerate().find_map(|(i, (cross_entropy, utilization))| {
            policy = stored(&policy);
            let update = 100 * (i as u64 + 1);
            policy.observe(&STOP, update, *cross_entropy, *utilization).map(|_| update)
        })
    }

    #[test]
    fn the_rate_is_cut_after_exactly_the_patience_and_again_after_as_long() {
        assert_eq!(cuts(&[5.0, 4.0, 3.0, 3.0, 3.0, 3.0, 3.0]), [(500, 0.5), (700, 0.25)]);
        // A gain that is too small to count does not help; one that counts does.
        assert_eq!(cuts(&[3.0, 2.995, 2.992]), [(300, 0.5)]);
        assert_eq!(cuts(&[3.0, 2.995, 2.98, 2.98]), []);
    }

    #[test]
    fn a_rate_at_its_bound_is_not_cut_again() {
        assert_eq!(cuts(&[3.0; 12]), [(300, 0.5), (500, 0.25), (700, 0.2)]);
    }

    #[test]
    fn a_loss_that_is_not_a_number_is_no_gain() {
        assert_eq!(cuts(&[3.0, f64::NAN, f64::NAN]), [(300, 0.5)]);
    }

    #[test]
    fn a_run_stops_only_when_both_windows_have_passed() {
        let flat = |n| vec![(3.0, 0.5); n];
        assert_eq!(stop(&flat(8)), Some(500));
        // Utilization still rises until update 400.
        let rising: Vec<(f64, f64)> = (0..12).map(|i| (3.0, 0.3 + 0.1 * f64::from(i).min(3.0))).collect();
        assert_eq!(stop(&rising), Some(800));
        // Cross-entropy still falls until update 600.
        let falling: Vec<(f64, f64)> = (0..12).map(|i| (6.0 - f64::from(i).min(5.0), 0.5)).collect();
        assert_eq!(stop(&falling), Some(900));
    }

    #[test]
    fn a_policy_without_patience_does_nothing() {
        let plateau = PlateauConfig { patience_updates: 0, ..PLATEAU };
        assert_eq!(PlateauPolicy::default().observe(&plateau, 10_000, 3.0), None);
        let stop = EarlyStopConfig { patience_updates: 0, ..STOP };
        assert_eq!(EarlyStop::default().observe(&stop, 10_000, 3.0, 0.5), None);
    }
}
