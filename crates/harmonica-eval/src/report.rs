//! `report.md` and one self-contained `report.html`.

use crate::EvalError;
use crate::html;
use harmonica_config_schema::record::{EvaluationRecord, MetricsLine, RunManifest};
use harmonica_storage::{make_directory, publish};
use std::path::{Path, PathBuf};

/// What a run left behind.
#[derive(Debug, Clone, PartialEq)]
pub struct RunCurves {
    /// Its manifest.
    pub manifest: RunManifest,
    /// Its metrics.
    pub metrics: Vec<MetricsLine>,
    /// Sample sentences by update.
    pub samples: Vec<(u64, PathBuf)>,
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
    /// Keys that differ from the defaults, in words.
    pub config: Vec<String>,
}

/// Writes both reports into a directory.
///
/// # Errors
/// A directory that cannot be written to.
pub fn write_report(input: &ReportInput, dir: &Path) -> Result<(), EvalError> {
    make_directory(dir)?;
    publish(&dir.join("report.md"), markdown(input).as_bytes())?;
    Ok(publish(&dir.join("report.html"), html::page(input).as_bytes())?)
}

pub(crate) fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "not measured".to_owned(), |v| format!("{:.1}%", 100.0 * v))
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

fn markdown_table((header, rows): (Vec<&'static str>, Vec<Vec<String>>)) -> String {
    let mut out = format!("| {} |\n|{}\n", header.join(" | "), "---|".repeat(header.len()));
    for row in rows {
        out.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    out
}

fn markdown(input: &ReportInput) -> String {
    let mut out = format!("# {}\n\n", input.title);
    for run in &input.runs {
        let m = &run.manifest;
        out.push_str(&format!(
            "## {} model\n\n{} parameters on {}, configuration {}. Stopped: {}.\n\n",
            m.model.to_uppercase(),
            m.n_parameters,
            m.device,
            m.config,
            if m.stopped.is_empty() { "it did not finish" } else { &m.stopped }
        ));
        if let Some(MetricsLine::Validation(v)) =
            run.metrics.iter().rev().find(|l| matches!(l, MetricsLine::Validation(_)))
        {
            out.push_str(&format!("Verdict after {} updates: **{}**.\n\n", v.update, v.verdict.verdict));
            for reason in &v.verdict.reasons {
                out.push_str(&format!("- {reason}\n"));
            }
            out.push('\n');
        }
    }
    if let Some(evaluation) = &input.evaluation {
        let recognizer = if evaluation.recognizer.is_empty() {
            "none: word errors were not measured"
        } else {
            &evaluation.recognizer
        };
        out.push_str(&format!(
            "## Evaluation on {}\n\nRecognizer: {recognizer}. Sentences: {}.\n\n",
            evaluation.suite, evaluation.suite_fingerprint
        ));
        out.push_str(&markdown_table(systems_table(evaluation)));
        out.push_str("\n### Held-out codebooks\n\n");
        out.push_str(&markdown_table(codebooks_table(evaluation)));
    }
    out.push_str("\n## Configuration, where it differs from the defaults\n\n");
    for line in &input.config {
        out.push_str(&format!("- {line}\n"));
    }
    out
}
