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
    /// The decode settings are out of range.
    #[error("the decode settings are refused: {problems}")]
    DecodeSettings {
        /// Every problem, with what would be right.
        problems: String,
    },
    /// The voice is unknown.
    #[error("the bundle has no voice `{voice}`; it has: {}", known.join(", "))]
    UnknownVoice {
        /// As asked for.
        voice: String,
        /// Voices of the bundle.
        known: Vec<String>,
    },
    /// The models know voices by name alone.
    #[error(
        "this bundle knows its voices by name ({}) and cannot go on from a recording; choose one of them, or train both models with speaker = \"prompt\"",
        known.join(", ")
    )]
    VoicesByName {
        /// Voices of the bundle.
        known: Vec<String>,
    },
    /// The bundle has no voice, and none was given.
    #[error("the bundle `{}` has no voice of its own; give a recording (--reference), or enroll one (`harmonica enroll`)", path.display())]
    NoVoice {
        /// The bundle.
        path: PathBuf,
    },
    /// A recording cannot be a voice.
    #[error("the reference is refused: {reason}; give another recording of one speaker")]
    Reference {
        /// What is wrong with it.
        reason: String,
    },
    /// A voice cannot be enrolled under a name.
    #[error("the voice `{name}` cannot be enrolled: {reason}")]
    VoiceName {
        /// As asked for.
        name: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// A file stands where the replay manifest would go.
    #[error("`{}` exists and is no replay manifest ({reason}); move it away, choose another name for the wav, or write no manifest (--no-manifest)", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Why it is no replay manifest.
        reason: String,
    },
    /// The speech is there, its replay manifest is not.
    #[error("`{}` is written, but its replay manifest `{}` is not; check the directory and speak again, or write no manifest (--no-manifest)", wav.display(), path.display())]
    Unrecorded {
        /// The speech.
        wav: PathBuf,
        /// The manifest.
        path: PathBuf,
        /// Why not.
        #[source]
        source: StorageError,
    },
    /// A replay manifest cannot be used.
    #[error("cannot replay `{}`: {reason}", path.display())]
    Replay {
        /// The manifest.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The bundle that spoke is gone.
    #[error("the bundle that spoke is no longer at `{}`; name its new place with --model", path.display())]
    BundleMoved {
        /// Where it was.
        path: PathBuf,
    },
    /// The bundle is not the one that spoke.
    #[error(
        "the bundle `{path}` has the fingerprint {found}, but `{recorded_path}`, which spoke, had {recorded}; name the bundle that spoke with --model"
    )]
    OtherBundle {
        /// The bundle that was opened.
        path: String,
        /// Hash of its manifest.
        found: String,
        /// The bundle that spoke.
        recorded_path: String,
        /// Hash of its manifest.
        recorded: String,
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
        matches!(self, Self::Model(ModelError::ContractViolated { .. }) | Self::OtherBundle { .. })
    }
}
