//! A run on disk: `config.toml`, `provenance.json`, `run.json`, `environment.json`, `metrics.jsonl`, `step-NNNNNNNN/`, `LATEST`,
//! `best.json`.
//!
//! In: records and checkpoints; out: files that are replaced as a whole. `LATEST` names the newest checkpoint and `best.json`
//! the best one, for people and programs; a resumed run looks at the checkpoints themselves. Invariant: they name a
//! checkpoint that is on disk already, and none that a newer one supersedes is removed while they still name it.

use crate::run_lock::RunLock;
use crate::{Checkpoint, TrainingError, retention};
use harmonica_config_schema::record::{
    BestRecord, FORMAT_VERSION, MetricsLine, ProvenanceRecord, RunManifest,
};
use harmonica_config_schema::{ExperimentConfig, Place, TrainingConfig};
use harmonica_storage::{
    StorageError, append, collect_scratch, make_directory, remove_directory, remove_file, replace, sync,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub(crate) const PROVENANCE: &str = "provenance.json";

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
        make_directory(root)?;
        Ok(Self::at(root))
    }

    /// A directory as it is. Nothing is made.
    pub(crate) fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The run in a directory that holds one: its `run.json` or a checkpoint. Nothing is made.
    pub fn existing(root: &Path) -> Option<Self> {
        let run = Self::at(root);
        (root.join("run.json").exists() || !run.checkpoints().is_empty()).then_some(run)
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Directory of the checkpoint after `update` updates.
    pub fn checkpoint(&self, update: u64) -> PathBuf {
        self.root.join(step_name(update))
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
        Ok(replace(&self.root.join(name), content)?)
    }

    /// The right to write here, until it is dropped.
    pub(crate) fn lock(&self) -> Result<RunLock, TrainingError> {
        RunLock::acquire(&self.root)
    }

    /// Removes what killed processes did not finish.
    pub(crate) fn collect_scratch(&self) -> Result<(), TrainingError> {
        let n = collect_scratch(&self.root)?;
        if n > 0 {
            tracing::info!("removed {n} unfinished files or directories from `{}`", self.root.display());
        }
        Ok(())
    }

    /// The last checkpoint that is whole, if there is one, and the updates of those passed over.
    ///
    /// # Errors
    /// Only damaged checkpoints; starting anew would throw away what may be restored from a copy. A directory that never
    /// became a checkpoint is no error.
    pub(crate) fn last_whole(&self) -> Result<(Option<Checkpoint>, BTreeSet<u64>), TrainingError> {
        let updates = self.checkpoints();
        let mut passed_over = BTreeSet::new();
        let mut newest_damage = None;
        for update in updates.iter().rev() {
            let dir = self.checkpoint(*update);
            match Checkpoint::open(&dir) {
                Ok(checkpoint) => return Ok((Some(checkpoint), passed_over)),
                Err(_) if Checkpoint::is_partial(&dir) => {
                    tracing::warn!("`{}` was never finished; an earlier checkpoint is used", dir.display());
                }
                Err(error @ TrainingError::Damaged { .. }) => {
                    tracing::warn!("{error}; an earlier checkpoint is used");
                    newest_damage = newest_damage.or(Some(Box::new(error)));
                }
                Err(other) => return Err(other),
            }
            passed_over.insert(*update);
        }
        match newest_damage {
            None => Ok((None, passed_over)),
            Some(newest) => {
                let path = self.root.clone();
                Err(TrainingError::NoWholeCheckpoint { path, n_checkpoints: updates.len(), newest })
            }
        }
    }

    /// Makes `LATEST` and `best.json` say what is so, then removes the checkpoints that the configuration does not keep.
    /// Those of `unusable` count for nothing and are left to whoever wants to look into them.
    pub(crate) fn settle(
        &self,
        newest: u64,
        best: Option<&BestRecord>,
        unusable: &BTreeSet<u64>,
        training: &TrainingConfig,
    ) -> Result<(), TrainingError> {
        self.replace("LATEST", format!("{}\n", step_name(newest)).as_bytes())?;
        match best {
            Some(best) => self.replace_json("best.json", best)?,
            None => remove_file(&self.root.join("best.json"))?,
        }
        let usable: Vec<u64> = self.checkpoints().into_iter().filter(|u| !unusable.contains(u)).collect();
        for update in retention::superseded(&usable, best.map(|b| b.update), training) {
            remove_directory(&self.checkpoint(update))?;
        }
        Ok(())
    }

    /// The checkpoint that `LATEST` names, if it is there.
    pub fn latest(&self) -> Option<PathBuf> {
        let name = std::fs::read_to_string(self.root.join("LATEST")).ok()?;
        let update = name.trim().strip_prefix("step-")?.parse().ok()?;
        Some(self.checkpoint(update)).filter(|dir| dir.is_dir())
    }

    /// Writes `config.toml` and `run.json`.
    ///
    /// # Errors
    /// A path that cannot be written to.
    pub fn describe(&self, config: &ExperimentConfig, manifest: &RunManifest) -> Result<(), TrainingError> {
        let toml = toml::to_string(config).map_err(|e| StorageError::encode(&self.root, e))?;
        self.replace("config.toml", toml.as_bytes())?;
        self.replace_json("run.json", manifest)
    }

    /// Writes `provenance.json`: where each key of `config.toml` was set.
    ///
    /// # Errors
    /// A path that cannot be written to.
    pub fn describe_provenance(&self, keys: &BTreeMap<String, Place>) -> Result<(), TrainingError> {
        let record = ProvenanceRecord { format_version: FORMAT_VERSION, keys: keys.clone() };
        self.replace_json(PROVENANCE, &record)
    }

    /// A record of this directory; none if it has no such file, and in words why one cannot be read.
    pub(crate) fn record<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, String> {
        match std::fs::read(self.root.join(name)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| format!("is damaged: {e}")),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(format!("cannot be read: {e}")),
        }
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
        let mut json = serde_json::to_string(line).map_err(|e| StorageError::encode(&path, e))?;
        json.push('\n');
        Ok(append(&path, json.as_bytes())?)
    }

    /// Makes the lines of `metrics.jsonl` durable.
    pub(crate) fn sync_metrics(&self) -> Result<(), TrainingError> {
        Ok(sync(&self.root.join("metrics.jsonl"))?)
    }

    /// All lines of `metrics.jsonl` that can be read; [`RunReading`](crate::RunReading) says how many cannot.
    pub fn metrics(&self) -> Vec<MetricsLine> {
        let text = self.metrics_text().unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// `metrics.jsonl` as it is, empty if there is none; a damaged byte costs its line, not the file.
    pub(crate) fn metrics_text(&self) -> std::io::Result<String> {
        match std::fs::read(self.root.join("metrics.jsonl")) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error),
        }
    }

    /// Updates of which metrics or a checkpoint tell that they were done.
    pub(crate) fn updates_told_of(&self) -> u64 {
        let metrics = self.metrics();
        let logged = metrics.iter().map(MetricsLine::update).max();
        logged.into_iter().chain(self.checkpoints()).max().unwrap_or(0)
    }

    /// Drops lines beyond `update`: a resumed run writes them again.
    ///
    /// # Errors
    /// A path that cannot be written to.
    pub(crate) fn truncate_metrics(&self, update: u64) -> Result<(), TrainingError> {
        // What cannot be read is not replaced.
        let text = self
            .metrics_text()
            .map_err(|source| StorageError::Write { path: self.root.join("metrics.jsonl"), source })?;
        let is_kept =
            |line: &str| serde_json::from_str::<MetricsLine>(line).is_ok_and(|l| l.update() <= update);
        let kept: String =
            text.lines().filter(|line| is_kept(line)).map(|line| format!("{line}\n")).collect();
        self.replace("metrics.jsonl", kept.as_bytes())
    }

    pub(crate) fn replace_json<T: Serialize>(&self, name: &str, record: &T) -> Result<(), TrainingError> {
        let json =
            serde_json::to_vec_pretty(record).map_err(|e| StorageError::encode(&self.root.join(name), e))?;
        self.replace(name, &json)
    }
}

/// Name of the checkpoint after `update` updates.
pub(crate) fn step_name(update: u64) -> String {
    format!("step-{update:08}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_byte_of_the_metrics_costs_its_line_and_not_those_before() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::new(dir.path()).unwrap();
        let line = |update: u64| {
            let verdict = r#""verdict":{"verdict":"healthy","reasons":[]}"#;
            format!(
                r#"{{"kind":"validation","update":{update},"ema":true,"cross_entropy":2.0,"codebooks":[],{verdict}}}"#
            ) + "\n"
        };
        let bytes = [line(1).as_bytes(), b"\xff\n", line(2).as_bytes(), line(3).as_bytes()].concat();
        std::fs::write(dir.path().join("metrics.jsonl"), bytes).unwrap();
        let updates = |run: &RunDir| run.metrics().iter().map(MetricsLine::update).collect::<Vec<_>>();
        assert_eq!(updates(&run), [1, 2, 3]);
        run.truncate_metrics(2).unwrap();
        assert_eq!(updates(&run), [1, 2]);
    }
}
