//! `report.md` and one self-contained `report.html`.

use crate::EvalError;
use crate::html;
use harmonica_config_schema::record::{
    AttentionMetrics, BestValidation, CodebookMetrics, CriterionRecord, EvaluationRecord, FailureFinding,
    Interval, JudgedUtterance, MetricsLine, RunManifest, SimilarityRecord, Sitting, SystemEvaluation,
    SystemSimilarity, ValidationMetrics,
};
use harmonica_storage::{make_directory, publish};
use std::path::{Path, PathBuf};

/// Most validations that `report.md` lists of a run.
const N_VALIDATIONS: usize = 20;
/// Most failed utterances that a report lists.
const N_FAILURES: usize = 60;

/// What a run left behind.
#[derive(Debug, Clone, PartialEq)]
pub struct RunCurves {
    /// Its manifest.
    pub manifest: RunManifest,
    /// Its metrics.
    pub metrics: Vec<MetricsLine>,
    /// Sample sentences by update.
    pub samples: Vec<(u64, PathBuf)>,
    /// The best validation, if there was one.
    pub best: Option<BestValidation>,
    /// The processes that trained it; none if they were not recorded.
    pub sittings: Vec<Sitting>,
    /// What is damaged or missing in its records, in words.
    pub problems: Vec<String>,
}

/// Everything a report tells of.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportInput {
    /// Title.
    pub title: String,
    /// The runs.
    pub runs: Vec<RunCurves>,
    /// The evaluation, if there was one.
    pub evaluation: Option<EvaluationRecord>,
    /// Directory that the evaluation's paths are relative to.
    pub root: PathBuf,
    /// What the configuration is held against: the defaults, or the run that this one follows.
    pub parent: String,
    /// Keys that differ from the parent's, in words.
    pub config: Vec<String>,
}

/// Writes both reports into a directory.
///
/// # Errors
/// A directory that cannot be written to.
pub fn write_report(input: &ReportInput, dir: &Path) -> Result<(), EvalError> {
    make_directory(dir)?;
    publish(&dir.join("report.md"), report_markdown(input).as_bytes())?;
    Ok(publish(&dir.join("report.html"), report_html(input).as_bytes())?)
}

/// The text of `report.html`; players are filled from the files that the records name.
pub fn report_html(input: &ReportInput) -> String {
    html::page(input)
}

pub(crate) fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "not measured".to_owned(), |v| format!("{:.1}%", 100.0 * v))
}

/// Which checkpoint is the best one, and why.
fn best_words(run: &RunCurves) -> Option<String> {
    let best = run.best.as_ref()?;
    let kept = best
        .checkpoint
        .as_ref()
        .map_or_else(|| "no checkpoint is kept of it".to_owned(), |c| format!("kept as {}", c.display()));
    let why = best.chosen_by.as_ref().map_or_else(String::new, |why| format!(", chosen by {why}"));
    Some(format!(
        "Best after {} updates: validation cross-entropy {:.4}{why}; {kept}.",
        best.update, best.cross_entropy
    ))
}

/// What of a run's records could not be read, so that nobody takes what is shown for all there is.
fn problem_words(run: &RunCurves) -> impl Iterator<Item = String> {
    run.problems.iter().map(|problem| format!("Not all of this run can be read: {problem}."))
}

/// All that is said of a run in sentences.
pub(crate) fn run_words(run: &RunCurves) -> Vec<String> {
    best_words(run)
        .into_iter()
        .chain(problem_words(run))
        .chain(run.sittings.iter().map(sitting_words))
        .collect()
}

/// Header and rows of a run's curves as a table: at most [`N_VALIDATIONS`] validations, the first and the last among them.
fn curves_table(run: &RunCurves) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let all: Vec<&ValidationMetrics> = run.metrics.iter().filter_map(MetricsLine::validation).collect();
    let best = run.best.as_ref().map(|best| best.update);
    let last = all.len().saturating_sub(1);
    let every = last.div_ceil(N_VALIDATIONS - 1).max(1);
    let row = |(_, v): (usize, &&ValidationMetrics)| {
        let of_each = |pick: &dyn Fn(&CodebookMetrics) -> f64| {
            v.codebooks.iter().map(|c| format!("{:.2}", pick(c))).collect::<Vec<_>>().join(" ")
        };
        vec![
            format!("{}{}", v.update, if best == Some(v.update) { " (best)" } else { "" }),
            format!("{:.4}", v.cross_entropy),
            of_each(&|c| c.cross_entropy),
            of_each(&|c| c.effective_codes_ratio),
            v.verdict.verdict.clone(),
        ]
    };
    let is_shown =
        |(i, v): &(usize, &&ValidationMetrics)| i % every == 0 || *i == last || best == Some(v.update);
    let header =
        vec!["updates", "cross-entropy", "of each codebook", "effective codes of each, share", "verdict"];
    (header, all.iter().enumerate().filter(is_shown).map(row).collect())
}

/// Header and rows of the table of failures: each utterance with what was measured.
pub(crate) fn failures_table(evaluation: &EvaluationRecord) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let finding = |f: &FailureFinding| {
        let place = f.start_s.zip(f.end_s);
        let place = place.map_or_else(String::new, |(from, to)| format!(", {from:.2} s to {to:.2} s"));
        format!("{}: {} {:.2} {} (limit {:.2}){place}", f.failure, f.measure, f.value, f.unit, f.threshold)
    };
    let row = |(system, u): (&str, &JudgedUtterance)| {
        let reasons: Vec<String> = u.failure_findings.iter().map(finding).collect();
        let reasons = if reasons.is_empty() { u.failures.join(", ") } else { reasons.join("; ") };
        vec![system.to_owned(), u.id.clone(), u.text.clone(), u.heard.clone().unwrap_or_default(), reasons]
    };
    let all = evaluation.systems.iter().flat_map(|s| s.utterances.iter().map(|u| (s.system.as_str(), u)));
    let failed: Vec<_> = all.filter(|(_, u)| !u.failures.is_empty()).collect();
    let mut rows: Vec<Vec<String>> = failed.iter().take(N_FAILURES).copied().map(row).collect();
    if let Some(n @ 1..) = failed.len().checked_sub(N_FAILURES) {
        let more = format!("{n} more are in eval.json");
        rows.push(vec![String::new(), String::new(), more, String::new(), String::new()]);
    }
    (vec!["system", "utterance", "text", "heard", "why it failed"], rows)
}

/// Where and how long a process trained.
fn sitting_words(sitting: &Sitting) -> String {
    let e = &sitting.environment;
    let known = |value: Option<&str>| value.unwrap_or("not recorded").to_owned();
    let to = sitting.to_update.map_or_else(|| "?".to_owned(), |n| n.to_string());
    let took = sitting.duration_s.map_or_else(String::new, |s| format!(" in {:.1} minutes", s / 60.0));
    let why =
        if sitting.ended_because.is_empty() { "still running or killed" } else { &sitting.ended_because };
    format!(
        "Updates {} to {to}{took} ({why}): {} on {}, threads: {}, processors: {}, {}; program {} at {}.",
        sitting.from_update,
        e.device,
        known(e.cpu.as_deref()),
        e.n_threads,
        known(e.n_cpus.map(|n| n.to_string()).as_deref()),
        e.os,
        e.program,
        known(e.commit.as_ref().map(|c| c.id.as_str()))
    )
}

/// Header and rows of the table of systems.
pub(crate) fn systems_table(evaluation: &EvaluationRecord) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let header =
        vec!["system", "WER", "95% interval", "exact", "CER", "wrong text", "mel distance", "failures"];
    let rows = evaluation
        .systems
        .iter()
        .map(|s| {
            let failures: Vec<String> = s.failures.iter().map(|(k, n)| format!("{n} {k}")).collect();
            vec![
                s.system.clone(),
                percent(s.word_error_rate.map(|w| w.value)),
                s.word_error_rate
                    .map_or_else(String::new, |w| format!("{:.1} to {:.1}%", 100.0 * w.low, 100.0 * w.high)),
                percent(s.exact_share),
                percent(s.character_error_rate),
                percent(s.chance_word_error_rate),
                s.mel_distance.map_or_else(|| "not measured".into(), |d| format!("{d:.3}")),
                if failures.is_empty() { "none".into() } else { failures.join(", ") },
            ]
        })
        .collect();
    (header, rows)
}

/// Header and rows of the table of means over utterances.
pub(crate) fn means_table(evaluation: &EvaluationRecord) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let header = vec![
        "system",
        "WER",
        "F0 median, Hz",
        "F0 spread, semitones",
        "F0 error, cents",
        "voiced",
        "characters/s",
        "pauses",
    ];
    let cell = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "not measured".to_owned(), |v| format!("{v:.digits$}"))
    };
    let rows = evaluation.systems.iter().map(|s| {
        let p = s.prosody.unwrap_or_default();
        let pauses = p.n_pauses.zip(p.pauses_s);
        vec![
            s.system.clone(),
            percent(s.word_error_rate_utterance_mean),
            cell(p.f0_median_hz, 0),
            cell(p.f0_spread_semitones, 2),
            cell(p.f0_error_cents, 0),
            percent(p.voiced_ratio),
            cell(p.characters_per_s, 1),
            pauses.map_or_else(|| "not measured".into(), |(n, s)| format!("{n:.2} of {s:.2} s together")),
        ]
    });
    (header, rows.collect())
}

/// Header and rows of the table of held-out codebook figures.
pub(crate) fn codebooks_table(evaluation: &EvaluationRecord) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let header = vec![
        "codebook",
        "cross-entropy",
        "unigram entropy of targets",
        "accuracy",
        "used",
        "effective",
        "KL",
    ];
    let rows = evaluation
        .codebooks
        .iter()
        .map(|c| {
            vec![
                c.codebook.to_string(),
                format!("{:.3}", c.cross_entropy),
                format!("{:.3}", c.target_entropy),
                format!("{:.3}", c.accuracy),
                format!("{:.2}", c.utilization_ratio),
                format!("{:.2}", c.effective_codes_ratio),
                format!("{:.2}", c.marginal_kl),
            ]
        })
        .collect();
    (header, rows)
}

/// Header and rows of the table of similarity to voices.
pub(crate) fn similarity_table(record: &SimilarityRecord) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let header = vec![
        "system",
        "embedder",
        "to the speaker",
        "minus best other",
        "95% interval",
        "nearest to own voice",
        "utterances",
    ];
    let row = |s: &SystemSimilarity| {
        vec![
            s.system.clone(),
            record.embedder.clone(),
            format!("{:.3}", s.target),
            format!("{:+.3}", s.margin.value),
            format!("{:+.3} to {:+.3}", s.margin.low, s.margin.high),
            percent(Some(s.nearest_share)),
            s.utterances.len().to_string(),
        ]
    };
    (header, record.systems.iter().map(row).collect())
}

/// Header and rows of the table of predicted opinion scores; no rows if no predictor was given.
pub(crate) fn opinions_table(evaluation: &EvaluationRecord) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let header = vec!["system", "predictor", "model", "mean score", "95% interval", "utterances"];
    let row = |system: &SystemEvaluation, name: &str, score: &Interval| {
        let n_scored = system.utterances.iter().filter(|u| u.mos.contains_key(name)).count();
        vec![
            system.system.clone(),
            name.to_owned(),
            evaluation.mos_models.get(name).cloned().unwrap_or_default(),
            format!("{:.3}", score.value),
            format!("{:.3} to {:.3}", score.low, score.high),
            format!("{n_scored} of {}", system.utterances.len()),
        ]
    };
    let rows = evaluation.systems.iter().flat_map(|s| s.mos.iter().map(move |(n, v)| row(s, n, v)));
    (header, rows.collect())
}

/// Header and rows of the table of attention heads.
fn attention_table(validation: &ValidationMetrics) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let header = vec![
        "attention",
        "entropy of the heads, nats",
        "narrowest head",
        "share of looking everywhere alike",
        "diversity, nats",
    ];
    let row = |a: &AttentionMetrics| {
        vec![
            format!("layer {}, {}", a.layer, a.reads.name()),
            format!("{:.2}", a.mean_entropy()),
            format!("{:.2}", a.lowest_entropy()),
            percent(Some(a.relative_entropy())),
            format!("{:.2}", a.diversity),
        ]
    };
    (header, validation.attention.iter().map(row).collect())
}

/// Header and rows of the table of criteria.
pub(crate) fn criteria_table(criteria: &[CriterionRecord]) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let row = |c: &CriterionRecord| {
        vec![c.state.name().to_owned(), c.criterion.clone(), c.figure.clone(), c.threshold.clone()]
    };
    (vec!["state", "criterion", "figure", "threshold"], criteria.iter().map(row).collect())
}

/// A record's words on one line of Markdown.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn markdown_table((header, rows): (Vec<&'static str>, Vec<Vec<String>>)) -> String {
    let mut out = format!("| {} |\n|{}\n", header.join(" | "), "---|".repeat(header.len()));
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| one_line(cell).replace('|', "\\|")).collect();
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    out
}

/// The text of `report.md`.
pub fn report_markdown(input: &ReportInput) -> String {
    let mut out = format!("# {}\n\n", one_line(&input.title));
    for run in &input.runs {
        let m = &run.manifest;
        out.push_str(&format!(
            "## {} model\n\n{} parameters on {}, configuration {}. Stopped: {}.\n\n",
            one_line(&m.model.to_uppercase()),
            m.n_parameters,
            one_line(&m.device),
            one_line(m.config.as_str()),
            if m.stopped.is_empty() { "it did not finish".to_owned() } else { one_line(&m.stopped) }
        ));
        for words in run_words(run) {
            out.push_str(&format!("{}\n\n", one_line(&words)));
        }
        out.push_str(&markdown_table(curves_table(run)));
        out.push('\n');
        if let Some(v) = run.metrics.iter().rev().find_map(MetricsLine::validation) {
            out.push_str(&format!(
                "Verdict after {} updates: **{}**.\n\n",
                v.update,
                one_line(&v.verdict.verdict)
            ));
            for reason in &v.verdict.reasons {
                out.push_str(&format!("- {}\n", one_line(reason)));
            }
            out.push('\n');
            if !v.attention.is_empty() {
                out.push_str(&markdown_table(attention_table(v)));
                out.push('\n');
            }
        }
    }
    if let Some(evaluation) = &input.evaluation {
        let recognizer = if evaluation.recognizer.is_empty() {
            "none: word errors were not measured".to_owned()
        } else {
            one_line(&evaluation.recognizer)
        };
        out.push_str(&format!(
            "## Evaluation on {}\n\nRecognizer: {recognizer}. Sentences: {}.\n\n",
            one_line(&evaluation.suite),
            one_line(evaluation.suite_fingerprint.as_str())
        ));
        out.push_str(&markdown_table(systems_table(evaluation)));
        let (header, failed) = failures_table(evaluation);
        if !failed.is_empty() {
            out.push_str("\n### Failures\n\n");
            out.push_str(&markdown_table((header, failed)));
        }
        out.push_str("\n### Means over utterances\n\n");
        out.push_str(&markdown_table(means_table(evaluation)));
        if let Some(similarity) = &evaluation.similarity {
            out.push_str("\n### Similarity to the speaker\n\n");
            out.push_str(&markdown_table(similarity_table(similarity)));
        }
        if !evaluation.mos_models.is_empty() {
            out.push_str("\n### Predicted opinion scores\n\n");
            out.push_str(&markdown_table(opinions_table(evaluation)));
        }
        if let Some(criteria) = &evaluation.criteria {
            out.push_str("\n### Criteria\n\n");
            out.push_str(&markdown_table(criteria_table(criteria)));
        }
        out.push_str("\n### Held-out codebooks\n\n");
        out.push_str(&markdown_table(codebooks_table(evaluation)));
    }
    out.push_str(&format!("\n## Configuration, where it differs from {}\n\n", one_line(&input.parent)));
    for line in &input.config {
        out.push_str(&format!("- {}\n", one_line(line)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use harmonica_config_schema::Fingerprint;
    use harmonica_config_schema::record::{CodebookMetrics, VerdictRecord};
    use std::collections::BTreeMap;

    const HOSTILE: &str = "<b>|\n| x |";

    fn validation(update: u64, figures: &[f64]) -> MetricsLine {
        let codebook = |(i, value): (usize, &f64)| CodebookMetrics {
            codebook: i + 1,
            n_tokens: 1,
            cross_entropy: *value,
            target_entropy: 1.0,
            accuracy: 0.5,
            utilization_ratio: 1.0,
            effective_codes_ratio: *value,
            ..CodebookMetrics::default()
        };
        MetricsLine::Validation(ValidationMetrics {
            update,
            ema: true,
            cross_entropy: 1.0,
            codebooks: figures.iter().enumerate().map(codebook).collect(),
            verdict: VerdictRecord {
                verdict: HOSTILE.into(),
                reasons: vec![HOSTILE.into()],
                ..VerdictRecord::default()
            },
            ..ValidationMetrics::default()
        })
    }

    fn input(metrics: Vec<MetricsLine>) -> ReportInput {
        let fingerprint: Fingerprint = serde_json::from_value(HOSTILE.into()).unwrap();
        let manifest = RunManifest {
            format_version: 1,
            name: HOSTILE.into(),
            model: HOSTILE.into(),
            n_parameters: 1,
            config: fingerprint.clone(),
            cache: fingerprint.clone(),
            cache_mismatch: Vec::new(),
            program: HOSTILE.into(),
            device: HOSTILE.into(),
            stopped: HOSTILE.into(),
        };
        let system = SystemEvaluation {
            system: HOSTILE.into(),
            word_error_rate: None,
            word_error_rate_utterance_mean: None,
            character_error_rate: None,
            word_errors: None,
            text_normalizer: None,
            prosody: None,
            mos: BTreeMap::new(),
            chance_word_error_rate: None,
            exact_share: None,
            mel_distance: None,
            failures: BTreeMap::from([(HOSTILE.to_owned(), 1)]),
            utterances: Vec::new(),
        };
        ReportInput {
            title: HOSTILE.into(),
            runs: vec![RunCurves {
                manifest,
                metrics,
                samples: Vec::new(),
                best: None,
                sittings: Vec::new(),
                problems: vec![HOSTILE.into()],
            }],
            evaluation: Some(EvaluationRecord {
                format_version: 1,
                suite: HOSTILE.into(),
                suite_fingerprint: fingerprint.clone(),
                recognizer: HOSTILE.into(),
                text_normalizer: HOSTILE.into(),
                config: fingerprint,
                decode: None,
                mos_models: BTreeMap::new(),
                codebooks: Vec::new(),
                systems: vec![system],
                similarity: None,
                criteria: None,
            }),
            root: ".".into(),
            parent: HOSTILE.into(),
            config: vec![HOSTILE.into()],
        }
    }

    #[test]
    fn words_of_records_are_no_markup() {
        let input = input(vec![validation(1, &[1.0])]);
        let html = report_html(&input);
        assert!(!html.contains("<b>") && !html.contains("<B>"), "{html}");
        let tables = report_markdown(&input);
        let n_cells = |line: &str| line.replace("\\|", "").matches('|').count();
        let lines: Vec<&str> = tables.lines().collect();
        for pair in lines.windows(2).filter(|pair| pair.iter().all(|line| line.starts_with('|'))) {
            assert_eq!(n_cells(pair[0]), n_cells(pair[1]), "{pair:?}");
        }
        assert!(lines.iter().filter(|line| line.starts_with('|')).count() > 10);
    }

    #[test]
    fn every_failure_is_listed_with_what_was_measured() {
        let mut record = input(Vec::new()).evaluation.unwrap();
        let finding = FailureFinding {
            failure: "silence".into(),
            measure: "longest pause".into(),
            value: 2.5,
            threshold: 1.5,
            unit: "s".into(),
            start_s: Some(0.5),
            end_s: Some(3.0),
        };
        let failed = |id: String| JudgedUtterance {
            id,
            failures: vec!["silence".into()],
            failure_findings: vec![finding.clone()],
            ..crate::judgement::unmeasured("", "one", 1.0)
        };
        let whole = crate::judgement::unmeasured("", "two", 1.0);
        record.systems[0].utterances = vec![whole, failed("u1".into())];
        let (_, rows) = failures_table(&record);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0][4], "silence: longest pause 2.50 s (limit 1.50), 0.50 s to 3.00 s");
        record.systems[0].utterances.extend((0..N_FAILURES).map(|i| failed(format!("v{i}"))));
        let (_, rows) = failures_table(&record);
        assert_eq!((rows.len(), rows[N_FAILURES][2].as_str()), (N_FAILURES + 1, "1 more are in eval.json"));
    }

    #[test]
    fn curves_of_long_runs_keep_their_first_last_and_best_validation() {
        let mut run = input((1..=101).map(|update| validation(update, &[1.0])).collect()).runs.remove(0);
        run.best = Some(BestValidation { update: 42, cross_entropy: 1.0, chosen_by: None, checkpoint: None });
        let (_, rows) = curves_table(&run);
        assert!(rows.len() <= N_VALIDATIONS + 2, "{}", rows.len());
        assert_eq!((rows[0][0].as_str(), rows[rows.len() - 1][0].as_str()), ("1", "101"));
        assert!(rows.iter().any(|row| row[0] == "42 (best)"));
        assert_eq!(curves_table(&input(Vec::new()).runs[0]).1.len(), 0);
    }

    #[test]
    fn means_of_opinions_say_over_how_many_utterances() {
        let mut record = input(Vec::new()).evaluation.unwrap();
        let scored = |scores: &[f64]| crate::Judged {
            record: harmonica_config_schema::record::JudgedUtterance {
                mos: scores.iter().map(|s| ("mos".to_owned(), *s)).collect(),
                ..crate::judgement::unmeasured("", "one", 1.0)
            },
        };
        record.systems = vec![crate::summarise("s", vec![scored(&[2.0]), scored(&[]), scored(&[4.0])], 10)];
        let (header, rows) = opinions_table(&record);
        assert_eq!((header.len(), rows[0].len()), (6, 6));
        assert_eq!((rows[0][3].as_str(), rows[0][5].as_str()), ("3.000", "2 of 3"));
    }

    #[test]
    fn validations_of_fewer_codebooks_and_huge_figures_are_drawn() {
        let html = report_html(&input(vec![validation(1, &[f64::MAX, 1.0]), validation(2, &[f64::MIN])]));
        let points: Vec<&str> = html.split("points=\"").skip(1).filter_map(|p| p.split('"').next()).collect();
        assert_eq!(points.len(), 5);
        assert!(points.iter().all(|p| !p.contains("NaN") && !p.contains("inf")), "{points:?}");
    }
}
