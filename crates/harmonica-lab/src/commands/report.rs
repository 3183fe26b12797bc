//! `report`: the page of an experiment.

use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use harmonica_config_schema::record::EvaluationRecord;
use harmonica_config_schema::{ConfigDiff, ConfigLoader, ExperimentConfig};
use harmonica_eval::{ReportInput, RunCurves, write_report};
use harmonica_training::{RunDir, RunReading};
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
    let (best, sittings) = match RunReading::open(dir) {
        Ok(reading) => (reading.summary.best, reading.sittings),
        Err(_) => (None, Vec::new()),
    };
    Ok(Some(RunCurves { manifest, metrics: run.metrics(), samples, best, sittings }))
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
    let config_of = |root: &Path| {
        let mut paths = [root.join("config.toml"), root.join("ar/config.toml")].into_iter();
        paths.find(|p| p.exists()).map(|path| ConfigLoader::new().file(path).load()).transpose()
    };
    let (parent, parent_config) = match &arguments.parent {
        None => ("the defaults".to_owned(), ExperimentConfig::default()),
        Some(dir) => match config_of(dir)? {
            Some(config) => (format!("that of {}", dir.display()), config),
            None => {
                return Err(Failure::error(format!(
                    "`{}` holds no config.toml; give a run directory",
                    dir.display()
                )));
            }
        },
    };
    let config = config_of(root)?.map_or_else(Vec::new, |config| {
        let diff = ConfigDiff::between(&parent_config, &config);
        diff.entries.iter().map(|e| format!("{} = {} (there {})", e.key, e.right, e.left)).collect()
    });
    let title = runs.first().map_or_else(|| "Evaluation".to_owned(), |r| r.manifest.name.clone());
    let input = ReportInput { title, runs, evaluation, root: root.clone(), parent, config };
    let dir = arguments.output.as_ref().unwrap_or(root);
    write_report(&input, dir)?;
    let path = dir.join("report.html");
    out.result(&serde_json::json!({ "report": path.display().to_string() }), &format!("{}", path.display()));
    Ok(())
}
