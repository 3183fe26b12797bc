//! What is concluded from evaluations: similarity to speakers, criteria, and the gate against a baseline.
//!
//! Invariant: what was not measured is absent, never zero.

use super::Interval;
use crate::Fingerprint;
use serde::{Deserialize, Serialize};

/// How near the utterances of an evaluation are to the voices of its suite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SimilarityRecord {
    /// What made vectors of voices, such as `spectral-statistics-v1`.
    pub embedder: String,
    /// The voices with recordings to compare with.
    pub voices: Vec<VoiceReferences>,
    /// Systems with at least one utterance that could be compared.
    pub systems: Vec<SystemSimilarity>,
}

/// Recordings of a voice in a suite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VoiceReferences {
    /// The speaker.
    pub speaker: String,
    /// How many recordings there are.
    pub n_recordings: usize,
}

/// Similarity of a system's utterances to voices; cosines between -1 and 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SystemSimilarity {
    /// Name of the system.
    pub system: String,
    /// Mean similarity to the voice that was asked for.
    pub target: f64,
    /// Mean of: similarity to the voice asked for, minus that to the best other voice. Bootstrap over utterances.
    pub margin: Interval,
    /// Share of utterances that are nearer to the voice asked for than to any other.
    pub nearest_share: f64,
    /// Every utterance that could be compared.
    pub utterances: Vec<UtteranceSimilarity>,
}

/// Similarity of an utterance to voices; cosines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UtteranceSimilarity {
    /// Identifier in the suite.
    pub id: String,
    /// The voice asked for.
    pub speaker: String,
    /// Similarity to it, by its other recordings than the one of this sentence.
    pub target: f64,
    /// The nearest other voice.
    pub best_other: String,
    /// Similarity to that.
    pub other: f64,
}

impl UtteranceSimilarity {
    /// How much nearer the utterance is to the voice asked for; negative where another voice is nearer.
    pub fn margin(&self) -> f64 {
        self.target - self.other
    }
}

/// What became of a criterion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CriterionState {
    /// It was measured and is met.
    Pass,
    /// It was measured and is not met.
    Fail,
    /// There is no figure.
    NotMeasured,
}

impl CriterionState {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "FAIL",
            Self::NotMeasured => "not measured",
        }
    }
}

/// A criterion of success with what was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CriterionRecord {
    /// What is asked.
    pub criterion: String,
    /// Whether it is met.
    pub state: CriterionState,
    /// What was measured, or why nothing was.
    pub figure: String,
    /// What it is held against.
    pub threshold: String,
}

/// `gate.json`: an evaluation against a baseline, utterance by utterance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateRecord {
    /// Version of this record.
    pub format_version: u32,
    /// Name of the suite.
    pub suite: String,
    /// Fingerprint of its sentences, equal in both.
    pub suite_fingerprint: Fingerprint,
    /// Recognizer, equal in both; empty if none was asked.
    pub recognizer: String,
    /// Whether nothing got worse.
    pub passed: bool,
    /// Why it did not pass, in words with figures.
    pub regressions: Vec<String>,
    /// Confidence of each interval of a difference: all of them together hold with 95 %.
    pub confidence: f64,
    /// The systems that both evaluations hold.
    pub systems: Vec<SystemGate>,
    /// What only one of them holds or measured, or too few utterances for an interval.
    pub not_compared: Vec<String>,
}

/// A system against its baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SystemGate {
    /// Name of the system.
    pub system: String,
    /// What was compared.
    pub comparisons: Vec<GateComparison>,
    /// Utterances with failures that they did not have in the baseline.
    pub new_failures: Vec<NewFailure>,
    /// Utterances with a worse figure than in the baseline, the worst first.
    pub worse: Vec<WorseUtterance>,
}

/// A figure of a system against its baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateComparison {
    /// What was measured.
    pub measure: String,
    /// Utterances that have it in both.
    pub n_pairs: usize,
    /// The baseline's figure over these utterances.
    pub baseline: f64,
    /// The new figure over these utterances.
    pub new: f64,
    /// By how much it got worse, over pairs; negative is better.
    pub worse_by: f64,
    /// Lower end of the interval of `worse_by`.
    pub low: f64,
    /// Upper end of the interval of `worse_by`.
    pub high: f64,
    /// `low` from which on this is a regression.
    pub minimal_effect: f64,
    /// Whether it is one.
    pub regression: bool,
}

/// An utterance that fails where it did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewFailure {
    /// Identifier in the suite.
    pub id: String,
    /// Failures in the baseline.
    pub baseline: Vec<String>,
    /// Failures now.
    pub new: Vec<String>,
}

/// An utterance that got worse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorseUtterance {
    /// Identifier in the suite.
    pub id: String,
    /// What got worse.
    pub measure: String,
    /// Its figure in the baseline; word errors are counts.
    pub baseline: f64,
    /// Its figure now.
    pub new: f64,
    /// What it should say.
    pub text: String,
    /// What was heard in the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_baseline: Option<String>,
    /// What is heard now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_new: Option<String>,
}
