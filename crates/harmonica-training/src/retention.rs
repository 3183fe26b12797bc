//! Which checkpoints of a run may go.
//!
//! In: their updates, the best one, the configuration; out: the updates to remove. Invariant: the newest and the best one
//! always stay.

use harmonica_config_schema::TrainingConfig;

/// Updates whose checkpoints are neither the best, nor among the last `keep_checkpoints` others, nor at a multiple of
/// `keep_every_updates`; `checkpoints` ascends.
pub(crate) fn superseded(checkpoints: &[u64], best: Option<u64>, training: &TrainingConfig) -> Vec<u64> {
    let every = training.keep_every_updates;
    let mut others: Vec<u64> = checkpoints.iter().copied().filter(|update| Some(*update) != best).collect();
    others.truncate(others.len().saturating_sub(training.keep_checkpoints.max(1)));
    others.retain(|update| every == 0 || !update.is_multiple_of(every));
    others
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(best: Option<u64>, keep_checkpoints: usize, keep_every_updates: u64, wanted: &[u64]) {
        let training = TrainingConfig { keep_checkpoints, keep_every_updates, ..TrainingConfig::default() };
        assert_eq!(superseded(&[10, 20, 25, 30, 40], best, &training), wanted);
    }

    #[test]
    fn the_last_the_best_and_every_nth_stay() {
        check(None, 2, 0, &[10, 20, 25]);
        check(Some(20), 2, 0, &[10, 25]);
        check(Some(40), 2, 0, &[10, 20]);
        check(Some(20), 1, 10, &[25]);
        check(None, 1, 20, &[10, 25, 30]);
        check(None, 9, 0, &[]);
    }
}
