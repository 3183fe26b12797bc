//! Decides whether an evaluation is worse than a baseline by more than chance.
//!
//! In: two [`EvaluationRecord`]s of the same suite; out: a [`GateRecord`]. Utterances are paired by their id within each system,
//! and the interval of the mean difference is a bootstrap over these pairs with a fixed seed. All intervals hold together with
//! 95 % (Bonferroni), so that more systems and measures do not mean more false alarms. Failures are counted by an exact sign test:
//! a model that loops once in two hundred sentences loops once more in half of all pairs. Invariant: an evaluation passes against
//! itself, and the same two evaluations always get the same answer.

use crate::EvalError;
use crate::failures::{FailureKind, WORD_ERRORS};
use harmonica_config_schema::RandomStream;
use harmonica_config_schema::record::{
    EvaluationRecord, FORMAT_VERSION, GateComparison, GateRecord, JudgedUtterance, NewFailure,
    SystemEvaluation, SystemGate, SystemSimilarity, WorseUtterance,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a regression is. An interval of a difference must lie wholly beyond the minimal effect.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateLimits {
    /// Word error rate that nobody minds, as a share of all words.
    pub word_error_rate: f64,
    /// Log-mel distance to the recordings that nobody minds, in nats.
    pub mel_distance: f64,
    /// Loss of the margin to the best other voice that nobody minds, as a cosine.
    pub similarity: f64,
    /// Chance of calling failures a regression that are none, over all kinds and systems.
    pub failure_chance: f64,
    /// Fewer utterances than this, and no interval is believed.
    pub min_pairs: usize,
    /// Resamples of the bootstrap.
    pub n_resamples: usize,
}

impl Default for GateLimits {
    fn default() -> Self {
        Self {
            word_error_rate: 0.01,
            mel_distance: 0.02,
            similarity: 0.02,
            failure_chance: 0.05,
            min_pairs: 10,
            n_resamples: 10_000,
        }
    }
}

/// One measure of an utterance in both evaluations. Figures grow as speech gets worse, after `sign`.
struct Pair<'a> {
    new: (f64, &'a JudgedUtterance),
    baseline: (f64, &'a JudgedUtterance),
    /// What the sum over pairs is divided by, such as words.
    weight: f64,
}

/// All pairs of a measure.
struct Measured<'a> {
    measure: &'static str,
    /// 1 where more is worse, -1 where more is better.
    sign: f64,
    minimal_effect: f64,
    pairs: Vec<Pair<'a>>,
}

impl Measured<'_> {
    fn mean(&self, of: impl Fn(&Pair<'_>) -> f64) -> f64 {
        let weight: f64 = self.pairs.iter().map(|p| p.weight).sum();
        self.pairs.iter().map(of).sum::<f64>() / weight.max(f64::MIN_POSITIVE)
    }

    fn compare(&self, confidence: f64, n_resamples: usize) -> GateComparison {
        let rows: Vec<(f64, f64)> =
            self.pairs.iter().map(|p| (self.sign * (p.new.0 - p.baseline.0), p.weight)).collect();
        let mut samples: Vec<f64> = (0..n_resamples.max(1))
            .map(|s| {
                let mut stream = RandomStream::new(0, "gate", &[s as u64]);
                let (mut sum, mut weight) = (0.0, 0.0);
                for _ in 0..rows.len() {
                    let (difference, w) = rows[stream.below(rows.len())];
                    sum += difference;
                    weight += w;
                }
                sum / weight.max(f64::MIN_POSITIVE)
            })
            .collect();
        samples.sort_by(f64::total_cmp);
        let last = samples.len() - 1;
        let tail = ((0.5 * (1.0 - confidence) * samples.len() as f64) as usize).min(last);
        let (low, high) = (samples[tail], samples[last - tail]);
        GateComparison {
            measure: self.measure.to_owned(),
            n_pairs: self.pairs.len(),
            baseline: self.mean(|p| p.baseline.0),
            new: self.mean(|p| p.new.0),
            worse_by: self.mean(|p| self.sign * (p.new.0 - p.baseline.0)),
            low,
            high,
            minimal_effect: self.minimal_effect,
            regression: low >= self.minimal_effect,
        }
    }

    fn worse(&self) -> impl Iterator<Item = (f64, WorseUtterance)> {
        let worse = |p: &Pair<'_>| {
            let by = self.sign * (p.new.0 - p.baseline.0) / p.weight;
            let utterance = WorseUtterance {
                id: p.new.1.id.clone(),
                measure: self.measure.to_owned(),
                baseline: p.baseline.0,
                new: p.new.0,
                text: p.new.1.text.clone(),
                heard_baseline: p.baseline.1.heard.clone(),
                heard_new: p.new.1.heard.clone(),
            };
            (by > 0.0).then_some((by, utterance))
        };
        self.pairs.iter().filter_map(worse)
    }
}

/// Whether two evaluations asked the same question, so that it can be known before the second one is spoken. `embedder` is the new one's,
/// which compares voices where the suite has recordings.
///
/// # Errors
/// [`EvalError::Incomparable`] with both values if suite, recognizer, normalizer or speaker embedder differ.
pub fn check_comparable(
    new: &EvaluationRecord,
    embedder: Option<&str>,
    baseline: &EvaluationRecord,
) -> Result<(), EvalError> {
    let shown = |text: &str| if text.is_empty() { "none".to_owned() } else { format!("`{text}`") };
    let mut differences = Vec::new();
    let sides = [
        ("suite fingerprint", new.suite_fingerprint.as_str(), baseline.suite_fingerprint.as_str()),
        ("recognizer", &new.recognizer, &baseline.recognizer),
        ("text normalizer", &new.text_normalizer, &baseline.text_normalizer),
    ];
    for (what, new, baseline) in sides {
        if new != baseline {
            differences.push(format!("{what} {} against the baseline's {}", shown(new), shown(baseline)));
        }
    }
    if let (Some(ours), Some(theirs)) = (embedder, &baseline.similarity)
        && ours != theirs.embedder
    {
        differences.push(format!(
            "speaker embedder {} against the baseline's {}",
            shown(ours),
            shown(&theirs.embedder)
        ));
    }
    if differences.is_empty() { Ok(()) } else { Err(EvalError::Incomparable { differences }) }
}

fn by_id(system: &SystemEvaluation) -> BTreeMap<&str, &JudgedUtterance> {
    system.utterances.iter().map(|u| (u.id.as_str(), u)).collect()
}

fn similarity_of<'a>(record: &'a EvaluationRecord, system: &str) -> Option<&'a SystemSimilarity> {
    record.similarity.as_ref()?.systems.iter().find(|s| s.system == system)
}

/// Margins of a system's utterances by id.
fn margins(system: Option<&SystemSimilarity>) -> BTreeMap<&str, f64> {
    system.into_iter().flat_map(|s| &s.utterances).map(|u| (u.id.as_str(), u.margin())).collect()
}

/// The figure of an utterance, from its record or from the margins of its system.
type Figure<'a> = dyn Fn(&JudgedUtterance, &BTreeMap<&str, f64>) -> Option<f64> + 'a;

/// A system in both evaluations.
struct Sides<'a> {
    new: &'a SystemEvaluation,
    pairs: Vec<(&'a JudgedUtterance, &'a JudgedUtterance)>,
    measured: Vec<Measured<'a>>,
}

fn sides<'a>(
    new: (&'a EvaluationRecord, &'a SystemEvaluation),
    baseline: (&'a EvaluationRecord, &'a SystemEvaluation),
    limits: &GateLimits,
    not_compared: &mut Vec<String>,
    regressions: &mut Vec<String>,
) -> Sides<'a> {
    let name = &new.1.system;
    let (ours, theirs) = (by_id(new.1), by_id(baseline.1));
    for id in theirs.keys().filter(|id| !ours.contains_key(*id)) {
        regressions.push(format!("{name}: `{id}` is in the baseline, but was not spoken now"));
    }
    for id in ours.keys().filter(|id| !theirs.contains_key(*id)) {
        not_compared.push(format!("{name}: `{id}` is not in the baseline"));
    }
    let pairs: Vec<_> = ours.iter().filter_map(|(id, u)| Some((*u, *theirs.get(id)?))).collect();
    let errors = |u: &JudgedUtterance| u.word_errors.map(|e| e.iter().sum::<usize>() as f64);
    let (our_margins, their_margins) =
        (margins(similarity_of(new.0, name)), margins(similarity_of(baseline.0, name)));
    let collect = |of: &Figure<'_>, weight: &dyn Fn(&JudgedUtterance) -> f64| {
        let pair = |(n, b): &(&'a JudgedUtterance, &'a JudgedUtterance)| {
            Some(Pair {
                new: (of(n, &our_margins)?, *n),
                baseline: (of(b, &their_margins)?, *b),
                weight: weight(b),
            })
        };
        pairs.iter().filter_map(pair).collect::<Vec<_>>()
    };
    let one = |_: &JudgedUtterance| 1.0;
    let mut measured = vec![
        Measured {
            measure: "word error rate",
            sign: 1.0,
            minimal_effect: limits.word_error_rate,
            pairs: collect(&|u, _| errors(u), &|u| u.n_words.max(1) as f64),
        },
        Measured {
            measure: "mel distance",
            sign: 1.0,
            minimal_effect: limits.mel_distance,
            pairs: collect(&|u, _| u.mel_distance, &one),
        },
        Measured {
            measure: "similarity margin",
            sign: -1.0,
            minimal_effect: limits.similarity,
            pairs: collect(&|u, margins| margins.get(u.id.as_str()).copied(), &one),
        },
    ];
    measured.retain(|m| {
        let enough = m.pairs.len() >= limits.min_pairs;
        if !enough {
            let why = match m.pairs.len() {
                0 => "not measured in both".to_owned(),
                n => format!("measured in both for {n} utterances only"),
            };
            not_compared.push(format!("{name}: {} was {why}", m.measure));
        }
        enough
    });
    Sides { new: new.1, pairs, measured }
}

/// Kinds of failure of an utterance that may be held against it. Babble that word errors called is left to their interval, because one
/// sentence is no evidence; babble by what was heard beyond the text is not.
fn counted(utterance: &JudgedUtterance) -> impl Iterator<Item = &str> {
    let by_words = |kind: &str| {
        let mut findings = utterance.failure_findings.iter().filter(|f| f.failure == kind).peekable();
        kind == FailureKind::Babble.name()
            && findings.peek().is_some()
            && findings.all(|finding| finding.measure == WORD_ERRORS)
    };
    utterance.failures.iter().map(String::as_str).filter(move |kind| !by_words(kind))
}

/// How many utterances show a kind of failure, and how many changed.
#[derive(Debug, Clone, Copy, Default)]
struct FailureCounts {
    new: usize,
    baseline: usize,
    /// Only in the new evaluation.
    appeared: usize,
    /// Only in the baseline.
    vanished: usize,
}

impl FailureCounts {
    fn changed(&self) -> usize {
        self.appeared + self.vanished
    }

    /// Chance that so many of the utterances that changed got worse, if each could as well have got better: the exact sign test.
    fn chance(&self) -> f64 {
        let n = self.changed();
        let ln_choose = |k: usize| (1..=k).map(|i| ((n - k + i) as f64 / i as f64).ln()).sum::<f64>();
        let ln_half = n as f64 * 0.5_f64.ln();
        (self.appeared..=n).map(|k| (ln_choose(k) + ln_half).exp()).sum()
    }
}

/// The [`counted`] kinds of failure of a system.
fn failure_counts<'a>(sides: &'a Sides<'_>) -> BTreeMap<&'a str, FailureCounts> {
    let mut counts: BTreeMap<&str, FailureCounts> = BTreeMap::new();
    for (new, baseline) in &sides.pairs {
        let (ours, theirs): (BTreeSet<&str>, BTreeSet<&str>) =
            (counted(new).collect(), counted(baseline).collect());
        for kind in ours.union(&theirs) {
            let of_kind = counts.entry(kind).or_default();
            let (is_new, was) = (ours.contains(kind), theirs.contains(kind));
            of_kind.new += usize::from(is_new);
            of_kind.baseline += usize::from(was);
            of_kind.appeared += usize::from(is_new && !was);
            of_kind.vanished += usize::from(was && !is_new);
        }
    }
    counts
}

/// Utterances with failures that they did not have, and a regression for every kind that more utterances have than `chance` explains.
fn failures(sides: &Sides<'_>, chance: f64, regressions: &mut Vec<String>) -> Vec<NewFailure> {
    for (kind, counts) in failure_counts(sides) {
        if counts.appeared > counts.vanished && counts.chance() <= chance {
            let FailureCounts { new, baseline, .. } = counts;
            let (system, n) = (&sides.new.system, sides.pairs.len());
            regressions
                .push(format!("{system}: {new} of {n} utterances show {kind}, {baseline} in the baseline"));
        }
    }
    let is_worse = |(new, baseline): &&(&JudgedUtterance, &JudgedUtterance)| {
        new.failures.iter().any(|kind| !baseline.failures.contains(kind))
    };
    let named = |(new, baseline): &(&JudgedUtterance, &JudgedUtterance)| NewFailure {
        id: new.id.clone(),
        baseline: baseline.failures.clone(),
        new: new.failures.clone(),
    };
    sides.pairs.iter().filter(is_worse).map(named).collect()
}

/// Compares an evaluation with a baseline of the same suite.
///
/// A regression is: an interval of the mean difference that lies wholly beyond its minimal effect, a kind of failure that more
/// utterances show than chance explains, or an utterance of the baseline that was not spoken. Every new failure is named.
///
/// # Errors
/// [`EvalError::Incomparable`] if suite, recognizer, normalizer or speaker embedder differ, or no system is in both.
pub fn gate(
    new: &EvaluationRecord,
    baseline: &EvaluationRecord,
    limits: &GateLimits,
) -> Result<GateRecord, EvalError> {
    check_comparable(new, new.similarity.as_ref().map(|s| s.embedder.as_str()), baseline)?;
    let mut regressions = Vec::new();
    let mut not_compared = Vec::new();
    let mut both = Vec::new();
    for ours in &new.systems {
        match baseline.systems.iter().find(|s| s.system == ours.system) {
            Some(theirs) => {
                both.push(sides((new, ours), (baseline, theirs), limits, &mut not_compared, &mut regressions))
            }
            None => not_compared.push(format!("{}: it is not in the baseline", ours.system)),
        }
    }
    for theirs in baseline.systems.iter().filter(|s| new.systems.iter().all(|o| o.system != s.system)) {
        not_compared.push(format!("{}: it is in the baseline only", theirs.system));
    }
    if both.is_empty() {
        let names = |record: &EvaluationRecord| {
            record.systems.iter().map(|s| format!("`{}`", s.system)).collect::<Vec<_>>().join(", ")
        };
        let words = format!("no system is in both ({}) and ({})", names(new), names(baseline));
        return Err(EvalError::Incomparable { differences: vec![words] });
    }
    let n_comparisons: usize = both.iter().map(|s| s.measured.len()).sum();
    let confidence = 1.0 - 0.05 / n_comparisons.max(1) as f64;
    let n_changed: usize =
        both.iter().map(|s| failure_counts(s).values().filter(|c| c.changed() > 0).count()).sum();
    let chance = limits.failure_chance / n_changed.max(1) as f64;
    let mut systems = Vec::new();
    for sides in &both {
        let system = &sides.new.system;
        let comparisons: Vec<GateComparison> =
            sides.measured.iter().map(|m| m.compare(confidence, limits.n_resamples)).collect();
        for c in comparisons.iter().filter(|c| c.regression) {
            regressions.push(format!(
                "{system}: {} went from {:.4} to {:.4}, worse by {:.4} ({:.4} to {:.4}), more than {}",
                c.measure, c.baseline, c.new, c.worse_by, c.low, c.high, c.minimal_effect
            ));
        }
        let new_failures = failures(sides, chance, &mut regressions);
        let mut worse: Vec<WorseUtterance> = Vec::new();
        for measured in &sides.measured {
            let mut of_measure: Vec<(f64, WorseUtterance)> = measured.worse().collect();
            of_measure.sort_by(|a, b| b.0.total_cmp(&a.0));
            worse.extend(of_measure.into_iter().map(|(_, utterance)| utterance));
        }
        systems.push(SystemGate { system: system.clone(), comparisons, new_failures, worse });
    }
    Ok(GateRecord {
        format_version: FORMAT_VERSION,
        suite: new.suite.clone(),
        suite_fingerprint: new.suite_fingerprint.clone(),
        recognizer: new.recognizer.clone(),
        passed: regressions.is_empty(),
        regressions,
        confidence,
        systems,
        not_compared,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Judged, summarise};
    use harmonica_config_schema::Fingerprint;
    use harmonica_config_schema::record::{FailureFinding, Interval, SimilarityRecord, UtteranceSimilarity};

    const WORDS: [&str; 6] = ["open", "red", "box", "river", "seven", "lamp"];

    /// Sixty sentences of five words; each word is misheard with the share `wrong`, mel distances are about `mel`, margins about
    /// `margin`. Sentences are equally hard in both of a pair, as they are for a model.
    fn evaluation(seed: u64, wrong: f64, mel: f64, margin: f64) -> EvaluationRecord {
        let mut difficulty = RandomStream::new(9, "difficulty", &[]);
        let mut stream = RandomStream::new(seed, "planted", &[]);
        let mut judged = Vec::new();
        let mut similar = Vec::new();
        for i in 0..60 {
            let words: Vec<&str> = (0..5).map(|k| WORDS[(i + k * k) % 6]).collect();
            let hard = 2.0 * difficulty.uniform();
            let heard: Vec<&str> =
                words.iter().map(|w| if stream.uniform() < wrong * hard { "nothing" } else { w }).collect();
            let id = format!("s{i}");
            similar.push(UtteranceSimilarity {
                id: id.clone(),
                speaker: "a".into(),
                target: margin + 0.05 * stream.normal(),
                best_other: "b".into(),
                other: 0.0,
            });
            judged.push(Judged {
                record: JudgedUtterance {
                    id,
                    path: String::new(),
                    text: words.join(" "),
                    speaker: "a".into(),
                    heard: Some(heard.join(" ")),
                    word_errors: None,
                    n_words: 5,
                    duration_s: 1.0,
                    failures: Vec::new(),
                    failure_findings: Vec::new(),
                    character_errors: None,
                    prosody: None,
                    mos: BTreeMap::new(),
                    mel_distance: Some(mel * (0.5 + hard / 2.0) + 0.03 * stream.normal()),
                },
            });
        }
        let similarity = SystemSimilarity {
            system: "generated".into(),
            target: margin,
            margin: Interval { value: margin, low: margin, high: margin },
            nearest_share: 1.0,
            utterances: similar,
        };
        EvaluationRecord {
            format_version: FORMAT_VERSION,
            suite: "planted".into(),
            suite_fingerprint: Fingerprint::of_bytes(b"planted"),
            recognizer: "ears".into(),
            text_normalizer: "v1".into(),
            config: Fingerprint::of_bytes(b"config"),
            decode: None,
            mos_models: BTreeMap::new(),
            codebooks: Vec::new(),
            systems: vec![summarise("generated", judged, 10)],
            similarity: Some(SimilarityRecord {
                embedder: "planted".into(),
                voices: Vec::new(),
                systems: vec![similarity],
            }),
            criteria: None,
        }
    }

    fn judge(new: &EvaluationRecord, baseline: &EvaluationRecord) -> GateRecord {
        gate(new, baseline, &GateLimits::default()).unwrap()
    }

    #[test]
    fn an_equal_evaluation_passes_with_twenty_seeds() {
        let baseline = evaluation(0, 0.1, 0.4, 0.3);
        assert!(judge(&baseline, &baseline).passed);
        for seed in 1..=20 {
            let record = judge(&evaluation(seed, 0.1, 0.4, 0.3), &baseline);
            assert!(record.passed, "seed {seed}: {:?}", record.regressions);
        }
    }

    #[test]
    fn each_planted_degradation_is_caught_with_twenty_seeds() {
        let baseline = evaluation(0, 0.1, 0.4, 0.3);
        for seed in 1..=20 {
            let planted = [
                ("word error rate", evaluation(seed, 0.25, 0.4, 0.3)),
                ("mel distance", evaluation(seed, 0.1, 0.5, 0.3)),
                ("similarity margin", evaluation(seed, 0.1, 0.4, 0.2)),
            ];
            for (measure, worse) in planted {
                let record = judge(&worse, &baseline);
                let caught: Vec<&str> = record.systems[0]
                    .comparisons
                    .iter()
                    .filter(|c| c.regression)
                    .map(|c| c.measure.as_str())
                    .collect();
                assert_eq!(caught, [measure], "seed {seed}");
                assert!(!record.passed && !record.systems[0].worse.is_empty());
                // The other way round it is an improvement.
                assert!(judge(&baseline, &worse).passed, "seed {seed}, {measure}");
            }
        }
    }

    #[test]
    fn a_difference_within_the_minimal_effect_is_none() {
        let baseline = evaluation(0, 0.1, 0.4, 0.3);
        let mut new = baseline.clone();
        for u in &mut new.systems[0].utterances {
            u.mel_distance = u.mel_distance.map(|d| d + 0.01);
        }
        let record = judge(&new, &baseline);
        assert!(record.passed, "{:?}", record.regressions);
        let mel = &record.systems[0].comparisons[1];
        assert!(mel.low > 0.0 && mel.low < mel.minimal_effect);
    }

    /// `looping` and nothing else for these utterances.
    fn with_loops(record: &EvaluationRecord, at: std::ops::Range<usize>) -> EvaluationRecord {
        let mut new = record.clone();
        new.systems[0].utterances[at].iter_mut().for_each(|u| u.failures = vec!["looping".into()]);
        new
    }

    #[test]
    fn more_failures_than_chance_explains_are_a_regression_and_every_one_is_named() {
        let baseline = evaluation(0, 0.1, 0.4, 0.3);
        let once = judge(&with_loops(&baseline, 3..4), &baseline);
        assert!(once.passed, "{:?}", once.regressions);
        assert_eq!(
            (once.systems[0].new_failures.len(), once.systems[0].new_failures[0].id.as_str()),
            (1, "s3")
        );
        assert!(judge(&with_loops(&baseline, 3..7), &baseline).passed, "4 of 4: one in 16");
        let record = judge(&with_loops(&baseline, 3..8), &baseline);
        assert_eq!(record.regressions, ["generated: 5 of 60 utterances show looping, 0 in the baseline"]);
        assert_eq!(record.systems[0].new_failures.len(), 5);
        // What was there before, elsewhere or in the same place, is nothing new.
        assert!(judge(&with_loops(&baseline, 3..8), &with_loops(&baseline, 20..23)).passed);
        assert!(judge(&with_loops(&baseline, 3..8), &with_loops(&baseline, 3..8)).passed);
        assert!(judge(&baseline, &with_loops(&baseline, 3..8)).passed);
    }

    #[test]
    fn the_sign_test_is_the_tail_of_a_fair_coin() {
        let chance =
            |appeared, vanished| FailureCounts { appeared, vanished, ..FailureCounts::default() }.chance();
        // 1/2; 1/32; (C(8,6) + C(8,7) + C(8,8)) / 256; all of 0.
        for (found, wanted) in [
            (chance(1, 0), 0.5),
            (chance(5, 0), 1.0 / 32.0),
            (chance(6, 2), 37.0 / 256.0),
            (chance(0, 0), 1.0),
            (chance(0, 2000), 1.0),
        ] {
            assert!((found - wanted).abs() < 1e-9, "{found} {wanted}");
        }
    }

    #[test]
    fn babble_that_sounds_too_long_is_a_regression_and_babble_by_words_is_left_to_their_interval() {
        let baseline = evaluation(0, 0.1, 0.4, 0.3);
        let babbling = |measures: &[&str]| {
            let mut new = baseline.clone();
            let finding = |measure: &&str| FailureFinding {
                failure: "babble".into(),
                measure: (*measure).to_owned(),
                value: 1.0,
                threshold: 0.7,
                unit: "share".into(),
                start_s: None,
                end_s: None,
            };
            for utterance in &mut new.systems[0].utterances[3..8] {
                utterance.failures = vec!["babble".into()];
                utterance.failure_findings = measures.iter().map(finding).collect();
            }
            judge(&new, &baseline)
        };
        assert!(babbling(&[WORD_ERRORS]).passed);
        for measures in
            [&["time that sounds, for this text"][..], &["time that sounds, for this text", WORD_ERRORS]]
        {
            assert_eq!(
                babbling(measures).regressions,
                ["generated: 5 of 60 utterances show babble, 0 in the baseline"]
            );
        }
    }

    #[test]
    fn an_utterance_that_got_worse_is_named_with_both_values() {
        let baseline = evaluation(0, 0.0, 0.4, 0.3);
        let mut new = baseline.clone();
        new.systems[0].utterances[7].word_errors = Some([1, 1, 0]);
        let record = judge(&new, &baseline);
        let worse = &record.systems[0].worse[0];
        assert_eq!((worse.id.as_str(), worse.baseline, worse.new), ("s7", 0.0, 2.0));
        assert!(record.passed, "one sentence is no evidence");
    }

    #[test]
    fn other_questions_are_refused_with_both_values() {
        let baseline = evaluation(0, 0.1, 0.4, 0.3);
        let mut new = baseline.clone();
        new.recognizer = "other ears".into();
        new.text_normalizer = String::new();
        new.suite_fingerprint = Fingerprint::of_bytes(b"other");
        let error = gate(&new, &baseline, &GateLimits::default()).unwrap_err().to_string();
        for words in ["`other ears`", "`ears`", "none", "`v1`", new.suite_fingerprint.as_str()] {
            assert!(error.contains(words), "{words}: {error}");
        }
        assert!(error.contains(baseline.suite_fingerprint.as_str()));
    }

    #[test]
    fn what_was_not_measured_or_spoken_is_told() {
        let baseline = evaluation(0, 0.1, 0.4, 0.3);
        let mut new = baseline.clone();
        new.similarity = None;
        let record = judge(&new, &baseline);
        assert!(record.passed);
        assert_eq!(record.not_compared, ["generated: similarity margin was not measured in both"]);
        new.systems[0].utterances.remove(0);
        assert!(!judge(&new, &baseline).passed);
        new.systems[0].system = "other".into();
        assert!(gate(&new, &baseline, &GateLimits::default()).is_err());
    }
}
