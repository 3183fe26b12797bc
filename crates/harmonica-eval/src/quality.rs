//! Predictors of what listeners would say of speech: models that others trained, given by their users.

use crate::EvalError;
use harmonica_audio::Waveform;
use harmonica_config_schema::RandomStream;
use harmonica_config_schema::record::{Interval, JudgedUtterance};
use std::collections::BTreeMap;

/// Resamples of the bootstrap.
const N_RESAMPLES: u64 = 1000;

/// Predicts a mean opinion score, usually from 1 to 5.
pub trait QualityPredictor {
    /// Name in records, as its user calls it.
    fn name(&self) -> &str;

    /// What it is: file and hash.
    fn model(&self) -> String;

    /// The score of an utterance.
    ///
    /// # Errors
    /// Sound that cannot be converted, or a model that fails.
    fn predict(&self, waveform: &Waveform) -> Result<f64, EvalError>;
}

/// Mean of each predictor over the utterances that have it, with a 95 % bootstrap interval over utterances.
pub(crate) fn mean_scores(utterances: &[JudgedUtterance]) -> BTreeMap<String, Interval> {
    let names: std::collections::BTreeSet<&String> = utterances.iter().flat_map(|u| u.mos.keys()).collect();
    let mean = |values: &mut dyn Iterator<Item = f64>, n: usize| values.sum::<f64>() / n as f64;
    let one = |name: &String| {
        let scores: Vec<f64> = utterances.iter().filter_map(|u| u.mos.get(name).copied()).collect();
        let n = scores.len();
        let mut samples: Vec<f64> = (0..N_RESAMPLES)
            .map(|s| {
                let mut stream = RandomStream::new(0, "opinion", &[s]);
                mean(&mut (0..n).map(|_| scores[stream.below(n)]), n)
            })
            .collect();
        samples.sort_by(f64::total_cmp);
        let at = |share: f64| samples[(share * (samples.len() - 1) as f64).round() as usize];
        Interval { value: mean(&mut scores.iter().copied(), n), low: at(0.025), high: at(0.975) }
    };
    names.into_iter().map(|name| (name.clone(), one(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judgement::unmeasured;

    #[test]
    fn scores_are_averaged_over_the_utterances_that_have_them() {
        let scored = |scores: &[(&str, f64)]| JudgedUtterance {
            mos: scores.iter().map(|(name, score)| ((*name).to_owned(), *score)).collect(),
            ..unmeasured("", "one", 1.0)
        };
        let all = [scored(&[("a", 2.0), ("b", 1.0)]), scored(&[("a", 4.0)]), scored(&[])];
        let means = mean_scores(&all);
        assert_eq!(means.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((means["a"].value, means["a"].low, means["a"].high), (3.0, 2.0, 4.0));
        assert_eq!((means["b"].value, means["b"].low, means["b"].high), (1.0, 1.0, 1.0));
        assert!(mean_scores(&all[2..]).is_empty());
    }
}
