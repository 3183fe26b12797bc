//! `report`: the page of an experiment.

use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use harmonica_config_schema::record::EvaluationRecord;
use harmonica_config_schema::{ConfigDiff, ConfigLoader, ExperimentConfig};
use harmonica_eval::{ReportInput, RunCurves, write_report};
use harmonica_training::{RunDir, RunReading};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Arguments of `report`.
#[derive(Debug, Args)]
#[command(after_help = "Example: harmonica-lab report runs/demo")]
pub(crate) struct ReportArguments {
    /// A run directory, or a directory that holds runs `ar` and `nar` and an eval.json
    run: PathBuf,
    /// Where report.md and report.html go; the run directory if left out
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Run that this one follows: the configuration is held against its, not against the defaults
    #[arg(long, value_name = "RUN_DIR")]
    parent: Option<PathBuf>,
}

fn curves(dir: &Path) -> Result<Option<RunCurves>, Failure> {
    if !dir.join("run.json").exists() {
        return Ok(None);
    }
    let run = RunDir::new(dir)?;
    let Some(manifest) = run.manifest() else {
        return Err(Failure::error(format!(
            "`{}` is damaged; take a run that this version wrote",
            dir.join("run.json").display()
        )));
    };
    let mut samples: Vec<(u64, PathBuf)> = std::fs::read_dir(dir.join("samples"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name =
                entry.file_name().to_str()?.strip_prefix("update-")?.strip_suffix(".wav")?.parse().ok()?;
            Some((name, entry.path()))
        })
        .collect();
    samples.sort();
    let RunReading { summary, sittings, metrics, .. } =
        RunReading::open(dir).map_err(|e| Failure::error(format!("`{}` {}", e.path.display(), e.reason)))?;
    Ok(Some(RunCurves {
        manifest,
        metrics,
        samples,
        best: summary.best,
        sittings,
        problems: summary.problems,
    }))
}

/// Configurations in a run directory, or in a directory that holds runs: subdirectory and configuration.
fn configs(root: &Path) -> Result<Vec<(&'static str, ExperimentConfig)>, Failure> {
    let mut found = Vec::new();
    for name in ["", "ar", "nar"] {
        let path = root.join(name).join("config.toml");
        if path.exists() {
            found.push((name, ConfigLoader::new().file(path).load()?));
        }
    }
    Ok(found)
}

/// Where each configuration differs from its counterpart, in words. What all runs share is said once.
fn differences(
    ours: &[(&'static str, ExperimentConfig)],
    theirs: &[(&'static str, ExperimentConfig)],
) -> Vec<String> {
    let mut lines: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, config) in ours {
        let Some((_, other)) = theirs.iter().find(|(other, _)| other == name).or(theirs.first()) else {
            continue;
        };
        for entry in ConfigDiff::between(other, config).entries {
            let line = format!("{} = {} (there {})", entry.key, entry.right, entry.left);
            lines.entry(line).or_default().push(name);
        }
    }
    let of = |names: &[&str]| match names.len() < ours.len() {
        true => format!("{}: ", names.join(", ")),
        false => String::new(),
    };
    match ours.is_empty() {
        true => vec!["no config.toml is there, so nothing is known".to_owned()],
        false => lines.iter().map(|(line, names)| format!("{}{line}", of(names))).collect(),
    }
}

pub(crate) fn run(arguments: &ReportArguments, out: Output) -> Result<(), Failure> {
    let root = &arguments.run;
    let mut runs = Vec::new();
    for dir in [root.clone(), root.join("ar"), root.join("nar")] {
        runs.extend(curves(&dir)?);
    }
    let eval_path = root.join("eval.json");
    let evaluation: Option<EvaluationRecord> = match std::fs::read(&eval_path) {
        Ok(bytes) => Some(
            serde_json::from_slice(&bytes)
                .map_err(|e| Failure::error(format!("`{}` is damaged: {e}", eval_path.display())))?,
        ),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(Failure::error(format!("cannot read `{}`: {e}", eval_path.display()))),
    };
    if runs.is_empty() && evaluation.is_none() {
        return Err(Failure::error(format!(
            "`{}` holds no run and no eval.json; give a run directory",
            root.display()
        )));
    }
    let ours = configs(root)?;
    let (parent, theirs) = match &arguments.parent {
        None => ("the defaults".to_owned(), vec![("", ExperimentConfig::default())]),
        Some(dir) => match configs(dir)? {
            none if none.is_empty() => {
                return Err(Failure::error(format!(
                    "`{}` holds no config.toml; give a run directory",
                    dir.display()
                )));
            }
            found => (format!("that of {}", dir.display()), found),
        },
    };
    let config = differences(&ours, &theirs);
    let title = runs.first().map_or_else(|| "Evaluation".to_owned(), |r| r.manifest.name.clone());
    let input = ReportInput { title, runs, evaluation, root: root.clone(), parent, config };
    let dir = arguments.output.as_ref().unwrap_or(root);
    write_report(&input, dir)?;
    let path = dir.join("report.html");
    out.result(&serde_json::json!({ "report": path.display().to_string() }), &format!("{}", path.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_of_every_run_are_told_and_shared_ones_once() {
        let changed = |seed, updates| {
            let mut config = ExperimentConfig { seed, ..ExperimentConfig::default() };
            config.training.nar.max_updates = updates;
            config
        };
        let default = ExperimentConfig::default();
        let theirs = [("", default.clone())];
        let updates = default.training.nar.max_updates;
        let ours = [("ar", changed(7, updates)), ("nar", changed(7, updates + 1))];
        let lines = differences(&ours, &theirs);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines.iter().any(|l| l.starts_with("seed = 7")), "{lines:?}");
        assert!(lines.iter().any(|l| l.starts_with("nar: training.nar.max_updates")), "{lines:?}");
        assert!(differences(&ours[1..], &theirs).iter().all(|l| !l.starts_with("nar:")));
        assert!(differences(&[], &theirs)[0].contains("no config.toml"));
    }
}
