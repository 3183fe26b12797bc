//! What can go wrong with sound.

use harmonica_storage::StorageError;
use std::path::PathBuf;

/// Why audio was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// The file cannot be opened.
    #[error("cannot read audio `{}`; check the path and its permissions", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: std::io::Error,
    },
    /// The format is not one that can be decoded.
    #[error("cannot decode `{name}`: {reason}; convert it to WAV or FLAC first")]
    Unsupported {
        /// File or stream.
        name: String,
        /// What the decoder said.
        reason: String,
    },
    /// The file is damaged.
    #[error("`{name}` is damaged: {reason}; replace the file or drop it from the corpus")]
    Damaged {
        /// File or stream.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is too long to be an utterance.
    #[error("`{name}` is longer than {max_s:.0} s; cut it into utterances first")]
    TooLong {
        /// File or stream.
        name: String,
        /// The longest that is read.
        max_s: f64,
    },
    /// The file is too large to be an utterance.
    #[error("`{}` has {bytes} bytes, at most {max_bytes} are read; cut it into utterances first", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The largest that is read.
        max_bytes: u64,
    },
    /// A rate cannot be converted.
    #[error(
        "cannot resample from {from_hz} Hz to {to_hz} Hz: {reason}; convert the file to {to_hz} Hz first"
    )]
    Resample {
        /// Rate of the input.
        from_hz: u32,
        /// Rate asked for.
        to_hz: u32,
        /// What the resampler said.
        reason: String,
    },
    /// The waveform does not fit a WAV file.
    #[error("a waveform of {duration_s:.0} s does not fit a WAV file; cut it into parts")]
    Encode {
        /// Its length.
        duration_s: f64,
        /// What the encoder said.
        #[source]
        source: hound::Error,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
