//! A directory that is being written: beside its final place until every byte of it is on disk.
//!
//! In: files, one after the other; out: a directory under its final name, sealed by a manifest. Invariant: the final name
//! always stands for a whole directory, or for nothing.

use crate::manifest::{FileDigest, MANIFEST, Manifest};
use crate::{StorageError, durable, scratch};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A directory beside its final place. Dropped without [`Staged::commit`], it leaves nothing.
#[derive(Debug)]
pub struct Staged {
    target: PathBuf,
    beside: PathBuf,
    files: BTreeMap<String, FileDigest>,
}

impl Staged {
    /// Begins a directory whose final place is `target`; what dead processes left of earlier attempts goes.
    ///
    /// # Errors
    /// A place that cannot be written to.
    pub fn begin(target: &Path) -> Result<Self, StorageError> {
        let beside = scratch::beside(target, "");
        let staged = Self { target: target.to_owned(), beside, files: BTreeMap::new() };
        durable::make_directory(scratch::parent(target))?;
        let begun = scratch::collect_of(target).and_then(|()| staged.clear());
        begun.map_err(|source| staged.failed("", source))?;
        durable::make_directory(&staged.beside).map_err(|error| staged.instead(error))?;
        Ok(staged)
    }

    /// As [`Self::begin`], but a directory that stands at `target` must be empty or hold a file `mark`, so that nothing of
    /// somebody else is replaced; `kind` is what to call it.
    ///
    /// # Errors
    /// A place that cannot be written to or that holds something else.
    pub fn begin_in_place_of(target: &Path, mark: &str, kind: &'static str) -> Result<Self, StorageError> {
        if target.exists() && !target.join(mark).exists() {
            let mut entries =
                std::fs::read_dir(target).map_err(|source| StorageError::write(target, source))?;
            if entries.next().is_some() {
                return Err(StorageError::Foreign { path: target.to_owned(), kind });
            }
        }
        Self::begin(target)
    }

    fn clear(&self) -> std::io::Result<()> {
        if self.beside.exists() { std::fs::remove_dir_all(&self.beside) } else { Ok(()) }
    }

    fn failed(&self, name: &str, source: std::io::Error) -> StorageError {
        StorageError::write(&self.target.join(name), source)
    }

    /// The same error, of the place that people know.
    fn instead(&self, error: StorageError) -> StorageError {
        match error {
            StorageError::Write { source, .. } => self.failed("", source),
            other => other,
        }
    }

    /// Writes a file; `name` may have directories before it.
    ///
    /// # Errors
    /// A disk that does not take it.
    pub fn file(&mut self, name: &str, content: &[u8]) -> Result<(), StorageError> {
        let path = self.beside.join(name);
        durable::make_directory(scratch::parent(&path)).map_err(|error| self.instead(error))?;
        durable::write(&path, content, true).map_err(|e| self.failed(name, e))?;
        self.files.insert(name.to_owned(), FileDigest::of(content));
        Ok(())
    }

    /// Seals the directory and puts it under its final name, in the place of what stood there.
    ///
    /// # Errors
    /// A disk that does not take it; what stood there still does.
    pub fn commit(mut self) -> Result<(), StorageError> {
        let inner: Vec<PathBuf> = self
            .files
            .keys()
            .filter_map(|name| Some(self.beside.join(Path::new(name).parent()?)))
            .filter(|dir| *dir != self.beside)
            .collect();
        let manifest = Manifest::new(std::mem::take(&mut self.files)).to_bytes();
        let sealed = manifest
            .map_err(std::io::Error::from)
            .and_then(|bytes| durable::write(&self.beside.join(MANIFEST), &bytes, true))
            .and_then(|()| inner.iter().try_for_each(|dir| durable::sync_directory(dir)))
            .and_then(|()| durable::sync_directory(&self.beside));
        let placed = sealed.and_then(|()| {
            if self.target.exists() {
                durable::exchange(&self.beside, &self.target)?;
                durable::remove_tree(&self.beside)
            } else {
                durable::rename(&self.beside, &self.target)
            }
        });
        placed.map_err(|source| self.failed("", source))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After a commit there is nothing to clear; after an error, that error is the one that matters.
        let _ = self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileCheck, Sealed, verify};

    #[test]
    fn a_directory_is_replaced_as_a_whole_and_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a/cache");
        for content in ["old", "new"] {
            let mut staged = Staged::begin_in_place_of(&target, "index.json", "cache").unwrap();
            staged.file("index.json", content.as_bytes()).unwrap();
            staged.file("inner/codes.bin", b"codes").unwrap();
            staged.commit().unwrap();
            let sealed = Sealed::open(&target).unwrap();
            assert_eq!(sealed.read("index.json").unwrap(), content.as_bytes());
            assert_eq!(sealed.files().collect::<Vec<_>>(), ["index.json", "inner/codes.bin"]);
            assert_eq!(std::fs::read_dir(target.parent().unwrap()).unwrap().count(), 1);
        }
        assert!(verify(&target, &["index.json"]).iter().all(FileCheck::is_whole));
        std::fs::write(target.join("inner/codes.bin"), "codez").unwrap();
        let error = Sealed::open(&target).unwrap().read("inner/codes.bin").unwrap_err().to_string();
        assert!(error.contains("inner/codes.bin") && error.contains("expected 5 bytes"), "{error}");
    }

    #[test]
    fn what_is_dropped_or_refused_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("cache");
        let mut staged = Staged::begin(&target).unwrap();
        staged.file("index.json", b"half").unwrap();
        drop(staged);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        std::fs::create_dir(&target).unwrap();
        std::fs::write(target.join("thesis.tex"), "mine").unwrap();
        let words = Staged::begin_in_place_of(&target, "index.json", "cache").unwrap_err().to_string();
        assert!(words.contains("no cache") && words.contains("choose another directory"), "{words}");
        assert_eq!(std::fs::read(target.join("thesis.tex")).unwrap(), b"mine");
    }
}
