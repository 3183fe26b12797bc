//! `gate`: an evaluation against a baseline. A regression is a refusal.

use crate::failure::Failure;
use crate::output::Output;
use crate::table::{Column, Cut, lines};
use clap::Args;
use harmonica_config_schema::record::{EvaluationRecord, GateRecord, WorseUtterance};
use harmonica_eval::{GateLimits, gate};
use harmonica_storage::{StorageError, make_directory, publish};
use std::path::{Path, PathBuf};

/// Utterances that are shown of each measure; gate.json has all.
const SHOWN: usize = 5;
/// Width of the tables, in characters.
const WIDTH: usize = 130;

/// Arguments of `gate`.
#[derive(Debug, Args)]
#[command(after_help = "Example: harmonica-lab gate runs/new/eval.json runs/demo/eval.json")]
pub(crate) struct GateArguments {
    /// The evaluation to judge
    #[arg(value_name = "NEW/eval.json")]
    new: PathBuf,
    /// The evaluation that it is held against
    #[arg(value_name = "BASELINE/eval.json")]
    baseline: PathBuf,
    /// Where gate.json goes; beside the new evaluation if left out
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Reads an `eval.json`.
pub(crate) fn read(path: &Path) -> Result<EvaluationRecord, Failure> {
    let bytes = std::fs::read(path)
        .map_err(|e| Failure::error(format!("cannot read `{}`: {e}; give an eval.json", path.display())))?;
    serde_json::from_slice(&bytes).map_err(|e| {
        Failure::error(format!("`{}` is no evaluation of this version: {e}; evaluate again", path.display()))
    })
}

/// Compares, and writes `gate.json` into a directory.
pub(crate) fn compare(
    new: &EvaluationRecord,
    baseline: &EvaluationRecord,
    dir: &Path,
) -> Result<GateRecord, Failure> {
    let record = gate(new, baseline, &GateLimits::default())?;
    make_directory(dir)?;
    let path = dir.join("gate.json");
    let json = serde_json::to_vec_pretty(&record).map_err(|e| StorageError::encode(&path, e))?;
    publish(&path, &json)?;
    Ok(record)
}

/// The refusal that a regression is.
pub(crate) fn refusal(record: &GateRecord, baseline: &Path) -> Failure {
    let message = format!(
        "worse than the baseline `{}`: {}; gate.json names every utterance",
        baseline.display(),
        record.regressions.join("; ")
    );
    let result = match serde_json::json!({ "gate": record }) {
        serde_json::Value::Object(map) => map,
        _ => serde_json::Map::new(),
    };
    Failure { code: 1, result, ..Failure::error(message) }
}

fn comparisons(record: &GateRecord) -> Vec<String> {
    let number = |value: f64| format!("{value:.4}");
    let rows: Vec<Vec<String>> = record
        .systems
        .iter()
        .flat_map(|s| s.comparisons.iter().map(move |c| (s, c)))
        .map(|(s, c)| {
            vec![
                s.system.clone(),
                c.measure.clone(),
                c.n_pairs.to_string(),
                number(c.baseline),
                number(c.new),
                format!("{:+.4}", c.worse_by),
                format!("{:+.4} to {:+.4}", c.low, c.high),
                c.minimal_effect.to_string(),
                if c.regression { "REGRESSION".into() } else { "pass".into() },
            ]
        })
        .collect();
    let columns = [
        Column::words("system"),
        Column::words("measure"),
        Column::numbers("pairs"),
        Column::numbers("baseline"),
        Column::numbers("new"),
        Column::numbers("worse by"),
        Column::numbers("interval"),
        Column::numbers("from"),
        Column::words(""),
    ];
    lines(&columns, &rows, WIDTH)
}

fn worse(record: &GateRecord) -> Vec<String> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut hidden = 0;
    for system in &record.systems {
        for failure in &system.new_failures {
            let listed = |f: &[String]| if f.is_empty() { "none".to_owned() } else { f.join(", ") };
            rows.push(vec![
                system.system.clone(),
                failure.id.clone(),
                "failures".into(),
                listed(&failure.baseline),
                listed(&failure.new),
                String::new(),
            ]);
        }
        for comparison in &system.comparisons {
            let of: Vec<&WorseUtterance> =
                system.worse.iter().filter(|w| w.measure == comparison.measure).collect();
            hidden += of.len().saturating_sub(SHOWN);
            for w in of.into_iter().take(SHOWN) {
                // Of a pair of texts, the one that was to be said and what is heard instead.
                let heard = match &w.heard_new {
                    Some(heard) if comparison.measure == "word error rate" => {
                        format!("{} / {heard}", w.text)
                    }
                    _ => String::new(),
                };
                let (name, shown): (&str, fn(f64) -> String) = if comparison.measure == "word error rate" {
                    ("word errors", |v| format!("{v:.0}"))
                } else {
                    (&comparison.measure, |v| format!("{v:.4}"))
                };
                rows.push(vec![
                    system.system.clone(),
                    w.id.clone(),
                    name.to_owned(),
                    shown(w.baseline),
                    shown(w.new),
                    heard,
                ]);
            }
        }
    }
    if rows.is_empty() {
        return vec!["no utterance got worse".into()];
    }
    let columns = [
        Column::words("got worse"),
        Column::words("utterance"),
        Column::words("measure"),
        Column::numbers("baseline"),
        Column::numbers("new"),
        Column::words("text / heard").cut(Cut::End(20)),
    ];
    let mut all = lines(&columns, &rows, WIDTH);
    if hidden > 0 {
        all.push(format!("and {hidden} more in gate.json"));
    }
    all
}

/// The comparison for people.
pub(crate) fn words(record: &GateRecord) -> String {
    let mut all = vec![format!(
        "gate on {} ({}): {}",
        record.suite,
        record.suite_fingerprint,
        if record.passed { "passed" } else { "REGRESSION" }
    )];
    all.extend(comparisons(record));
    all.push(format!(
        "intervals hold with {:.2}% each; all of them together with 95%",
        100.0 * record.confidence
    ));
    all.push(String::new());
    all.extend(worse(record));
    all.extend(record.not_compared.iter().map(|what| format!("not compared: {what}")));
    all.extend(record.regressions.iter().map(|what| format!("regression: {what}")));
    all.join("\n")
}

pub(crate) fn run(arguments: &GateArguments, out: Output) -> Result<(), Failure> {
    let (new, baseline) = (read(&arguments.new)?, read(&arguments.baseline)?);
    let beside = arguments.new.parent().unwrap_or(Path::new("."));
    let dir = arguments.output.as_deref().unwrap_or(beside);
    let record = compare(&new, &baseline, dir)?;
    if record.passed {
        out.result(&record, &words(&record));
        return Ok(());
    }
    if !out.json {
        out.result(&(), &words(&record));
    }
    Err(refusal(&record, &arguments.baseline))
}
