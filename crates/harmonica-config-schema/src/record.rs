//! What one crate writes and another reads: lines of `metrics.jsonl`, `best.json`, `eval.json`, run manifests, the sittings
//! of a run, and runs as they are found on disk.
//!
//! Invariant: a reader of this version reads every record that this version wrote; `format_version` names it.

use crate::{BestRule, DecodeConfig, Fingerprint};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

mod health;
mod judgement;
mod runs;
mod sitting;

pub use health::{
    AlertRecord, AttentionMetrics, AttentionOf, CodebookMetrics, ConditionUse, FreeRunningMetrics,
    ModuleMetrics, ProbeRecord, RawValidation, TrainMetrics, UseFlag, ValidationMetrics, VerdictRecord,
};
pub use judgement::{
    CriterionRecord, CriterionState, GateComparison, GateRecord, NewFailure, SimilarityRecord, SystemGate,
    SystemSimilarity, UtteranceSimilarity, VoiceReferences, WorseUtterance,
};
pub use runs::{
    BestValidation, CodebookPair, ConfigDifference, CurveDistance, Difference, RunComparison, RunGroup,
    RunState, RunSummary, STOPPED_AT_MAX_UPDATES, UnreadableRun, ValidationPair, ValidationPoint,
};
pub use sitting::{
    Commit, CommitSource, ENDED_UNKNOWN, Environment, EnvironmentRecord, ProvenanceRecord, Sitting,
};

/// Version of every record below.
pub const FORMAT_VERSION: u32 = 1;

/// One line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(
    clippy::large_enum_variant,
    reason = "a run has some thousand lines; a box would stand in every reader"
)]
pub enum MetricsLine {
    /// Mean over the updates since the last training line.
    Train(TrainMetrics),
    /// A validation on fixed batches, without noise and regularizers.
    Validation(ValidationMetrics),
    /// Something that a reader of the curve should know.
    Event(RunEvent),
}

impl MetricsLine {
    /// The validation that this line is.
    pub fn validation(&self) -> Option<&ValidationMetrics> {
        match self {
            Self::Validation(validation) => Some(validation),
            _ => None,
        }
    }

    /// Updates done when it was written.
    pub fn update(&self) -> u64 {
        match self {
            Self::Train(metrics) => metrics.update,
            Self::Validation(metrics) => metrics.update,
            Self::Event(event) => event.update,
        }
    }
}

/// An event in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunEvent {
    /// Updates done.
    pub update: u64,
    /// What happened.
    pub message: String,
}

/// `best.json`: which checkpoint won and by what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BestRecord {
    /// Version of this record.
    pub format_version: u32,
    /// Updates done when it was kept.
    pub update: u64,
    /// Directory name of the checkpoint.
    pub checkpoint: String,
    /// What was compared, such as `lowest validation cross-entropy of the averaged weights`.
    pub criterion: String,
    /// The rule, so that the choice can be made again from `metrics.jsonl`.
    #[serde(default)]
    pub rule: BestRule,
    /// The winning value.
    pub value: f64,
}

/// `run.json`: what a run was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunManifest {
    /// Version of this record.
    pub format_version: u32,
    /// Experiment name.
    pub name: String,
    /// `ar` or `nar`.
    pub model: String,
    /// Trained parameters.
    pub n_parameters: usize,
    /// Fingerprint of the resolved configuration.
    pub config: Fingerprint,
    /// Fingerprint of the token cache.
    pub cache: Fingerprint,
    /// Keys in which the cache differs from what the configuration asks for, where that was allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cache_mismatch: Vec<String>,
    /// Program version.
    pub program: String,
    /// Device in words.
    pub device: String,
    /// Why the run stopped; empty while it runs.
    pub stopped: String,
}

/// One judged waveform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgedUtterance {
    /// Identifier in the suite.
    pub id: String,
    /// Path relative to the report.
    pub path: String,
    /// Reference text.
    pub text: String,
    /// Speaker.
    pub speaker: String,
    /// What the recognizer heard, if one was asked.
    pub heard: Option<String>,
    /// Word errors: substitutions, deletions, insertions.
    pub word_errors: Option<[usize; 3]>,
    /// Words of the reference.
    pub n_words: usize,
    /// Length in seconds.
    pub duration_s: f64,
    /// Detected failures.
    pub failures: Vec<String>,
    /// What was measured of each detected failure, and where.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failure_findings: Vec<FailureFinding>,
    /// Character errors without spaces: substitutions, deletions, insertions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub character_errors: Option<[usize; 3]>,
    /// Pitch, rate and pauses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prosody: Option<Prosody>,
    /// Predicted opinion scores by the name of their predictor.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mos: BTreeMap<String, f64>,
    /// Mean distance of log-mel frames to the natural recording, where there is one of the same length.
    pub mel_distance: Option<f64>,
}

/// One measurement that shows a failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailureFinding {
    /// `silence`, `clipping`, `looping`, `noise`, `babble` or `truncation`.
    pub failure: String,
    /// What was measured, in words.
    pub measure: String,
    /// Its value.
    pub value: f64,
    /// The value at which it becomes a failure.
    pub threshold: f64,
    /// Unit of value and threshold, such as `s`, `dB` or `share`.
    pub unit: String,
    /// Where it begins, in seconds; absent if it is a property of the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_s: Option<f64>,
    /// Where it ends, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_s: Option<f64>,
}

/// How something is said. Of a system: means over the utterances that have the figure.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Prosody {
    /// Median fundamental frequency, in Hz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub f0_median_hz: Option<f64>,
    /// Standard deviation of the fundamental frequency, in semitones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub f0_spread_semitones: Option<f64>,
    /// Share of the active time that is voiced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voiced_ratio: Option<f64>,
    /// Time above the floor of silence, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_s: Option<f64>,
    /// Characters of the normalized text, without spaces and punctuation, a second of active time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub characters_per_s: Option<f64>,
    /// Silences of at least 0.15 s between the first and the last sound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_pauses: Option<f64>,
    /// Their length together, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pauses_s: Option<f64>,
    /// Root mean square difference of the fundamental frequency to the natural recording's, in cents, over frames that are
    /// voiced in both after alignment by dynamic time warping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub f0_error_cents: Option<f64>,
}

/// A share with its bootstrap interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Point estimate.
    pub value: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
}

/// Everything judged of one system (source, codec, generated...).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SystemEvaluation {
    /// Name of the system.
    pub system: String,
    /// Word error rate over the corpus (all edits over all words).
    pub word_error_rate: Option<Interval>,
    /// Mean of the utterances' word error rates.
    pub word_error_rate_utterance_mean: Option<f64>,
    /// Character error rate without spaces, over the corpus.
    pub character_error_rate: Option<f64>,
    /// Word edits over the corpus: substitutions, deletions, insertions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word_errors: Option<[usize; 3]>,
    /// Name of what was done to both texts before words were compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_normalizer: Option<String>,
    /// Word error rate against other sentences' texts: chance.
    pub chance_word_error_rate: Option<f64>,
    /// Share of sentences without an error.
    pub exact_share: Option<f64>,
    /// Mean log-mel distance to the natural recordings.
    pub mel_distance: Option<f64>,
    /// Means of pitch, rate and pauses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prosody: Option<Prosody>,
    /// Means of predicted opinion scores by the name of their predictor, with bootstrap intervals over utterances.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mos: BTreeMap<String, Interval>,
    /// How many utterances showed each failure.
    pub failures: BTreeMap<String, usize>,
    /// Every judged utterance.
    pub utterances: Vec<JudgedUtterance>,
}

/// `eval.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// Version of this record.
    pub format_version: u32,
    /// Name of the suite.
    pub suite: String,
    /// Fingerprint of its sentences.
    pub suite_fingerprint: Fingerprint,
    /// Recognizer command, empty if none was asked.
    pub recognizer: String,
    /// Text normalizer applied before words are compared.
    pub text_normalizer: String,
    /// Fingerprint of the configuration.
    pub config: Fingerprint,
    /// How the generated systems were drawn; what the codec hears of codebooks 2..Q is in the system's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode: Option<DecodeConfig>,
    /// Predictors of opinion scores, by name: what each one is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mos_models: BTreeMap<String, String>,
    /// Held-out figures of the AR and NAR codebooks.
    pub codebooks: Vec<CodebookMetrics>,
    /// All systems, side by side.
    pub systems: Vec<SystemEvaluation>,
    /// Similarity to the voices of the suite, if it has recordings of two voices or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub similarity: Option<SimilarityRecord>,
    /// Criteria of success, if they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub criteria: Option<Vec<CriterionRecord>>,
}
