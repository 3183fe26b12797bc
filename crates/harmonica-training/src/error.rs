//! What can go wrong while training.

use harmonica_model_core::ModelError;
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
    /// A file of the run cannot be written.
    #[error("cannot write `{}`; check that the directory is writable and the disk is not full", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: std::io::Error,
    },
    /// A checkpoint cannot be used.
    #[error("the checkpoint `{}` is unusable: {reason}; resume from an earlier one", path.display())]
    Checkpoint {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong.
        reason: String,
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
