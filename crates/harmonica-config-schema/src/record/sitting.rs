//! `environment.json` and `provenance.json`: under what circumstances a run was made, and where its settings come from.
//!
//! A run is made in sittings: one process, from its start to its end. Invariant: nothing of this enters a fingerprint, and
//! what could not be learned is absent.

use crate::{Place, UtcTime};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Why a sitting ended whose process did not live to say so.
pub const ENDED_UNKNOWN: &str = "unknown (killed or crashed)";

/// `environment.json`: every sitting of a run, the first one first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnvironmentRecord {
    /// Version of this record.
    pub format_version: u32,
    /// The sittings.
    pub sittings: Vec<Sitting>,
}

/// One process that trained a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sitting {
    /// When it began.
    pub started: UtcTime,
    /// When it ended; absent while it runs, and if it was killed.
    pub ended: Option<UtcTime>,
    /// Updates done when it began.
    pub from_update: u64,
    /// Updates done when it ended; if it was killed or failed, as many as its metrics and checkpoints tell of.
    pub to_update: Option<u64>,
    /// Seconds from its start to its end, by a clock that is never set; absent while it runs, and if it was killed.
    pub duration_s: Option<f64>,
    /// Why it ended, in words; empty while it runs.
    pub ended_because: String,
    /// Where it ran.
    pub environment: Environment,
}

/// A process and its machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Name of the machine.
    pub host: Option<String>,
    /// Operating system.
    pub os: String,
    /// Architecture of the processor.
    pub architecture: String,
    /// Name of the processor.
    pub cpu: Option<String>,
    /// Processors that the process may use.
    pub n_cpus: Option<usize>,
    /// Threads of the process's pool.
    pub n_threads: usize,
    /// Vector instructions that the processor has, of those that kernels choose between while they run.
    pub simd: Vec<String>,
    /// Device as it was opened.
    pub device: String,
    /// The device as the tensor library names it.
    pub backend: String,
    /// Program version.
    pub program: String,
    /// Commit of the program.
    pub commit: Option<Commit>,
    /// The command line.
    pub command: Vec<String>,
    /// Where it was given: what relative paths of it and of `provenance.json` begin at.
    pub directory: Option<PathBuf>,
    /// Process identifier.
    pub pid: u32,
}

/// A commit, and how it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Its hash.
    pub id: String,
    /// Who said so.
    pub source: CommitSource,
    /// Whether tracked files differed from it; absent where nobody could say.
    pub modified: Option<bool>,
}

/// How a commit is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommitSource {
    /// The build was told.
    Build,
    /// The working directory stood at it when the process began; the program may be older.
    WorkingDirectory,
}

/// `provenance.json`: where each key of `config.toml` was set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProvenanceRecord {
    /// Version of this record.
    pub format_version: u32,
    /// Place of each dotted key.
    pub keys: BTreeMap<String, Place>,
}
