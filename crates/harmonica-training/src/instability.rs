//! What is done about losses and gradients that leap or are not numbers: the learning rate is cut, and recovers.
//!
//! In: cross-entropy and gradient norm of each update. Out: what to do with the update, and what changed, with its cause.
//! Invariant: the state is plain data, so that a resumed run goes on exactly where it stood; the scale stays within
//! `min_scale` and 1.

use harmonica_config_schema::InstabilityConfig;
use serde::{Deserialize, Serialize};

/// Weight of a new value in the running means.
const MEAN_WEIGHT: f64 = 0.05;
/// Weight of a value that leaps: a level that stays becomes the new mean, but slowly.
const LEAP_WEIGHT: f64 = 0.01;
/// Updates before the running means are held against anything.
const WARM_UP: u64 = 10;

/// Where the policy stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Instability {
    /// What is left of the learning rate.
    pub(crate) scale: f64,
    /// Values taken into the means.
    n: u64,
    mean_cross_entropy: f64,
    mean_log_norm: f64,
    /// Updates of the instabilities that are remembered.
    events: Vec<u64>,
    /// Calm updates since the last instability or recovery.
    calm: u64,
}

impl Default for Instability {
    fn default() -> Self {
        Self { scale: 1.0, n: 0, mean_cross_entropy: 0.0, mean_log_norm: 0.0, events: Vec::new(), calm: 0 }
    }
}

/// What to do with an update.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Reaction {
    /// Why the update must not be made, if so.
    pub(crate) skipped: Option<String>,
    /// Whether the learning rate was cut.
    pub(crate) is_cut: bool,
    /// What changed, in words, with its cause.
    pub(crate) words: Vec<String>,
}

impl Instability {
    /// Takes in update number `update` before it is made.
    pub(crate) fn observe(
        &mut self,
        config: &InstabilityConfig,
        update: u64,
        cross_entropy: f64,
        norm: f64,
    ) -> Reaction {
        let mut reaction = Reaction::default();
        let is_number = cross_entropy.is_finite() && norm.is_finite();
        let norm_leaps = self.n >= WARM_UP && norm > config.grad_norm_ratio * self.mean_log_norm.exp();
        let loss_leaps = self.n >= WARM_UP && cross_entropy > self.mean_cross_entropy + config.loss_rise_nats;
        let cause = if !is_number {
            Some(format!("loss {cross_entropy}, gradient norm {norm}"))
        } else if norm_leaps {
            let mean = self.mean_log_norm.exp();
            Some(format!(
                "gradient norm {norm:.3} is above {} times its mean {mean:.3}",
                config.grad_norm_ratio
            ))
        } else if loss_leaps {
            let mean = self.mean_cross_entropy;
            Some(format!(
                "cross-entropy {cross_entropy:.3} is more than {} nats above its mean {mean:.3}",
                config.loss_rise_nats
            ))
        } else {
            None
        };
        if is_number {
            let weight = if self.n < WARM_UP {
                1.0 / (self.n + 1) as f64
            } else if cause.is_some() {
                LEAP_WEIGHT
            } else {
                MEAN_WEIGHT
            };
            self.mean_cross_entropy += weight * (cross_entropy - self.mean_cross_entropy);
            self.mean_log_norm += weight * (norm.max(1e-12).ln() - self.mean_log_norm);
            self.n += 1;
        }
        match cause {
            Some(cause) => self.unstable(config, update, is_number, norm_leaps, cause, &mut reaction),
            None => self.calm(config, &mut reaction),
        }
        reaction
    }

    fn unstable(
        &mut self,
        config: &InstabilityConfig,
        update: u64,
        is_number: bool,
        norm_leaps: bool,
        cause: String,
        reaction: &mut Reaction,
    ) {
        self.calm = 0;
        if !is_number || (norm_leaps && config.skip_spikes) {
            reaction.skipped = Some(cause.clone());
        }
        if config.events_to_cut == 0 {
            return;
        }
        self.events.retain(|event| event + config.window_updates > update);
        self.events.push(update);
        if self.events.len() < config.events_to_cut || self.scale <= config.min_scale {
            return;
        }
        let n = self.events.len();
        self.events.clear();
        self.scale = (self.scale * config.cut_factor).max(config.min_scale);
        reaction.is_cut = true;
        reaction.words.push(format!(
            "learning rate cut to {:.4} of its schedule: {n} instabilities within {} updates, the last: {cause}",
            self.scale, config.window_updates
        ));
    }

    fn calm(&mut self, config: &InstabilityConfig, reaction: &mut Reaction) {
        self.calm += 1;
        if self.scale >= 1.0 || self.calm < config.recover_updates {
            return;
        }
        self.calm = 0;
        self.scale = (self.scale / config.cut_factor).min(1.0);
        let words = format!(
            "learning rate back at {:.4} of its schedule after {} calm updates",
            self.scale, config.recover_updates
        );
        reaction.words.push(words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: InstabilityConfig = InstabilityConfig {
        events_to_cut: 2,
        window_updates: 10,
        grad_norm_ratio: 5.0,
        loss_rise_nats: 1.0,
        skip_spikes: true,
        cut_factor: 0.5,
        min_scale: 0.2,
        recover_updates: 20,
    };

    /// Reactions to (cross-entropy, norm) from update 1 on, through a state that is stored after every update.
    fn play(config: &InstabilityConfig, series: &[(f64, f64)]) -> Vec<(u64, f64, Reaction)> {
        let mut state = Instability::default();
        let mut told = Vec::new();
        for (i, (cross_entropy, norm)) in series.iter().enumerate() {
            state = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
            let reaction = state.observe(config, i as u64 + 1, *cross_entropy, *norm);
            if reaction != Reaction::default() {
                told.push((i as u64 + 1, state.scale, reaction));
            }
        }
        told
    }

    fn with(leaps: &[(usize, f64, f64)], n: usize) -> Vec<(f64, f64)> {
        let mut series = vec![(4.0, 1.0); n];
        leaps.iter().for_each(|(update, cross_entropy, norm)| series[update - 1] = (*cross_entropy, *norm));
        series
    }

    #[test]
    fn a_second_instability_within_the_window_cuts_and_calm_recovers() {
        let told = play(&CONFIG, &with(&[(20, 4.0, 50.0), (25, 6.0, 1.0)], 60));
        let cuts: Vec<(u64, f64)> = told.iter().map(|(update, scale, _)| (*update, *scale)).collect();
        assert_eq!(cuts, [(20, 1.0), (25, 0.5), (45, 1.0)]);
        assert!(told[0].2.skipped.is_some() && told[0].2.words.is_empty(), "a leap of the norm is skipped");
        assert!(told[1].2.skipped.is_none(), "a leap of the loss is not");
        assert!(told[1].2.words[0].contains("2 instabilities within 10 updates, the last: cross-entropy 6"));
        assert!(told[2].2.words[0].contains("back at 1.0000"), "{told:?}");
    }

    #[test]
    fn instabilities_far_apart_cut_nothing() {
        let told = play(&CONFIG, &with(&[(20, 6.0, 1.0), (31, 6.0, 1.0), (42, 6.0, 1.0)], 60));
        assert_eq!(told, []);
    }

    #[test]
    fn the_scale_never_leaves_its_bounds() {
        let leaps: Vec<(usize, f64, f64)> = (20..30).map(|update| (update, f64::NAN, 1.0)).collect();
        let told = play(&CONFIG, &with(&leaps, 120));
        let scales: Vec<f64> =
            told.iter().filter(|(_, _, r)| !r.words.is_empty()).map(|(_, scale, _)| *scale).collect();
        assert_eq!(scales, [0.5, 0.25, 0.2, 0.4, 0.8, 1.0]);
        assert_eq!(told.iter().filter(|(_, _, r)| r.skipped.is_some()).count(), 10);
    }

    #[test]
    fn a_policy_that_is_off_still_skips_what_is_not_a_number() {
        let off = InstabilityConfig { events_to_cut: 0, skip_spikes: false, ..CONFIG };
        let told = play(&off, &with(&[(20, 6.0, 99.0), (21, f64::NAN, 1.0), (22, 4.0, f64::INFINITY)], 40));
        assert_eq!(told.len(), 2);
        assert!(told.iter().all(|(_, scale, r)| r.skipped.is_some() && *scale == 1.0));
    }
}
