//! The mean of several checkpoints' weights, often better than any one of them (Izmailov et al. 2018).
//!
//! In: checkpoints of one model; out: a checkpoint that bundles and evaluations take. Invariant: only checkpoints with equal
//! contracts and equally shaped tensors are averaged; the result cannot be resumed, because it is no moment of a run.

use crate::checkpoint::{CONFIG, CONTRACT, STATE, bytes_of, json};
use crate::{Checkpoint, CheckpointState, TrainingError, WeightKind};
use harmonica_model_core::WeightStore;
use harmonica_storage::Staged;
use std::path::Path;

impl Checkpoint {
    /// Writes the mean of `checkpoints` to `output`. State, contract and configuration are those of the newest.
    ///
    /// # Errors
    /// No checkpoint, checkpoints that do not belong together, an `output` that exists or cannot be written.
    pub fn average(checkpoints: &[Self], output: &Path) -> Result<Self, TrainingError> {
        let refuse = |path: &Path, reason: &str| TrainingError::Checkpoint {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let Some(newest) = checkpoints.iter().max_by_key(|checkpoint| checkpoint.state().update) else {
            return Err(refuse(output, "an average needs at least one checkpoint"));
        };
        if output.exists() {
            return Err(refuse(output, "it exists already; name another place for the average"));
        }
        let fits = |other: &&Self| {
            other.state().model == newest.state().model && other.contract() == newest.contract()
        };
        if let Some(other) = checkpoints.iter().find(|other| !fits(other)) {
            let newest = newest.dir().display();
            let reason =
                format!("its model or contract differs from that of `{newest}`, so they have no average");
            return Err(refuse(other.dir(), &reason));
        }
        let mut staged = Staged::begin(output)?;
        for kind in [WeightKind::Raw, WeightKind::Averaged] {
            let stores: Result<Vec<WeightStore>, _> = checkpoints.iter().map(|c| c.weights(kind)).collect();
            let mean = WeightStore::mean(&stores?)?;
            staged.file(kind.file(), &bytes_of(&mean, false, &output.join(kind.file()))?)?;
        }
        let state = CheckpointState { best: None, ..newest.state().clone() };
        staged.file(STATE, &json(&state, &output.join(STATE))?)?;
        staged.file(CONTRACT, &json(newest.contract(), &output.join(CONTRACT))?)?;
        let config = newest.config_path();
        let toml = std::fs::read(&config).map_err(|e| refuse(&config, &e.to_string()))?;
        staged.file(CONFIG, &toml)?;
        staged.commit()?;
        Self::open(output)
    }
}
