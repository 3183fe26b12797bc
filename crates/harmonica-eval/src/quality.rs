//! Predictors of what listeners would say of speech: models that others trained, given by their users.

use crate::EvalError;
use crate::statistics::bootstrap;
use harmonica_audio::Waveform;
use harmonica_config_schema::record::{Interval, JudgedUtterance};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

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

/// What predictors say of the utterance of a file, by their names. One that cannot hear it is absent, and a warning tells why.
pub fn predicted_opinions(
    predictors: &[Box<dyn QualityPredictor>],
    waveform: &Waveform,
    file: &Path,
) -> BTreeMap<String, f64> {
    let score = |predictor: &dyn QualityPredictor| match predictor.predict(waveform) {
        Ok(score) => Some((predictor.name().to_owned(), score)),
        Err(error) => {
            tracing::warn!("`{}` has no score by `{}`: {error}", file.display(), predictor.name());
            None
        }
    };
    predictors.iter().filter_map(|predictor| score(predictor.as_ref())).collect()
}

/// Mean of each predictor over the utterances that have it, with a 95 % bootstrap interval over utterances.
pub(crate) fn mean_scores(utterances: &[JudgedUtterance], n_resamples: usize) -> BTreeMap<String, Interval> {
    let names: BTreeSet<&String> = utterances.iter().flat_map(|u| u.mos.keys()).collect();
    let one = |name: &String| {
        let scores: Vec<f64> = utterances.iter().filter_map(|u| u.mos.get(name).copied()).collect();
        let mean = |picked: &mut dyn Iterator<Item = usize>| {
            picked.map(|i| scores[i]).sum::<f64>() / scores.len() as f64
        };
        bootstrap(scores.len(), n_resamples, mean)
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
        let means = mean_scores(&all, 1000);
        assert_eq!(means.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((means["a"].value, means["a"].low, means["a"].high), (3.0, 2.0, 4.0));
        assert_eq!((means["b"].value, means["b"].low, means["b"].high), (1.0, 1.0, 1.0));
        assert!(mean_scores(&all[2..], 1000).is_empty());
    }

    #[test]
    fn quantiles_of_scores_are_those_of_word_errors() {
        // Nine utterances of one word, wrong or right: the mean score is the word error rate.
        let wrong = [0, 1, 1, 0, 0, 1, 0, 0, 0].map(f64::from);
        let all = wrong.map(|w| JudgedUtterance {
            heard: Some(if w > 0.0 { "two" } else { "one" }.to_owned()),
            mos: BTreeMap::from([("a".to_owned(), w)]),
            ..unmeasured("", "one", 1.0)
        });
        for n_resamples in [7, 50] {
            let judged = all.iter().map(|u| crate::Judged { record: u.clone() }).collect();
            let summary = crate::summarise("s", judged, n_resamples);
            let (rate, score) = (summary.word_error_rate.unwrap(), summary.mos["a"]);
            assert!((rate.low - score.low).abs() < 1e-12 && (rate.high - score.high).abs() < 1e-12);
            assert!(rate.low < rate.value && rate.value < rate.high, "{rate:?}");
        }
    }

    /// Hears no silence.
    struct Loudness;

    impl QualityPredictor for Loudness {
        fn name(&self) -> &str {
            "loudness"
        }

        fn model(&self) -> String {
            "peak".to_owned()
        }

        fn predict(&self, waveform: &Waveform) -> Result<f64, EvalError> {
            let peak = f64::from(waveform.peak());
            let unheard = || EvalError::Recognizer { command: "peak".into(), reason: "silence".into() };
            (peak > 0.0).then_some(peak).ok_or_else(unheard)
        }
    }

    #[test]
    fn an_utterance_that_a_predictor_cannot_hear_has_no_score_and_ends_nothing() {
        let predictors: Vec<Box<dyn QualityPredictor>> = vec![Box::new(Loudness)];
        let scored = |level: f32| {
            predicted_opinions(&predictors, &Waveform::new(vec![level; 100], 16_000), Path::new("a.wav"))
        };
        assert!(scored(0.0).is_empty());
        assert_eq!(scored(0.5), BTreeMap::from([("loudness".to_owned(), 0.5)]));
    }
}
