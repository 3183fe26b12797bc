//! What can go wrong while judging.

use harmonica_config_schema::Fingerprint;
use harmonica_storage::{HubError, StorageError};
use std::path::PathBuf;

/// Why an evaluation stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// A file cannot be read.
    #[error("cannot read `{}`; check that the path exists", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Sound cannot be used.
    #[error(transparent)]
    Audio(#[from] harmonica_audio::AudioError),
    /// A line of a suite is malformed.
    #[error("`{}` line {line}: {reason}; expected path, tab, text or {{\"id\", \"text\", \"speaker\", \"audio\"}}", path.display())]
    Suite {
        /// The suite.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The file that says what suites were when they were fixed cannot be read.
    #[error(
        "`{}` does not hold the names of fixed suites and their fingerprints: {reason}; restore it from a copy, or remove it and fix the suites again",
        path.display()
    )]
    Fingerprints {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A suite, or a recording that it names, is not what it was when it was fixed.
    #[error(
        "`{}` changed since it was fixed: its fingerprint is {found}, not {wanted}; figures on it are not comparable with older ones. \
         Restore it, or make a new suite under another name",
        path.display()
    )]
    ChangedSuite {
        /// The suite, or its recording.
        path: PathBuf,
        /// What it was.
        wanted: Fingerprint,
        /// What it is.
        found: Fingerprint,
    },
    /// Other suites were fixed at a place, or other recordings lie there.
    #[error(
        "`{}` holds other suites or recordings under the same names ({}); what is there stays: write to another directory, or remove that one",
        path.display(),
        differing.join(", ")
    )]
    FixedSuites {
        /// The directory.
        path: PathBuf,
        /// Names of the suites and recordings that differ.
        differing: Vec<String>,
    },
    /// Two evaluations did not judge the same thing.
    #[error(
        "these evaluations cannot be compared: {}; evaluate both with the same suite, recognizer and program",
        differences.join("; ")
    )]
    Incomparable {
        /// What differs, each with both values.
        differences: Vec<String>,
    },
    /// An embedder of voices cannot be used.
    #[error("cannot use the embedder `{}`: {reason}; give weights of the shape that it names", path.display())]
    Embedder {
        /// Its weights.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A model's repository cannot be found.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// A model that recognizes speech cannot be used.
    #[error("cannot use the recognizer in `{}`: {reason}", path.display())]
    RecognizerModel {
        /// Its directory, or the file in it.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// An ONNX model cannot be used.
    #[error("cannot use the ONNX model `{}`: {reason}", path.display())]
    OnnxModel {
        /// Its file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The recognizer failed.
    #[error(
        "the recognizer `{command}` failed: {reason}; run it by hand on one file, or leave --recognizer out"
    )]
    Recognizer {
        /// The command.
        command: String,
        /// What it said.
        reason: String,
    },
}
