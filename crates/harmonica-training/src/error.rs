//! What can go wrong while training.

use harmonica_model_core::ModelError;
use harmonica_storage::{FileCheck, FileState, MANIFEST, StorageError};
use std::path::PathBuf;

/// Why training stopped with an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// The run directory is in use.
    #[error("the run directory `{}` already holds a run; pass --resume to go on with it, or choose another --run-dir", path.display())]
    RunExists {
        /// The directory.
        path: PathBuf,
    },
    /// The run directory holds a run of another configuration.
    #[error("the run in `{}` was started with another configuration ({found}, now {wanted}); resume with its own config.toml or choose another --run-dir", path.display())]
    OtherConfig {
        /// The directory.
        path: PathBuf,
        /// Fingerprint there.
        found: String,
        /// Fingerprint asked for.
        wanted: String,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A directory cannot be searched for runs.
    #[error("cannot search `{}` for runs; name a directory that holds some", path.display())]
    Search {
        /// The directory.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: std::io::Error,
    },
    /// A checkpoint cannot be used.
    #[error("the checkpoint `{}` is unusable: {reason}; take another one", path.display())]
    Checkpoint {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Files of a checkpoint are not as they were written.
    #[error(
        "the checkpoint `{}` is damaged: {}; {}",
        path.display(),
        findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        remedy(findings)
    )]
    Damaged {
        /// The checkpoint.
        path: PathBuf,
        /// Every file that is not whole.
        findings: Vec<FileCheck>,
    },
    /// A run has checkpoints, and none of them can be used.
    #[error(
        "none of the {n_checkpoints} checkpoints in `{}` is whole, the newest because of {newest}; restore one from a copy, or remove them all to start at update 0",
        path.display()
    )]
    NoWholeCheckpoint {
        /// The run directory.
        path: PathBuf,
        /// How many there are.
        n_checkpoints: usize,
        /// What is wrong with the newest.
        newest: Box<TrainingError>,
    },
    /// Another process writes the run directory.
    #[error(
        "the run directory `{}` is in use by {owner} on {host}; wait for it or stop it, or choose another --run-dir; if that host is gone, remove `{}`",
        path.display(),
        record.display()
    )]
    RunLocked {
        /// The run directory.
        path: PathBuf,
        /// The process.
        owner: String,
        /// The machine it runs on.
        host: String,
        /// Where it is recorded.
        record: PathBuf,
    },
    /// Losses or gradients were not finite for too long.
    #[error(
        "{skipped} updates in a row had a non-finite loss or gradient, the last at update {update}; lower the learning rate or check the data"
    )]
    Diverged {
        /// Update at which the run gave up.
        update: u64,
        /// Updates skipped.
        skipped: u64,
    },
    /// The weights themselves are broken.
    #[error(
        "after update {update} {} of {file} hold values that are not finite; nothing was saved: go on from the last checkpoint by --resume with a lower learning rate",
        tensors.join(", ")
    )]
    NotFinite {
        /// Updates done.
        update: u64,
        /// Which weights.
        file: &'static str,
        /// Names of the tensors.
        tensors: Vec<String>,
    },
    /// The model has parameters of which nobody said how they learn.
    #[error(
        "no parameter group knows {}; give their paths a group in harmonica-training's groups.rs",
        parameters.join(", ")
    )]
    Ungrouped {
        /// Their paths.
        parameters: Vec<String>,
    },
    /// The thread that prepares batches ended early.
    #[error(
        "there is no batch for update {update}: the preparing thread ended; see its panic above, then go on with --resume"
    )]
    BatchesEnded {
        /// Update that waited for it.
        update: u64,
    },
    /// The data has nothing for this purpose.
    #[error("the cache has no {split} utterance; preprocess a corpus with one")]
    EmptySplit {
        /// The split.
        split: &'static str,
    },
    /// The model refused.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// What to do about a damaged checkpoint.
fn remedy(findings: &[FileCheck]) -> &'static str {
    let is_missing = |check: &FileCheck| check.file == MANIFEST && check.state == FileState::Missing;
    if findings.iter().any(is_missing) {
        "if it was written before checkpoints had manifests, `harmonica-lab checkpoint seal` adds one; else take another checkpoint"
    } else {
        "take another checkpoint or restore this one from a copy; `train --resume` goes on from the last whole one"
    }
}
