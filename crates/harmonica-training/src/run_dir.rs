//! A run on disk: `config.toml`, `run.json`, `metrics.jsonl`, `best.json`, `step-NNNNNNNN/`.

use crate::TrainingError;
use harmonica_config_schema::ExperimentConfig;
use harmonica_config_schema::record::{BestRecord, MetricsLine, RunManifest};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Paths and records of one run.
#[derive(Debug, Clone)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    /// The run in a directory, which is made if it is missing.
    ///
    /// # Errors
    /// A directory that cannot be made.
    pub fn new(root: &Path) -> Result<Self, TrainingError> {
        std::fs::create_dir_all(root)
            .map_err(|source| TrainingError::Write { path: root.to_owned(), source })?;
        Ok(Self { root: root.to_owned() })
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Directory of the checkpoint after `update` updates.
    pub fn checkpoint(&self, update: u64) -> PathBuf {
        self.root.join(format!("step-{update:08}"))
    }

    /// Updates of all checkpoints, ascending.
    pub fn checkpoints(&self) -> Vec<u64> {
        let entries = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
        let mut updates: Vec<u64> =
            entries.filter_map(|e| e.file_name().to_str()?.strip_prefix("step-")?.parse().ok()).collect();
        updates.sort_unstable();
        updates
    }

    /// Writes a file beside and renames it.
    ///
    /// # Errors
    /// A path that cannot be written to.
    pub(crate) fn replace(&self, name: &str, content: &[u8]) -> Result<(), TrainingError> {
        let path = self.root.join(name);
        let beside = self.root.join(format!(".{name}.part"));
        std::fs::write(&beside, content)
            .and_then(|()| std::fs::rename(&beside, &path))
            .map_err(|source| TrainingError::Write { path, source })
    }

    /// Writes `config.toml` and `run.json`.
    ///
    /// # Errors
    /// A path that cannot be written to.
    pub fn describe(&self, config: &ExperimentConfig, manifest: &RunManifest) -> Result<(), TrainingError> {
        let failed =
            |e: String| TrainingError::Write { path: self.root.clone(), source: std::io::Error::other(e) };
        let toml = toml::to_string(config).map_err(|e| failed(e.to_string()))?;
        self.replace("config.toml", toml.as_bytes())?;
        self.replace("run.json", &serde_json::to_vec_pretty(manifest).map_err(|e| failed(e.to_string()))?)
    }

    /// The manifest of the run that is here already, if there is one.
    pub fn manifest(&self) -> Option<RunManifest> {
        serde_json::from_slice(&std::fs::read(self.root.join("run.json")).ok()?).ok()
    }

    /// Appends a line to `metrics.jsonl`.
    ///
    /// # Errors
    /// A path that cannot be written to.
    pub fn append(&self, line: &MetricsLine) -> Result<(), TrainingError> {
        let path = self.root.join("metrics.jsonl");
        let mut json = serde_json::to_string(line)
            .map_err(|e| TrainingError::Write { path: path.clone(), source: e.into() })?;
        json.push('\n');
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(json.as_bytes()))
            .map_err(|source| TrainingError::Write { path, source })
    }

    /// All lines of `metrics.jsonl`.
    pub fn metrics(&self) -> Vec<MetricsLine> {
        let text = std::fs::read_to_string(self.root.join("metrics.jsonl")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Drops lines beyond `update`: a resumed run writes them again.
    ///
    /// # Errors
    /// A path that cannot be written to.
    pub(crate) fn truncate_metrics(&self, update: u64) -> Result<(), TrainingError> {
        let at = |line: &MetricsLine| match line {
            MetricsLine::Train(m) => m.update,
            MetricsLine::Validation(m) => m.update,
            MetricsLine::Event(e) => e.update,
        };
        let text = std::fs::read_to_string(self.root.join("metrics.jsonl")).unwrap_or_default();
        let is_kept = |line: &str| serde_json::from_str::<MetricsLine>(line).is_ok_and(|l| at(&l) <= update);
        let kept: String =
            text.lines().filter(|line| is_kept(line)).map(|line| format!("{line}\n")).collect();
        self.replace("metrics.jsonl", kept.as_bytes())
    }

    /// Writes `best.json`.
    ///
    /// # Errors
    /// A path that cannot be written to.
    pub(crate) fn write_best(&self, best: &BestRecord) -> Result<(), TrainingError> {
        let json = serde_json::to_vec_pretty(best)
            .map_err(|e| TrainingError::Write { path: self.root.join("best.json"), source: e.into() })?;
        self.replace("best.json", &json)
    }
}
