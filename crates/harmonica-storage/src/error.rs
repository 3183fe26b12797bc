//! What can go wrong while writing.

use std::fmt::Display;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

/// Why nothing was written; what stood there before still does.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// A path cannot be written to.
    #[error("cannot write `{}`; {}", path.display(), remedy(source))]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: Error,
    },
    /// A record cannot be spelled.
    #[error("the content of `{}` cannot be encoded: {reason}; this is a fault of the program, please report it", path.display())]
    Encode {
        /// The file that it was for.
        path: PathBuf,
        /// What the encoder said.
        reason: String,
    },
    /// There is less room than will be needed.
    #[error(
        "cannot write `{}`: {needed_bytes} bytes are needed and {free_bytes} are free; make room, or choose another disk",
        path.display()
    )]
    NoSpace {
        /// What was to be written.
        path: PathBuf,
        /// How much it takes.
        needed_bytes: u64,
        /// How much there is.
        free_bytes: u64,
    },
    /// A directory of something else is in the way.
    #[error("`{}` holds files that are no {kind}; choose another directory, or empty this one", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// What was to be written there.
        kind: &'static str,
    },
}

impl StorageError {
    /// A record for `path` that cannot be spelled.
    pub fn encode(path: &Path, reason: impl Display) -> Self {
        Self::Encode { path: path.to_owned(), reason: reason.to_string() }
    }

    pub(crate) fn write(path: &Path, source: Error) -> Self {
        Self::Write { path: path.to_owned(), source }
    }
}

fn remedy(source: &Error) -> &'static str {
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "make room on the disk and run the command again; what was there before is untouched"
        }
        ErrorKind::ReadOnlyFilesystem => "the disk is mounted read-only; choose a directory on another one",
        ErrorKind::PermissionDenied => "take the right to write there, or choose another directory",
        ErrorKind::NotFound => "make its directory first",
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists | ErrorKind::IsADirectory => {
            "something of another kind is in its way; choose another path"
        }
        _ => "check that its directory is writable and the disk is sound",
    }
}
