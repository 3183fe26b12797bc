//! Files that survive a crash: written, fsynced, renamed, and their directory fsynced.
//!
//! In: bytes and a path; out: a path that holds all of them, or what it held before. Invariant: after `Ok` neither the end of
//! the process nor, where the disk honours an fsync, a loss of power undoes it ([`publish`] alone does not wait for the disk).
//!
//! On Linux and macOS a directory is fsynced through its handle (macOS by `F_FULLFSYNC`). Windows gives no such handle:
//! NTFS journals a rename, so that it is whole or has not happened, but a loss of power may undo the last one.

use crate::failpoint::{before, done};
use crate::manifest::FileDigest;
use crate::{StorageError, scratch};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Result, Write};
use std::path::{Path, PathBuf};

/// Replaces a file, or makes it, so that it survives a loss of power.
///
/// # Errors
/// A path that cannot be written to; the file is then as it was.
pub fn replace(path: &Path, content: &[u8]) -> std::result::Result<(), StorageError> {
    put(path, content, true).map_err(|source| StorageError::write(path, source))
}

/// Replaces a file, or makes it, for readers: they find the old content or the new one, but a loss of power may undo it.
/// For what can be made again, such as waveforms.
///
/// # Errors
/// A path that cannot be written to; the file is then as it was.
pub fn publish(path: &Path, content: &[u8]) -> std::result::Result<(), StorageError> {
    put(path, content, false).map_err(|source| StorageError::write(path, source))
}

/// As [`publish`], of content that is read as it is written.
///
/// # Errors
/// Content that cannot be read, or a path that cannot be written to; the file is then as it was.
pub fn publish_from(path: &Path, content: &mut impl Read) -> std::result::Result<(), StorageError> {
    let beside = scratch::beside(path, "");
    let published = Pieces::create(&beside)
        .and_then(|mut pieces| {
            std::io::copy(content, &mut pieces)?;
            pieces.finish(false)
        })
        .and_then(|_| rename_only(&beside, path));
    published.map_err(|source| {
        // The first error is the one that matters.
        let _ = std::fs::remove_file(&beside);
        StorageError::write(path, source)
    })
}

/// Appends to a file, or makes it. After a crash the last bytes may be missing or incomplete.
///
/// # Errors
/// A path that cannot be written to.
pub fn append(path: &Path, content: &[u8]) -> std::result::Result<(), StorageError> {
    let append = || -> Result<()> {
        before("append", path)?;
        OpenOptions::new().create(true).append(true).open(path)?.write_all(content)?;
        done("append", path);
        Ok(())
    };
    append().map_err(|source| StorageError::write(path, source))
}

/// Makes durable what was appended to a file.
///
/// # Errors
/// A file that is missing or cannot be written to.
pub fn sync(path: &Path) -> std::result::Result<(), StorageError> {
    sync_file(path).map_err(|source| StorageError::write(path, source))
}

/// Makes a directory and those above it, where they are missing.
///
/// # Errors
/// A path that cannot be made.
pub fn make_directory(path: &Path) -> std::result::Result<(), StorageError> {
    let make = || -> Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        before("make", path)?;
        std::fs::create_dir_all(path)
    };
    make().map_err(|source| StorageError::write(path, source))
}

/// Removes a directory: under its own name it is whole until it is gone.
///
/// # Errors
/// A directory that is missing or cannot be removed.
pub fn remove_directory(path: &Path) -> std::result::Result<(), StorageError> {
    let remove = || -> Result<()> {
        let beside = scratch::beside(path, "removed-");
        rename(path, &beside)?;
        remove_tree(&beside)
    };
    remove().map_err(|source| StorageError::write(path, source))
}

/// Removes a file, if it is there.
///
/// # Errors
/// A file that cannot be removed.
pub fn remove_file(path: &Path) -> std::result::Result<(), StorageError> {
    match before("remove", path).and_then(|()| std::fs::remove_file(path)) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(StorageError::write(path, source)),
        _ => Ok(()),
    }
}

fn put(path: &Path, content: &[u8], durable: bool) -> Result<()> {
    let beside = scratch::beside(path, "");
    let written = write(&beside, content, durable)
        .and_then(|()| if durable { rename(&beside, path) } else { rename_only(&beside, path) });
    if written.is_err() {
        // The first error is the one that matters.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

/// Writes a file that nobody reads yet.
pub(crate) fn write(path: &Path, content: &[u8], durable: bool) -> Result<()> {
    let mut file = File::create(path)?;
    write_piece(&mut file, path, content)?;
    if durable { sync_written(&file, path) } else { Ok(()) }
}

fn write_piece(file: &mut File, path: &Path, content: &[u8]) -> Result<()> {
    if let Err(full) = before("write", path) {
        // As a disk that fills up on the way.
        file.write_all(&content[..content.len() / 2])?;
        return Err(full);
    }
    file.write_all(content)?;
    done("write", path);
    Ok(())
}

fn sync_written(file: &File, path: &Path) -> Result<()> {
    before("fsync", path)?;
    file.sync_all()?;
    done("fsync", path);
    Ok(())
}

/// A file that nobody reads yet, written piece by piece and hashed on the way.
#[derive(Debug)]
pub(crate) struct Pieces {
    path: PathBuf,
    file: File,
    /// What is not yet written.
    rest: Vec<u8>,
    hasher: blake3::Hasher,
}

impl Pieces {
    const BYTES: usize = 1 << 16;

    pub(crate) fn create(path: &Path) -> Result<Self> {
        let rest = Vec::with_capacity(Self::BYTES);
        Ok(Self { path: path.to_owned(), file: File::create(path)?, rest, hasher: blake3::Hasher::new() })
    }

    /// Writes what is left, and tells what the file is now.
    pub(crate) fn finish(mut self, durable: bool) -> Result<FileDigest> {
        self.write_rest()?;
        if durable {
            sync_written(&self.file, &self.path)?;
        }
        Ok(FileDigest::of_hashed(&self.hasher))
    }

    fn write_rest(&mut self) -> Result<()> {
        write_piece(&mut self.file, &self.path, &self.rest)?;
        self.hasher.update(&self.rest);
        self.rest.clear();
        Ok(())
    }
}

impl Write for Pieces {
    fn write(&mut self, content: &[u8]) -> Result<usize> {
        let n = content.len().min(Self::BYTES - self.rest.len());
        self.rest.extend(&content[..n]);
        if self.rest.len() == Self::BYTES {
            self.write_rest()?;
        }
        Ok(n)
    }

    /// Nothing: a file that nobody reads yet is written when enough of it is there.
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Gives a durable file a second name; a copy where the file system knows one name a file only.
pub(crate) fn link(from: &Path, to: &Path) -> Result<()> {
    before("link", to)?;
    if std::fs::hard_link(from, to).is_err() {
        std::fs::copy(from, to)?;
        File::open(to)?.sync_all()?;
    }
    done("link", to);
    Ok(())
}

/// Makes durable what somebody else wrote.
pub(crate) fn sync_file(path: &Path) -> Result<()> {
    before("fsync", path)?;
    OpenOptions::new().append(true).open(path)?.sync_all()?;
    done("fsync", path);
    Ok(())
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    before("fsync", path)?;
    #[cfg(unix)]
    File::open(path)?.sync_all()?;
    done("fsync", path);
    Ok(())
}

fn rename_only(from: &Path, to: &Path) -> Result<()> {
    before("rename", to)?;
    std::fs::rename(from, to)?;
    done("rename", to);
    Ok(())
}

/// Renames and makes the new name durable; `from` and `to` stand in one directory.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    rename_only(from, to)?;
    sync_directory(scratch::parent(to))
}

/// Puts `from` in the place of the directory `to`, which then stands at `from`. In one step where the system knows one; else
/// there is a moment in which `to` is missing.
pub(crate) fn exchange(from: &Path, to: &Path) -> Result<()> {
    before("exchange", to)?;
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE) {
            Ok(()) => {
                done("exchange", to);
                return sync_directory(scratch::parent(to));
            }
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            Err(other) => return Err(other.into()),
        }
    }
    let aside = scratch::beside(to, "replaced-");
    std::fs::rename(to, &aside)?;
    if let Err(error) = std::fs::rename(from, to) {
        std::fs::rename(&aside, to)?;
        return Err(error);
    }
    std::fs::rename(&aside, from)?;
    done("exchange", to);
    sync_directory(scratch::parent(to))
}

/// Removes a directory that nobody reads any more.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    before("remove", path)?;
    std::fs::remove_dir_all(path)?;
    done("remove", path);
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
        publish(&path, b"step-00000002").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"step-00000002");
        for n in [0, 1, Pieces::BYTES - 1, Pieces::BYTES, 2 * Pieces::BYTES + 1] {
            let content: Vec<u8> = (0..n).map(|i| (i % 251) as u8).collect();
            publish_from(&path, &mut content.as_slice()).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), content);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_replaced_keeps_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LATEST");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("inside"), "kept").unwrap();
        let words = replace(&path, b"step-00000001").unwrap_err().to_string();
        assert!(words.contains("LATEST") && words.contains("choose another path"), "{words}");
        assert_eq!(std::fs::read(path.join("inside")).unwrap(), b"kept");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn directories_change_places() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["old", "new"] {
            std::fs::create_dir(path(name)).unwrap();
            std::fs::write(path(name).join("is"), name).unwrap();
        }
        exchange(&path("new"), &path("old")).unwrap();
        assert_eq!(std::fs::read(path("old").join("is")).unwrap(), b"new");
        assert_eq!(std::fs::read(path("new").join("is")).unwrap(), b"old");
    }
}
