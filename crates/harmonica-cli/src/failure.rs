//! A command that did not succeed: its message, its exit code, and what programs get to know of it.

use harmonica_console::with_causes;
use harmonica_inference::InferenceError;
use serde_json::{Map, Value};

/// A command that did not succeed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// What went wrong and what to do, with its causes.
    pub(crate) message: String,
    /// 1 for a refusal, 2 for an error.
    pub(crate) code: u8,
    /// What was done or found all the same, for programs; its keys stand beside the message.
    pub(crate) result: Map<String, Value>,
}

impl Failure {
    /// An error.
    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2, result: Map::new() }
    }

    /// The object that programs get.
    pub(crate) fn to_json(&self) -> Value {
        let mut value = serde_json::json!({ "error": self.message, "exit_code": self.code });
        for (key, part) in &self.result {
            value[key] = part.clone();
        }
        value
    }
}

impl From<InferenceError> for Failure {
    fn from(error: InferenceError) -> Self {
        Self { code: if error.is_refusal() { 1 } else { 2 }, ..Self::error(with_causes(&error)) }
    }
}
