//! Every library's error with the exit code that it means.

use harmonica_codec::CodecError;
use harmonica_config_schema::{ConfigError, Problem};
use harmonica_console::with_causes;
use harmonica_data::DataError;
use harmonica_eval::EvalError;
use harmonica_inference::InferenceError;
use harmonica_model_core::ModelError;
use harmonica_runtime::RuntimeError;
use harmonica_training::TrainingError;
use std::error::Error;

/// A command that did not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What went wrong and what to do, with its causes.
    pub(crate) message: String,
    /// 1 for a refusal, 2 for an error, 130 for an interruption.
    pub(crate) code: u8,
    /// What is wrong with the configuration, for programs.
    pub(crate) problems: Vec<Problem>,
    /// The result that was found wanting, for programs; its keys stand beside the message.
    pub(crate) result: serde_json::Map<String, serde_json::Value>,
}

impl Failure {
    /// An error of the command line itself.
    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2, problems: Vec::new(), result: serde_json::Map::new() }
    }

    /// The same, said of one of several things.
    pub(crate) fn of(self, what: &str) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    fn from_error(error: &dyn Error, refused: bool) -> Self {
        Self { code: if refused { 1 } else { 2 }, ..Self::error(with_causes(error)) }
    }
}

macro_rules! from_errors {
    ($($error:ty => $refused:expr),+ $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                let refused: fn(&$error) -> bool = $refused;
                Self::from_error(&error, refused(&error))
            }
        })+
    };
}

impl From<ConfigError> for Failure {
    /// The problems begin on a line of their own, so that an editor finds each `path:line:column`.
    fn from(error: ConfigError) -> Self {
        let message = format!("the configuration cannot be used\n{error}");
        Self { problems: error.problems, ..Self::error(message) }
    }
}

from_errors! {
    CodecError => |_| false,
    EvalError => |e| matches!(
        e,
        EvalError::Incomparable { .. } | EvalError::ChangedSuite { .. } | EvalError::FixedSuites { .. }
    ),
    RuntimeError => |_| false,
    DataError => |e| matches!(e, DataError::StaleCache { .. }),
    ModelError => |e| matches!(e, ModelError::ContractViolated { .. }),
    InferenceError => InferenceError::is_refusal,
    TrainingError => |e| matches!(
        e,
        TrainingError::OtherConfig { .. } | TrainingError::Model(ModelError::ContractViolated { .. })
    ),
    harmonica_audio::AudioError => |_| false,
    harmonica_storage::StorageError => |_| false,
    harmonica_text::TextError => |_| false,
}
