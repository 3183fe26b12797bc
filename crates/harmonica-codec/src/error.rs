//! What can go wrong with a codec.

use harmonica_audio::AudioError;
use harmonica_storage::{HubError, StorageError};
use std::path::PathBuf;

/// Why a codec refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// Its files cannot be read.
    #[error("cannot read the codec at `{}`: {reason}; fit one with `harmonica-lab codec fit`", path.display())]
    Read {
        /// Directory or file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The files of an EnCodec model cannot be used.
    #[error(
        "cannot use the EnCodec model at `{}`: {reason}; give a directory with `config.json` and `model.safetensors` of a mono model \
         such as facebook/encodec_24khz", path.display()
    )]
    EnCodecModel {
        /// Directory.
        path: PathBuf,
        /// What is wrong, naming the key or the tensor.
        reason: String,
    },
    /// The codec is of another kind than asked for.
    #[error("the codec at `{}` is of kind `{found}`, not `{asked}`; set codec.kind or codec.dir", path.display())]
    Kind {
        /// Directory.
        path: PathBuf,
        /// Kind of the codec that stands there.
        found: String,
        /// Kind asked for.
        asked: String,
    },
    /// The files of a repository are not there.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// Its files cannot be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// There is too little audio to fit it.
    #[error(
        "fitting needs at least {needed} codec frames but the corpus has {found}; add audio or lower codec.mel_rvq.codebook_size"
    )]
    TooLittleAudio {
        /// Frames needed.
        needed: usize,
        /// Frames found.
        found: usize,
    },
    /// The audio holds values that are not finite, so no map can be fitted on it.
    #[error(
        "fitting met samples that are not finite numbers; find the recordings with `harmonica-lab data check`"
    )]
    NotNumbers,
    /// Tokens do not belong to this codec.
    #[error("these tokens do not fit the codec: {reason}; encode the audio with this codec")]
    Tokens {
        /// What does not fit.
        reason: String,
    },
    /// The waveform cannot be brought to the codec's rate.
    #[error(transparent)]
    Audio(#[from] AudioError),
}
