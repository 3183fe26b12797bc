//! Many judged utterances to the figures of one system.

use crate::failures::{FailureKind, unintelligible};
use crate::judgement::mean_prosody;
use crate::quality::mean_scores;
use crate::word_errors::{character_errors, comparison_normalizer, word_errors};
use harmonica_config_schema::RandomStream;
use harmonica_config_schema::record::{Interval, JudgedUtterance, SystemEvaluation};
use std::collections::BTreeMap;

/// One utterance before it is summed up.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Its record; word errors are filled in from `heard`.
    pub record: JudgedUtterance,
}

/// A figure of `n` utterances with its 95 % interval: the bootstrap (Bisani & Ney 2004) over `n_resamples` draws with a fixed seed.
/// `figure` is asked with the positions that count.
pub(crate) fn bootstrap(
    n: usize,
    n_resamples: usize,
    figure: impl Fn(&mut dyn Iterator<Item = usize>) -> f64,
) -> Interval {
    let mut samples: Vec<f64> = (0..n_resamples.max(1))
        .map(|s| {
            let mut stream = RandomStream::new(0, "bootstrap", &[s as u64]);
            figure(&mut (0..n).map(|_| stream.below(n)))
        })
        .collect();
    samples.sort_by(f64::total_cmp);
    // Linear between order statistics, as numpy's percentile.
    let at = |share: f64| {
        let place = share * (samples.len() - 1) as f64;
        let (below, above) = (samples[place.floor() as usize], samples[place.ceil() as usize]);
        below + (above - below) * place.fract()
    };
    Interval { value: figure(&mut (0..n)), low: at(0.025), high: at(0.975) }
}

/// Sums utterances up, with a bootstrap interval over sentences and the chance level: what was heard
/// against the text of the sentence half a suite away.
pub fn summarise(system: &str, judged: Vec<Judged>, bootstrap_samples: usize) -> SystemEvaluation {
    let mut utterances: Vec<JudgedUtterance> = judged.into_iter().map(|j| j.record).collect();
    for u in &mut utterances {
        if let Some(heard) = &u.heard {
            let (edits, n) = word_errors(&u.text, heard);
            u.word_errors = Some([edits.substitutions, edits.deletions, edits.insertions]);
            u.n_words = n;
            let edits = character_errors(&u.text, heard).0;
            u.character_errors = Some([edits.substitutions, edits.deletions, edits.insertions]);
            let name = |kind: FailureKind| kind.name();
            // Nobody understands silence and noise; they have their own names.
            let explained = [FailureKind::Silence, FailureKind::Noise].map(name);
            if !u.failures.iter().any(|f| explained.contains(&f.as_str()))
                && let Some(finding) = unintelligible(u)
            {
                if !u.failures.contains(&finding.failure) {
                    u.failures.push(finding.failure.clone());
                }
                u.failure_findings.push(finding);
            }
        }
    }
    let n = utterances.len();
    let measured = n > 0 && utterances.iter().all(|u| u.heard.is_some());
    let errors = |u: &JudgedUtterance| u.word_errors.map_or(0, |e| e.iter().sum::<usize>());
    let rate = |picked: &mut dyn Iterator<Item = usize>| -> f64 {
        let (mut wrong, mut words) = (0, 0);
        for i in picked {
            wrong += errors(&utterances[i]);
            words += utterances[i].n_words;
        }
        wrong as f64 / words.max(1) as f64
    };
    let word_error_rate = measured.then(|| bootstrap(n, bootstrap_samples, rate));
    let chance = measured.then(|| {
        let (mut wrong, mut words) = (0, 0);
        for (i, u) in utterances.iter().enumerate() {
            let other = (0..n).map(|k| &utterances[(i + n / 2 + k) % n]).find(|o| o.text != u.text);
            if let (Some(other), Some(heard)) = (other, &u.heard) {
                let (edits, n_words) = word_errors(&other.text, heard);
                wrong += edits.total();
                words += n_words;
            }
        }
        wrong as f64 / words.max(1) as f64
    });
    let characters = measured.then(|| {
        let counts =
            utterances.iter().map(|u| character_errors(&u.text, u.heard.as_deref().unwrap_or_default()));
        let (wrong, all) = counts.fold((0, 0), |(w, a), (edits, n)| (w + edits.total(), a + n));
        wrong as f64 / all.max(1) as f64
    });
    let mean =
        |values: Vec<f64>| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
    let mut failures = BTreeMap::new();
    for failure in utterances.iter().flat_map(|u| &u.failures) {
        *failures.entry(failure.clone()).or_insert(0) += 1;
    }
    SystemEvaluation {
        system: system.to_owned(),
        word_error_rate,
        word_error_rate_utterance_mean: if measured {
            mean(utterances.iter().map(|u| errors(u) as f64 / u.n_words.max(1) as f64).collect())
        } else {
            None
        },
        character_error_rate: characters,
        word_errors: measured.then(|| {
            let all = utterances.iter().filter_map(|u| u.word_errors);
            all.fold([0; 3], |sum, e| [sum[0] + e[0], sum[1] + e[1], sum[2] + e[2]])
        }),
        text_normalizer: measured.then(comparison_normalizer),
        prosody: mean_prosody(&utterances),
        mos: mean_scores(&utterances, bootstrap_samples),
        chance_word_error_rate: chance,
        exact_share: measured.then(|| utterances.iter().filter(|u| errors(u) == 0).count() as f64 / n as f64),
        mel_distance: mean(utterances.iter().filter_map(|u| u.mel_distance).collect()),
        failures,
        utterances,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judgement::unmeasured;

    fn judged(text: &str, heard: Option<&str>) -> Judged {
        Judged { record: JudgedUtterance { heard: heard.map(str::to_owned), ..unmeasured("", text, 1.0) } }
    }

    #[test]
    fn rates_sum_edits_over_words_and_the_interval_holds_the_value() {
        let all = vec![
            judged("one two", Some("one two")),
            judged("red box", Some("red")),
            judged("a b c d", Some("a b c d")),
        ];
        let summary = summarise("s", all, 200);
        let rate = summary.word_error_rate.unwrap();
        assert!((rate.value - 1.0 / 8.0).abs() < 1e-12 && rate.low <= rate.value && rate.value <= rate.high);
        assert!((summary.exact_share.unwrap() - 2.0 / 3.0).abs() < 1e-12);
        assert!(summary.chance_word_error_rate.unwrap() > 0.9);
    }

    #[test]
    fn what_was_not_measured_is_absent() {
        let summary = summarise("s", vec![judged("one", None)], 200);
        assert!(
            summary.word_error_rate.is_none()
                && summary.exact_share.is_none()
                && summary.mel_distance.is_none()
        );
    }
}
