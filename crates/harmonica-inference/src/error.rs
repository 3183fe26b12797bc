//! What can go wrong while speaking.

use harmonica_audio::AudioError;
use harmonica_codec::CodecError;
use harmonica_model_core::ModelError;
use harmonica_runtime::RuntimeError;
use harmonica_storage::StorageError;
use harmonica_text::TextError;
use std::path::PathBuf;

/// Why there is no speech.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InferenceError {
    /// The bundle cannot be read.
    #[error("cannot open the bundle `{}`: {reason}; make one with `harmonica-lab bundle`", path.display())]
    Bundle {
        /// The bundle or the file in it.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The voice is unknown.
    #[error("the bundle has no voice `{voice}`; it has: {}", known.join(", "))]
    UnknownVoice {
        /// As asked for.
        voice: String,
        /// Voices of the bundle.
        known: Vec<String>,
    },
    /// The text cannot be spoken.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The models refused.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The codec refused.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// Audio could not be read or written.
    #[error(transparent)]
    Audio(#[from] AudioError),
    /// The device could not be opened.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

impl InferenceError {
    /// Whether parts were refused because they do not belong together.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Model(ModelError::ContractViolated { .. }))
    }
}
