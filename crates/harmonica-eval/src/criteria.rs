//! The criteria of success, each with its figure and what that is held against.
//!
//! In: an evaluation, a baseline if there is one, and how runs chose their best checkpoint; out: [`CriterionRecord`]s.
//! Invariant: a criterion without a figure is `not measured`, never a pass.

use harmonica_config_schema::record::{
    BestRecord, CriterionRecord, CriterionState, EvaluationRecord, MetricsLine, SystemEvaluation,
};

/// Least median of the NAR codebooks' utilization relative to their targets.
const MIN_UTILIZATION: f64 = 0.25;
/// Share of utterances with one kind of failure that is still near zero.
const MAX_FAILURE_SHARE: f64 = 0.01;
/// Failures that the criteria name.
const FAILURES: [&str; 4] = ["silence", "clipping", "looping", "noise"];

/// How a run chose its best checkpoint, and what follows from its metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointSelection {
    /// The run, in words.
    pub run: String,
    /// What `best.json` names: updates and value.
    pub named: Option<(u64, f64)>,
    /// The best validation in `metrics.jsonl` by the rule that `best.json` names, the first among equals: updates and value.
    pub derived: Option<(u64, f64)>,
}

impl CheckpointSelection {
    /// Derives the choice again from a run's metrics.
    pub fn new(run: impl Into<String>, metrics: &[MetricsLine], best: Option<&BestRecord>) -> Self {
        let validations = metrics.iter().filter_map(MetricsLine::validation);
        let rule = best.map(|b| b.rule).unwrap_or_default();
        Self {
            run: run.into(),
            named: best.map(|b| (b.update, b.value)),
            derived: rule.best(validations).map(|(validation, value)| (validation.update, value)),
        }
    }
}

/// What the criteria are judged by.
#[derive(Debug, Clone, Copy)]
pub struct CriteriaInput<'a> {
    /// The evaluation.
    pub evaluation: &'a EvaluationRecord,
    /// The system that stands for the product.
    pub system: &'a str,
    /// An earlier evaluation of the same suite.
    pub baseline: Option<&'a EvaluationRecord>,
    /// The runs whose choice of a checkpoint is looked into.
    pub selections: &'a [CheckpointSelection],
}

fn record(
    criterion: impl Into<String>,
    passed: Option<bool>,
    figure: impl Into<String>,
    threshold: impl Into<String>,
) -> CriterionRecord {
    let state = match passed {
        Some(true) => CriterionState::Pass,
        Some(false) => CriterionState::Fail,
        None => CriterionState::NotMeasured,
    };
    CriterionRecord { criterion: criterion.into(), state, figure: figure.into(), threshold: threshold.into() }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    let middle = values.get(n / 2)?;
    Some(if n % 2 == 1 { *middle } else { 0.5 * (middle + values.get(n / 2 - 1)?) })
}

fn utilization(evaluation: &EvaluationRecord) -> CriterionRecord {
    let of_nar: Vec<f64> =
        evaluation.codebooks.iter().filter(|c| c.codebook > 1).map(|c| c.utilization_ratio).collect();
    let n = of_nar.len();
    let median = median(of_nar);
    record(
        "NAR codebooks are used: median utilization relative to their targets",
        median.map(|m| m > MIN_UTILIZATION),
        median.map_or_else(
            || "no validation of the NAR model was given (--metrics)".to_owned(),
            |m| format!("{:.1}% over {n} codebooks", 100.0 * m),
        ),
        format!("more than {:.0}%", 100.0 * MIN_UTILIZATION),
    )
}

fn failures(system: Option<&SystemEvaluation>) -> Vec<CriterionRecord> {
    let one = |kind: &&str| {
        let measured = system.filter(|s| !s.utterances.is_empty()).map(|s| {
            let n = s.utterances.len();
            let failing = s.utterances.iter().filter(|u| u.failures.iter().any(|f| f == kind)).count();
            (failing, n)
        });
        record(
            format!("failures stay near zero: {kind}"),
            measured.map(|(failing, n)| failing as f64 <= MAX_FAILURE_SHARE * n as f64),
            measured.map_or_else(
                || "nothing was generated".to_owned(),
                |(failing, n)| format!("{failing} of {n} utterances"),
            ),
            format!("at most {:.0}%", 100.0 * MAX_FAILURE_SHARE),
        )
    };
    FAILURES.iter().map(one).collect()
}

/// A figure that should not get worse from run to run.
fn trend(what: &str, new: Option<f64>, baseline: Option<f64>, less_is_better: bool) -> CriterionRecord {
    let shown = |value: f64| {
        if less_is_better { format!("{:.1}%", 100.0 * value) } else { format!("{value:.3}") }
    };
    let bound = if less_is_better { "at most" } else { "at least" };
    record(
        format!("no worse than the run before: {what}"),
        new.zip(baseline).map(|(n, b)| if less_is_better { n <= b } else { n >= b }),
        new.map_or_else(|| "was not measured".to_owned(), shown),
        baseline.map_or_else(
            || "no baseline with this figure was given (--gate)".to_owned(),
            |b| format!("{bound} {} of the baseline", shown(b)),
        ),
    )
}

fn selection(selections: &[CheckpointSelection]) -> CriterionRecord {
    let known: Vec<_> =
        selections.iter().filter_map(|s| Some((s.run.as_str(), s.named?, s.derived?))).collect();
    let agrees = |(_, named, derived): &(&str, (u64, f64), (u64, f64))| {
        named.0 == derived.0 && (named.1 - derived.1).abs() <= 1e-9 * derived.1.abs()
    };
    let figure = |s: &CheckpointSelection| match (s.named, s.derived) {
        (Some(named), Some(derived)) => format!(
            "{}: named {:.4} after {} updates, derived {:.4} after {}",
            s.run, named.1, named.0, derived.1, derived.0
        ),
        (None, _) => format!("{}: no best.json that can be read", s.run),
        (_, None) => format!("{}: no validation by its rule in metrics.jsonl", s.run),
    };
    let figures: Vec<String> = selections.iter().map(figure).collect();
    // One run that contradicts itself is a failure, whatever is unknown of the others.
    let passed = match known.iter().all(agrees) {
        false => Some(false),
        true => (!known.is_empty() && known.len() == selections.len()).then_some(true),
    };
    record(
        "best.json names the checkpoint that follows from metrics.jsonl",
        passed,
        if figures.is_empty() { "no run was given (--metrics)".to_owned() } else { figures.join("; ") },
        "equal updates and values",
    )
}

/// Holds an evaluation against every criterion.
pub fn criteria(input: &CriteriaInput<'_>) -> Vec<CriterionRecord> {
    let system_of = |record: &EvaluationRecord| -> Option<usize> {
        record.systems.iter().position(|s| s.system == input.system)
    };
    let ours = system_of(input.evaluation).and_then(|i| input.evaluation.systems.get(i));
    let theirs = input.baseline.and_then(|b| system_of(b).and_then(|i| b.systems.get(i)));
    let margin = |record: &EvaluationRecord| {
        let similarity = record.similarity.as_ref()?;
        Some(similarity.systems.iter().find(|s| s.system == input.system)?.margin.value)
    };
    let mut all = vec![utilization(input.evaluation)];
    all.extend(failures(ours));
    let words = |s: &SystemEvaluation| s.word_error_rate.map(|w| w.value);
    all.push(trend("word error rate", ours.and_then(words), theirs.and_then(words), true));
    let characters = |s: &SystemEvaluation| s.character_error_rate;
    all.push(trend("character error rate", ours.and_then(characters), theirs.and_then(characters), true));
    let embedder = |record: &EvaluationRecord| record.similarity.as_ref().map(|s| s.embedder.clone());
    // Margins by two embedders are two scales.
    let same_scale = input.baseline.filter(|b| embedder(b) == embedder(input.evaluation));
    all.push(trend(
        "similarity to the speaker, minus the best other's",
        margin(input.evaluation),
        same_scale.and_then(margin),
        false,
    ));
    all.push(selection(input.selections));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Judged, summarise};
    use harmonica_config_schema::BestRule;
    use harmonica_config_schema::Fingerprint;
    use harmonica_config_schema::record::{
        CodebookMetrics, FORMAT_VERSION, JudgedUtterance, ValidationMetrics, VerdictRecord,
    };

    fn codebook(codebook: usize, utilization_ratio: f64) -> CodebookMetrics {
        CodebookMetrics {
            codebook,
            n_tokens: 100,
            cross_entropy: 1.0,
            target_entropy: 2.0,
            accuracy: 0.5,
            utilization_ratio,
            effective_codes_ratio: 1.0,
            marginal_kl: 0.1,
            ..CodebookMetrics::default()
        }
    }

    fn evaluation(
        heard: Option<&str>,
        failures: &[&str],
        codebooks: Vec<CodebookMetrics>,
    ) -> EvaluationRecord {
        let record = JudgedUtterance {
            id: "a".into(),
            path: String::new(),
            text: "open the box".into(),
            speaker: String::new(),
            heard: heard.map(str::to_owned),
            word_errors: None,
            n_words: 3,
            duration_s: 1.0,
            failures: failures.iter().map(|f| (*f).to_owned()).collect(),
            failure_findings: Vec::new(),
            character_errors: None,
            prosody: None,
            mos: std::collections::BTreeMap::new(),
            mel_distance: None,
        };
        EvaluationRecord {
            format_version: FORMAT_VERSION,
            suite: "s".into(),
            suite_fingerprint: Fingerprint::of_bytes(b"s"),
            recognizer: String::new(),
            text_normalizer: "v1".into(),
            config: Fingerprint::of_bytes(b"c"),
            decode: None,
            mos_models: std::collections::BTreeMap::new(),
            codebooks,
            systems: vec![summarise("generated", vec![Judged { record }], 10)],
            similarity: None,
            criteria: None,
        }
    }

    fn states(
        evaluation: &EvaluationRecord,
        baseline: Option<&EvaluationRecord>,
        selections: &[CheckpointSelection],
    ) -> Vec<CriterionState> {
        let input = CriteriaInput { evaluation, system: "generated", baseline, selections };
        criteria(&input).iter().map(|c| c.state).collect()
    }

    #[test]
    fn criteria_without_figures_are_not_measured() {
        use CriterionState::{NotMeasured, Pass};
        let bare = evaluation(None, &[], Vec::new());
        let found = states(&bare, None, &[]);
        assert_eq!(found[0], NotMeasured);
        assert_eq!(found[1..5], [Pass; 4]);
        assert_eq!(found[5..], [NotMeasured; 4]);
    }

    #[test]
    fn criteria_pass_and_fail_by_their_figures() {
        use CriterionState::{Fail, Pass};
        // Codebook 1 is the AR model's; the median of the others counts.
        let used = vec![codebook(1, 0.0), codebook(2, 0.2), codebook(3, 0.3), codebook(4, 0.9)];
        let good = evaluation(Some("open the box"), &[], used);
        let unused = vec![codebook(2, 0.2), codebook(3, 0.25)];
        let bad = evaluation(Some("open box"), &["looping"], unused);
        let found = states(&good, Some(&bad), &[]);
        assert_eq!((found[0], found[5], found[6]), (Pass, Pass, Pass));
        let found = states(&bad, Some(&good), &[]);
        assert_eq!((found[0], found[3], found[5], found[6]), (Fail, Fail, Fail, Fail));
        assert_eq!(found[1], Pass);
    }

    #[test]
    fn a_best_checkpoint_that_metrics_do_not_explain_fails() {
        let validation = |update, cross_entropy| {
            MetricsLine::Validation(ValidationMetrics {
                update,
                ema: true,
                cross_entropy,
                codebooks: Vec::new(),
                verdict: VerdictRecord { verdict: "healthy".into(), ..VerdictRecord::default() },
                ..ValidationMetrics::default()
            })
        };
        let metrics = [validation(1, 3.0), validation(2, 2.0), validation(3, 2.0), validation(4, f64::NAN)];
        let best = |update, value| BestRecord {
            format_version: FORMAT_VERSION,
            update,
            checkpoint: String::new(),
            criterion: String::new(),
            rule: BestRule::default(),
            value,
        };
        let state = |best: Option<BestRecord>| {
            let selection = CheckpointSelection::new("nar", &metrics, best.as_ref());
            states(&evaluation(None, &[], Vec::new()), None, &[selection]).pop().unwrap()
        };
        assert_eq!(state(Some(best(2, 2.0))), CriterionState::Pass);
        assert_eq!(state(Some(best(3, 2.0))), CriterionState::Fail);
        assert_eq!(state(Some(best(2, 1.9))), CriterionState::Fail);
        assert_eq!(state(None), CriterionState::NotMeasured);
        let wrong = CheckpointSelection::new("ar", &metrics, Some(&best(3, 2.0)));
        let unknown = CheckpointSelection::new("nar", &metrics, None);
        let both = selection(&[wrong, unknown]);
        assert_eq!(both.state, CriterionState::Fail, "what is unknown of one run hides nothing of another");
        assert!(
            both.figure.contains("ar: named") && both.figure.contains("nar: no best.json"),
            "{}",
            both.figure
        );
    }
}
