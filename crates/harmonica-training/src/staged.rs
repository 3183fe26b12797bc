//! A checkpoint that is being written: beside its final place until every byte of it is on disk.
//!
//! In: files, one after the other; out: a directory under its final name, sealed by a manifest. Invariant: the final name
//! always stands for a whole checkpoint, or for nothing.

use crate::manifest::{FileDigest, MANIFEST, Manifest};
use crate::{TrainingError, durable, scratch};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A checkpoint beside its final place. Dropped without [`Staged::commit`], it leaves nothing.
#[derive(Debug)]
pub(crate) struct Staged {
    target: PathBuf,
    beside: PathBuf,
    files: BTreeMap<String, FileDigest>,
}

impl Staged {
    /// Begins a checkpoint whose final place is `target`.
    pub(crate) fn begin(target: &Path) -> Result<Self, TrainingError> {
        let beside = scratch::beside(target, "");
        let staged = Self { target: target.to_owned(), beside, files: BTreeMap::new() };
        let begun = staged.clear().and_then(|()| std::fs::create_dir_all(&staged.beside));
        begun.map_err(|source| staged.failed("", source))?;
        Ok(staged)
    }

    fn clear(&self) -> std::io::Result<()> {
        if self.beside.exists() { std::fs::remove_dir_all(&self.beside) } else { Ok(()) }
    }

    fn failed(&self, name: &str, source: std::io::Error) -> TrainingError {
        TrainingError::Write { path: self.target.join(name), source }
    }

    /// Writes a file.
    pub(crate) fn file(&mut self, name: &str, content: &[u8]) -> Result<(), TrainingError> {
        durable::write(&self.beside.join(name), content).map_err(|e| self.failed(name, e))?;
        self.files.insert(name.to_owned(), FileDigest::of(content));
        Ok(())
    }

    /// Takes in a file that `write` puts at the path that it is given.
    pub(crate) fn written_by(
        &mut self,
        name: &str,
        write: impl FnOnce(&Path) -> Result<(), String>,
    ) -> Result<(), TrainingError> {
        let path = self.beside.join(name);
        let digest = write(&path)
            .map_err(std::io::Error::other)
            .and_then(|()| durable::sync_file(&path))
            .and_then(|()| FileDigest::read(&path));
        let digest = digest.map_err(|e| self.failed(name, e))?;
        self.files.insert(name.to_owned(), digest);
        Ok(())
    }

    /// Seals the checkpoint and puts it under its final name, in the place of what stood there.
    pub(crate) fn commit(mut self) -> Result<(), TrainingError> {
        let manifest = Manifest::new(std::mem::take(&mut self.files)).to_bytes();
        let written = manifest
            .map_err(std::io::Error::from)
            .and_then(|bytes| durable::write(&self.beside.join(MANIFEST), &bytes))
            .and_then(|()| durable::sync_directory(&self.beside))
            .and_then(
                |()| if self.target.exists() { durable::remove_directory(&self.target) } else { Ok(()) },
            )
            .and_then(|()| durable::rename(&self.beside, &self.target));
        written.map_err(|source| self.failed("", source))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After a commit there is nothing to clear; after an error, that error is the one that matters.
        let _ = self.clear();
    }
}
