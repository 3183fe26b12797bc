//! One moment of a run as a directory: weights, averages, optimizer, state, contract, configuration, manifest.
//!
//! In: a directory; out: its parts. Invariant: a [`Checkpoint`] is one whose every byte was found as it was written, and a
//! directory under its final name is whole unless something damaged it later.

use crate::instability::Instability;
use crate::{EarlyStop, Ema, PlateauPolicy, TrainingError};
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn_pack::{Reader, Writer};
use harmonica_config_schema::ExperimentConfig;
use harmonica_config_schema::record::BestRecord;
use harmonica_model_core::diagnosis::Alerts;
use harmonica_model_core::{InterfaceContract, WeightStore};
use harmonica_storage::{FileCheck, FileDigest, MANIFEST, Staged, StorageError, replace, seal, verify};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where a run stands, beside its tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointState {
    /// Version of this record.
    pub format_version: u32,
    /// `ar` or `nar`.
    pub model: String,
    /// Updates done.
    pub update: u64,
    /// Updates skipped in a row.
    pub skipped: u64,
    /// Sums since the last line of metrics: objective, cross-entropy, gradient norm, updates.
    pub window: [f64; 4],
    /// Best validation so far.
    pub best: Option<BestRecord>,
    /// Keys in which the cache differed from what the configuration asks for, in any sitting that allowed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cache_mismatch: Vec<String>,
    /// Where the policies stand.
    #[serde(default)]
    pub(crate) policies: Policies,
}

/// Where the policies of a run stand.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policies {
    pub(crate) instability: Instability,
    pub(crate) plateau: PlateauPolicy,
    pub(crate) early_stop: EarlyStop,
    pub(crate) alerts: Alerts,
}

/// Which weights of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightKind {
    /// The running average, which is evaluated and shipped.
    Averaged,
    /// Those that the optimizer moves.
    Raw,
}

impl WeightKind {
    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Averaged => "ema.safetensors",
            Self::Raw => "model.safetensors",
        }
    }
}

pub(crate) const STATE: &str = "state.json";
pub(crate) const CONTRACT: &str = "contract.json";
pub(crate) const CONFIG: &str = "config.toml";
const OPTIMIZER: &str = "optimizer.bpk";

/// What every checkpoint has; one that can be resumed has the optimizer's record too.
pub(crate) const REQUIRED: [&str; 5] = ["model.safetensors", "ema.safetensors", STATE, CONTRACT, CONFIG];

/// A checkpoint that was found whole.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    dir: PathBuf,
    state: CheckpointState,
    contract: InterfaceContract,
}

/// What a run is at one moment.
pub(crate) struct Moment<'a, M: Module> {
    pub(crate) model: &'a M,
    pub(crate) ema: &'a Ema<M>,
    pub(crate) optimizer: &'a ModuleOptimizer,
    pub(crate) state: &'a CheckpointState,
    pub(crate) contract: &'a InterfaceContract,
    pub(crate) config: &'a ExperimentConfig,
}

impl<M: Module> Moment<'_, M> {
    /// Writes a checkpoint directory, in the place of what stood there.
    ///
    /// # Errors
    /// Weights that are not finite, which are never written; a directory that cannot be written to.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), TrainingError> {
        let weights = [
            (WeightKind::Raw, WeightStore::of(self.model)),
            (WeightKind::Averaged, WeightStore::of(self.ema.model())),
        ];
        for (kind, weights) in &weights {
            let tensors = weights.not_finite();
            if !tensors.is_empty() {
                return Err(TrainingError::NotFinite {
                    update: self.state.update,
                    file: kind.file(),
                    tensors,
                });
            }
        }
        let mut staged = Staged::begin(dir)?;
        for (kind, weights) in weights {
            staged.file(kind.file(), &bytes_of(&weights, false, &dir.join(kind.file()))?)?;
        }
        staged.file(OPTIMIZER, &self.optimizer_bytes(&dir.join(OPTIMIZER))?)?;
        staged.file(STATE, &json(self.state, &dir.join(STATE))?)?;
        staged.file(CONTRACT, &json(self.contract, &dir.join(CONTRACT))?)?;
        let toml = toml::to_string(self.config).map_err(|e| StorageError::encode(&dir.join(CONFIG), e))?;
        staged.file(CONFIG, toml.as_bytes())?;
        Ok(staged.commit()?)
    }

    /// The optimizer's record in one spelling: burn keeps its states in a hash map, whose order changes from run to run.
    fn optimizer_bytes(&self, path: &Path) -> Result<Vec<u8>, TrainingError> {
        let failed = |reason: String| StorageError::encode(path, reason);
        let record = self.optimizer.into_bytes().map_err(|e| failed(e.to_string()))?;
        let reader = Reader::from_bytes(record).map_err(|e| failed(e.to_string()))?;
        let (scalars, metadata) = (reader.scalars().clone(), reader.metadata().clone());
        let mut tensors = reader.into_tensors().map_err(|e| failed(e.to_string()))?;
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        let writer = Writer::new(tensors);
        let writer = scalars.iter().fold(writer, |writer, (key, value)| writer.with_scalar(key, *value));
        let writer = metadata.iter().fold(writer, |writer, (key, value)| writer.with_metadata(key, value));
        Ok(writer.into_bytes().map_err(|e| failed(e.to_string()))?.to_vec())
    }
}

impl Checkpoint {
    /// Opens a checkpoint and checks every byte of it.
    ///
    /// # Errors
    /// A directory that is missing, damaged or of another version, with each file that is not as it was written.
    pub fn open(dir: &Path) -> Result<Self, TrainingError> {
        let findings: Vec<FileCheck> = Self::verify(dir).into_iter().filter(|c| !c.is_whole()).collect();
        if !findings.is_empty() {
            return Err(TrainingError::Damaged { path: dir.to_owned(), findings });
        }
        Ok(Self { dir: dir.to_owned(), state: read_json(dir, STATE)?, contract: read_json(dir, CONTRACT)? })
    }

    /// The state of every file, the manifest first. Nothing is decoded.
    pub fn verify(dir: &Path) -> Vec<FileCheck> {
        verify(dir, &REQUIRED)
    }

    /// Whether a directory never became a checkpoint: it has no manifest, and not all of the files either.
    pub(crate) fn is_partial(dir: &Path) -> bool {
        !dir.join(MANIFEST).exists() && REQUIRED.iter().any(|name| !dir.join(name).exists())
    }

    /// Writes the manifest of a checkpoint from before there were manifests, once all of its files can be decoded.
    ///
    /// # Errors
    /// A checkpoint that has a manifest already, or a file that cannot be decoded.
    pub fn seal(dir: &Path) -> Result<Self, TrainingError> {
        let refuse =
            |reason: &str| TrainingError::Checkpoint { path: dir.to_owned(), reason: reason.to_owned() };
        if dir.join(MANIFEST).exists() {
            return Err(refuse("it has a manifest already; `harmonica-lab checkpoint verify` reads it"));
        }
        let unsealed =
            Self { dir: dir.to_owned(), state: read_json(dir, STATE)?, contract: read_json(dir, CONTRACT)? };
        for kind in [WeightKind::Raw, WeightKind::Averaged] {
            unsealed.weights(kind)?;
        }
        let names =
            REQUIRED.into_iter().chain([OPTIMIZER].into_iter().filter(|name| dir.join(name).exists()));
        seal(dir, &names.collect::<Vec<_>>())?;
        Self::open(dir)
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the run stood.
    pub fn state(&self) -> &CheckpointState {
        &self.state
    }

    /// What the model promises.
    pub fn contract(&self) -> &InterfaceContract {
        &self.contract
    }

    /// The resolved configuration, as TOML.
    pub fn config_path(&self) -> PathBuf {
        self.dir.join(CONFIG)
    }

    /// Reads weights.
    ///
    /// # Errors
    /// A file that was damaged since the checkpoint was opened.
    pub fn weights(&self, kind: WeightKind) -> Result<WeightStore, TrainingError> {
        Ok(WeightStore::read(&self.dir.join(kind.file()))?)
    }

    /// Writes weights as one safetensors file, `half` as f16, in the place of what stood there.
    ///
    /// # Errors
    /// A path that cannot be written to.
    pub fn export(&self, kind: WeightKind, half: bool, output: &Path) -> Result<FileDigest, TrainingError> {
        let bytes = bytes_of(&self.weights(kind)?, half, output)?;
        replace(output, &bytes)?;
        Ok(FileDigest::of(&bytes))
    }

    /// Restores the optimizer's state; parameters are found by their ids, which are functions of their paths.
    pub(crate) fn optimizer(&self, optimizer: ModuleOptimizer) -> Result<ModuleOptimizer, TrainingError> {
        let path = self.dir.join(OPTIMIZER);
        let refuse = |reason: String| TrainingError::Checkpoint { path: self.dir.clone(), reason };
        if !path.exists() {
            return Err(refuse(format!("{OPTIMIZER} is missing: it is an average, not a moment of a run")));
        }
        optimizer.load(path).map_err(|e| refuse(e.to_string()))
    }
}

/// Safetensors bytes of weights that will stand at `path`.
pub(crate) fn bytes_of(weights: &WeightStore, half: bool, path: &Path) -> Result<Vec<u8>, TrainingError> {
    Ok(weights.to_bytes(half).map_err(|e| StorageError::encode(path, e))?)
}

/// JSON of a record that will stand at `path`.
pub(crate) fn json<T: Serialize>(value: &T, path: &Path) -> Result<Vec<u8>, TrainingError> {
    Ok(serde_json::to_vec_pretty(value).map_err(|e| StorageError::encode(path, e))?)
}

fn read_json<T: serde::de::DeserializeOwned>(dir: &Path, name: &str) -> Result<T, TrainingError> {
    let refuse = |reason: String| TrainingError::Checkpoint {
        path: dir.to_owned(),
        reason: format!("{name}: {reason}"),
    };
    let bytes = std::fs::read(dir.join(name)).map_err(|e| refuse(e.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|e| refuse(e.to_string()))
}
