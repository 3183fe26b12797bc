//! One moment of a run as a directory: weights, averages, optimizer, state, contract, configuration.
//!
//! Written beside and renamed. Invariant: a directory under its final name is whole.

use crate::{Ema, TrainingError};
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use harmonica_config_schema::ExperimentConfig;
use harmonica_config_schema::record::BestRecord;
use harmonica_model_core::{InterfaceContract, WeightStore};
use serde::{Deserialize, Serialize};
use std::path::Path;

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
}

/// Reads and writes checkpoints.
#[derive(Debug)]
pub struct Checkpoint;

const RAW: &str = "model.safetensors";
const AVERAGE: &str = "ema.safetensors";
const OPTIMIZER: &str = "optimizer.bpk";

impl Checkpoint {
    /// Writes a checkpoint directory.
    ///
    /// # Errors
    /// A path that cannot be written to.
    pub(crate) fn write<M: Module>(
        dir: &Path,
        model: &M,
        ema: &Ema<M>,
        optimizer: &ModuleOptimizer,
        state: &CheckpointState,
        contract: &InterfaceContract,
        config: &ExperimentConfig,
    ) -> Result<(), TrainingError> {
        let beside = dir.with_extension("part");
        let failed = |source| TrainingError::Write { path: dir.to_owned(), source };
        if beside.exists() {
            std::fs::remove_dir_all(&beside).map_err(failed)?;
        }
        std::fs::create_dir_all(&beside).map_err(failed)?;
        WeightStore::of(model).save(&beside.join(RAW), false)?;
        WeightStore::of(ema.model()).save(&beside.join(AVERAGE), false)?;
        optimizer.save(beside.join(OPTIMIZER)).map_err(|e| failed(std::io::Error::other(e.to_string())))?;
        let json = |name: &str, value: Result<Vec<u8>, serde_json::Error>| {
            value
                .map_err(std::io::Error::from)
                .and_then(|v| std::fs::write(beside.join(name), v))
                .map_err(failed)
        };
        json("state.json", serde_json::to_vec_pretty(state))?;
        json("contract.json", serde_json::to_vec_pretty(contract))?;
        let toml = toml::to_string(config).map_err(|e| failed(std::io::Error::other(e.to_string())))?;
        std::fs::write(beside.join("config.toml"), toml).map_err(failed)?;
        let old = dir.with_extension("old");
        if old.exists() {
            std::fs::remove_dir_all(&old).map_err(failed)?;
        }
        if dir.exists() {
            std::fs::rename(dir, &old).map_err(failed)?;
        }
        std::fs::rename(&beside, dir).map_err(failed)?;
        if old.exists() {
            std::fs::remove_dir_all(&old).map_err(failed)?;
        }
        Ok(())
    }

    /// Reads the state of a checkpoint.
    ///
    /// # Errors
    /// A checkpoint that is missing or damaged.
    pub fn state(dir: &Path) -> Result<CheckpointState, TrainingError> {
        read_json(dir, "state.json")
    }

    /// Reads the contract of a checkpoint.
    ///
    /// # Errors
    /// A checkpoint that is missing or damaged.
    pub fn contract(dir: &Path) -> Result<InterfaceContract, TrainingError> {
        read_json(dir, "contract.json")
    }

    /// Reads weights: the averaged ones, or the raw ones.
    ///
    /// # Errors
    /// A checkpoint that is missing or damaged.
    pub fn weights(dir: &Path, averaged: bool) -> Result<WeightStore, TrainingError> {
        Ok(WeightStore::read(&dir.join(if averaged { AVERAGE } else { RAW }))?)
    }

    /// Restores the optimizer's state; parameters are found by their ids, which are functions of their paths.
    ///
    /// # Errors
    /// A record that is missing or damaged.
    pub(crate) fn optimizer(
        dir: &Path,
        optimizer: ModuleOptimizer,
    ) -> Result<ModuleOptimizer, TrainingError> {
        optimizer
            .load(dir.join(OPTIMIZER))
            .map_err(|e| TrainingError::Checkpoint { path: dir.to_owned(), reason: e.to_string() })
    }
}

fn read_json<T: serde::de::DeserializeOwned>(dir: &Path, name: &str) -> Result<T, TrainingError> {
    let refuse = |reason: String| TrainingError::Checkpoint {
        path: dir.to_owned(),
        reason: format!("{name}: {reason}"),
    };
    let bytes = std::fs::read(dir.join(name)).map_err(|e| refuse(e.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|e| refuse(e.to_string()))
}
