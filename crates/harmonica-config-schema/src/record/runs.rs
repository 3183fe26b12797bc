//! Runs as they are found on disk: one in a few figures, two side by side, the best of many.
//!
//! Invariant: what a run did not record is absent, never zero.

use super::VerdictRecord;
use crate::{Fingerprint, Place, UtcTime};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;

/// Why a run stopped that did all of its updates.
pub const STOPPED_AT_MAX_UPDATES: &str = "the configured number of updates was reached";

/// What a run is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RunState {
    /// A process writes it.
    Running {
        /// The process.
        pid: u32,
        /// The machine it runs on.
        host: String,
    },
    /// It did all of its updates.
    Finished,
    /// It ended in order before that, or with an error.
    Stopped {
        /// Why, in words.
        reason: String,
    },
    /// Its process is gone and did not say why.
    Interrupted,
}

/// A validation in one figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationPoint {
    /// Updates done.
    pub update: u64,
    /// Mean cross-entropy over all codebooks, in nats a token.
    pub cross_entropy: f64,
}

/// The best validation of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BestValidation {
    /// Updates done.
    pub update: u64,
    /// Mean cross-entropy over all codebooks at that validation, in nats a token, whatever the run chose it by.
    pub cross_entropy: f64,
    /// What the run chose it by and the winning value; none where that was this cross-entropy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen_by: Option<String>,
    /// Its checkpoint, if it is there.
    pub checkpoint: Option<PathBuf>,
}

/// A run in a few figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Its directory.
    pub path: PathBuf,
    /// `ar` or `nar`.
    pub model: String,
    /// Experiment name.
    pub name: String,
    /// Trained parameters.
    pub n_parameters: usize,
    /// Updates done.
    pub updates: u64,
    /// Updates of the whole run.
    pub max_updates: Option<u64>,
    /// What it is doing.
    pub state: RunState,
    /// Last validation.
    pub last: Option<ValidationPoint>,
    /// Best validation.
    pub best: Option<BestValidation>,
    /// Verdict of the last validation.
    pub verdict: Option<VerdictRecord>,
    /// Fingerprint of the resolved configuration.
    pub config: Fingerprint,
    /// Fingerprint of the token cache.
    pub cache: Fingerprint,
    /// Fingerprint of the codec, from the newest checkpoint.
    pub codec: Option<Fingerprint>,
    /// Program version.
    pub program: String,
    /// Device in words.
    pub device: String,
    /// How many processes trained it.
    pub n_sittings: Option<usize>,
    /// Updates a second over the sittings that said when they ended, validations and checkpoints included.
    pub updates_per_s: Option<f64>,
    /// When it last wrote something.
    pub when: Option<UtcTime>,
    /// What of it cannot be read, and what to do.
    pub problems: Vec<String>,
}

impl RunSummary {
    /// A run of which nothing is known but where it is, what it trains, and from what.
    pub fn unread(path: PathBuf, model: String, config: Fingerprint, cache: Fingerprint) -> Self {
        Self {
            path,
            model,
            name: String::new(),
            n_parameters: 0,
            updates: 0,
            max_updates: None,
            state: RunState::Interrupted,
            last: None,
            best: None,
            verdict: None,
            config,
            cache,
            codec: None,
            program: String::new(),
            device: String::new(),
            n_sittings: None,
            updates_per_s: None,
            when: None,
            problems: Vec::new(),
        }
    }
}

/// A directory that cannot be read, or a run without a readable `run.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadableRun {
    /// The directory.
    pub path: PathBuf,
    /// What is wrong.
    pub reason: String,
}

/// A figure or a setting of two runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What it is.
    pub what: String,
    /// In the left run; absent if it is unknown.
    pub left: Option<String>,
    /// In the right run; absent if it is unknown.
    pub right: Option<String>,
}

/// A key of the configuration with another value in each run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfigDifference {
    /// Dotted key.
    pub key: String,
    /// In the left run.
    pub left: Value,
    /// In the right run.
    pub right: Value,
    /// Where the left run's value comes from, if it was recorded.
    pub left_place: Option<Place>,
    /// Where the right run's value comes from, if it was recorded.
    pub right_place: Option<Place>,
}

/// Cross-entropies of one codebook in two runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CodebookPair {
    /// Codebook, counted from 1.
    pub codebook: usize,
    /// In the left run, in nats a token.
    pub left: Option<f64>,
    /// In the right run, in nats a token.
    pub right: Option<f64>,
}

/// Two validations after the same number of updates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationPair {
    /// Updates done.
    pub update: u64,
    /// Mean cross-entropy of the left run, in nats a token.
    pub left: f64,
    /// Mean cross-entropy of the right run, in nats a token.
    pub right: f64,
    /// Verdict of the left run.
    pub left_verdict: String,
    /// Verdict of the right run.
    pub right_verdict: String,
    /// Each codebook that one of them writes.
    pub codebooks: Vec<CodebookPair>,
}

/// Two runs side by side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunComparison {
    /// Version of this record.
    pub format_version: u32,
    /// The left run.
    pub left: RunSummary,
    /// The right run.
    pub right: RunSummary,
    /// Why their cross-entropies must not be compared; empty if they may.
    pub incomparable: Vec<Difference>,
    /// Keys that differ; absent if a configuration cannot be read.
    pub config: Option<Vec<ConfigDifference>>,
    /// Validations after the same number of updates, ascending.
    pub validations: Vec<ValidationPair>,
    /// How far the training curves lie apart; absent if no update has a figure of both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<CurveDistance>,
    /// What differs between program, device and the environments of all sittings; what was not recorded has no value.
    pub environment: Vec<Difference>,
}

/// How far two training curves lie apart: the update at which cross-entropies differ most, as a share of the left one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CurveDistance {
    /// Updates that have a figure of both.
    pub n_updates: usize,
    /// Updates that have a figure of one run alone.
    pub n_unmatched: usize,
    /// Where they differ most.
    pub update: u64,
    /// Training cross-entropy of the left run there, in nats a token.
    pub left: f64,
    /// That of the right run.
    pub right: f64,
    /// The difference there, as a share of the left one.
    pub share: f64,
}

/// Runs whose cross-entropies may be compared, and the best of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunGroup {
    /// `ar` or `nar`.
    pub model: String,
    /// Fingerprint of the token cache.
    pub cache: Fingerprint,
    /// Fingerprint of the codec, if it is known.
    pub codec: Option<Fingerprint>,
    /// Runs of this group that were validated.
    pub n_runs: usize,
    /// The one with the lowest cross-entropy.
    pub best: RunSummary,
    /// Other runs with exactly the same lowest cross-entropy.
    pub ties: Vec<PathBuf>,
}
