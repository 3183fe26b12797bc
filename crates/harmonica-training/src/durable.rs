//! Files that survive a crash: written, fsynced, renamed, and their directory fsynced.
//!
//! In: bytes and a path; out: a path that holds all of them, or what it held before. Invariant: after `Ok` neither the end of
//! the process nor, where the disk honours an fsync, a loss of power undoes it.
//!
//! On Linux and macOS a directory is fsynced through its handle (macOS by `F_FULLFSYNC`). Windows gives no such handle:
//! NTFS journals a rename, so that it is whole or has not happened, but a loss of power may undo the last one.

use crate::failpoint::reached;
use crate::scratch;
use std::fs::{File, OpenOptions};
use std::io::{Result, Write};
use std::path::Path;

/// Writes a file of a directory that nobody reads yet.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    reached("write", path);
    file.sync_all()?;
    reached("fsync", path);
    Ok(())
}

/// Makes durable what somebody else wrote.
pub(crate) fn sync_file(path: &Path) -> Result<()> {
    OpenOptions::new().append(true).open(path)?.sync_all()?;
    reached("fsync", path);
    Ok(())
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    #[cfg(unix)]
    File::open(path)?.sync_all()?;
    reached("fsync", path);
    Ok(())
}

/// Renames and makes the new name durable; `from` and `to` stand in one directory.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to)?;
    reached("rename", to);
    sync_directory(scratch::parent(to))
}

/// Replaces a file, or makes it: a reader finds the old content or the new one.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let beside = scratch::beside(path, "");
    let written = write(&beside, content).and_then(|()| rename(&beside, path));
    if written.is_err() {
        // The first error is the one that matters.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

/// Removes a directory: under its own name it is whole until it is gone.
pub(crate) fn remove_directory(path: &Path) -> Result<()> {
    let beside = scratch::beside(path, "removed-");
    rename(path, &beside)?;
    std::fs::remove_dir_all(&beside)?;
    reached("remove", path);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LATEST");
        replace(&path, b"step-00000001").unwrap();
        replace(&path, b"step-00000002").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"step-00000002");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_replaced_keeps_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LATEST");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("inside"), "kept").unwrap();
        assert!(replace(&path, b"step-00000001").is_err());
        assert_eq!(std::fs::read(path.join("inside")).unwrap(), b"kept");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
