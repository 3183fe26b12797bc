//! What an evaluation listens to and who judges it.

use crate::error::Checks;
use serde::{Deserialize, Serialize};

/// Settings of `harmonica-lab evaluate`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationConfig {
    /// Recognizer command: with `{wav}` it gets one file and prints its words, with `{list}` a text file of paths and
    /// prints a line for each. Empty measures no word error rate. Default empty.
    pub recognizer: String,
    /// Most sentences judged; 0 judges all. Default 0.
    pub max_sentences: usize,
    /// Resamplings of the bootstrap intervals. Default 1000.
    pub bootstrap_samples: usize,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self { recognizer: String::new(), max_sentences: 0, bootstrap_samples: 1000 }
    }
}

impl EvaluationConfig {
    pub(crate) fn check(&self, checks: &mut Checks) {
        checks.require(
            self.recognizer.is_empty()
                || self.recognizer.contains("{wav}")
                || self.recognizer.contains("{list}"),
            "evaluation.recognizer".into(),
            format!("{:?}", self.recognizer),
            "empty or a command with {wav} or {list} in it",
        );
        checks.range("evaluation.bootstrap_samples".into(), self.bootstrap_samples, 10, 100_000, "samples");
    }
}
