//! A directory that is being written: beside its final place until every byte of it is on disk.
//!
//! In: files, one after the other; out: a directory under its final name, sealed by a manifest. Invariant: the final name
//! always stands for a whole directory, or for nothing.

use crate::manifest::{FileDigest, MANIFEST, Manifest};
use crate::{StorageError, durable, scratch};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A directory beside its final place. Dropped without [`Staged::commit`], it leaves nothing.
#[derive(Debug)]
pub struct Staged {
    target: PathBuf,
    beside: PathBuf,
    files: BTreeMap<String, FileDigest>,
    /// Files that are being written piece by piece.
    begun: BTreeSet<String>,
}

/// A file of a directory that is being written, itself written piece by piece.
#[derive(Debug)]
#[must_use = "a directory with a file that was begun and not finished is refused"]
pub struct StagedFile {
    name: String,
    pieces: durable::Pieces,
}

impl Write for StagedFile {
    fn write(&mut self, content: &[u8]) -> std::io::Result<usize> {
        self.pieces.write(content)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.pieces.flush()
    }
}

impl Staged {
    /// Begins a directory whose final place is `target`; what dead processes left of earlier attempts goes.
    ///
    /// # Errors
    /// A place that cannot be written to.
    pub fn begin(target: &Path) -> Result<Self, StorageError> {
        let beside = scratch::beside(target, "");
        let staged =
            Self { target: target.to_owned(), beside, files: BTreeMap::new(), begun: BTreeSet::new() };
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

    /// Begins a file that is written piece by piece, so that it need never be in memory as a whole; [`Self::finish`] ends it.
    ///
    /// # Errors
    /// A disk that does not take it.
    pub fn begin_file(&mut self, name: &str) -> Result<StagedFile, StorageError> {
        let path = self.beside.join(name);
        durable::make_directory(scratch::parent(&path)).map_err(|error| self.instead(error))?;
        let pieces = durable::Pieces::create(&path).map_err(|e| self.failed(name, e))?;
        self.begun.insert(name.to_owned());
        Ok(StagedFile { name: name.to_owned(), pieces })
    }

    /// Ends a file of this directory.
    ///
    /// # Errors
    /// A disk that does not take it.
    pub fn finish(&mut self, file: StagedFile) -> Result<(), StorageError> {
        let StagedFile { name, pieces } = file;
        let digest = pieces.finish(true).map_err(|e| self.failed(&name, e))?;
        self.begun.remove(&name);
        self.files.insert(name, digest);
        Ok(())
    }

    /// Takes a file that stands elsewhere on the same disk, durable and never to be changed, without writing it again.
    ///
    /// # Errors
    /// A file that cannot be read, a disk that does not take it.
    pub fn link(&mut self, name: &str, from: &Path) -> Result<(), StorageError> {
        let path = self.beside.join(name);
        durable::make_directory(scratch::parent(&path)).map_err(|error| self.instead(error))?;
        durable::link(from, &path).map_err(|e| self.failed(name, e))?;
        let digest = FileDigest::read(&path).map_err(|e| self.failed(name, e))?;
        self.files.insert(name.to_owned(), digest);
        Ok(())
    }

    /// Seals the directory and puts it under its final name, in the place of what stood there.
    ///
    /// # Errors
    /// A disk that does not take it, or a file that was begun and not finished; what stood there still does.
    pub fn commit(mut self) -> Result<(), StorageError> {
        if let Some(name) = self.begun.first() {
            return Err(self.failed(name, std::io::Error::other("it was begun and not finished")));
        }
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
        sealed.and_then(|()| self.place()).map_err(|source| self.failed("", source))
    }

    /// Takes the final place. Other processes may take it or leave it at the same moment: the last one stands.
    fn place(&self) -> std::io::Result<()> {
        const ATTEMPTS: usize = 100;
        let mut attempt = 1;
        loop {
            let placed = if self.target.exists() {
                durable::exchange(&self.beside, &self.target)
            } else {
                durable::rename(&self.beside, &self.target)
            };
            match placed {
                Ok(()) if self.beside.exists() => return durable::remove_tree(&self.beside),
                Ok(()) => return Ok(()),
                Err(error) if attempt < ATTEMPTS && is_about_another(&error) => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether a place changed between looking at it and taking it.
fn is_about_another(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotFound};
    matches!(error.kind(), AlreadyExists | DirectoryNotEmpty | NotFound)
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
    use std::io::Read;

    #[test]
    fn a_directory_is_replaced_as_a_whole_and_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a/cache");
        for content in ["old", "new"] {
            let mut staged = Staged::begin_in_place_of(&target, "index.json", "cache").unwrap();
            staged.file("index.json", content.as_bytes()).unwrap();
            staged.file("inner/codes.bin", b"codes").unwrap();
            let mut rows = staged.begin_file("rows.json").unwrap();
            for _ in 0..50_000 {
                rows.write_all(b"row").unwrap();
            }
            staged.finish(rows).unwrap();
            staged.commit().unwrap();
            let sealed = Sealed::open(&target).unwrap();
            assert_eq!(sealed.read("index.json").unwrap(), content.as_bytes());
            assert_eq!(sealed.files().collect::<Vec<_>>(), ["index.json", "inner/codes.bin", "rows.json"]);
            let mut rows = String::new();
            sealed.reader("rows.json").unwrap().read_to_string(&mut rows).unwrap();
            assert_eq!(rows, "row".repeat(50_000));
            assert_eq!(std::fs::read_dir(target.parent().unwrap()).unwrap().count(), 1);
        }
        assert!(verify(&target, &["index.json"]).iter().all(FileCheck::is_whole));
        std::fs::write(target.join("inner/codes.bin"), "codez").unwrap();
        let error = Sealed::open(&target).unwrap().read("inner/codes.bin").unwrap_err().to_string();
        assert!(error.contains("inner/codes.bin") && error.contains("expected 5 bytes"), "{error}");
        assert_eq!(Sealed::open(&target).unwrap().reader("inner/codes.bin").unwrap_err().to_string(), error);
    }

    #[test]
    fn many_writers_of_one_place_leave_one_whole_directory() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("cache");
        // Threads share a process id, so that each needs a scratch name of its own; the race for the place is the same.
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let target = &target;
                scope.spawn(move || {
                    for round in 0..20 {
                        let beside =
                            target.with_file_name(format!(".staging-{}-{writer}", std::process::id()));
                        std::fs::create_dir_all(&beside).unwrap();
                        let mut staged = Staged {
                            target: target.clone(),
                            beside,
                            files: BTreeMap::new(),
                            begun: BTreeSet::new(),
                        };
                        staged.file("index.json", format!("{writer} {round}").as_bytes()).unwrap();
                        staged.commit().unwrap();
                    }
                });
            }
        });
        assert!(verify(&target, &["index.json"]).iter().all(FileCheck::is_whole));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_dropped_or_refused_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("cache");
        let mut staged = Staged::begin(&target).unwrap();
        staged.file("index.json", b"half").unwrap();
        drop(staged);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let mut staged = Staged::begin(&target).unwrap();
        let begun = staged.begin_file("index.json").unwrap();
        let words = staged.commit().unwrap_err().to_string();
        drop(begun);
        assert!(words.contains("index.json"), "{words}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        std::fs::create_dir(&target).unwrap();
        std::fs::write(target.join("thesis.tex"), "mine").unwrap();
        let words = Staged::begin_in_place_of(&target, "index.json", "cache").unwrap_err().to_string();
        assert!(words.contains("no cache") && words.contains("choose another directory"), "{words}");
        assert_eq!(std::fs::read(target.join("thesis.tex")).unwrap(), b"mine");
    }
}
