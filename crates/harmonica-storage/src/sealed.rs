//! A directory with a manifest, as its readers see it.
//!
//! In: a directory; out: the content of its files. Invariant: what [`Sealed::read`] gives is what was written, byte for byte.

use crate::manifest::{FileCheck, FileDigest, FileState, MANIFEST, Manifest};
use crate::{Mapped, StorageError, replace};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Seek};
use std::path::{Path, PathBuf};

/// A directory whose manifest was found whole.
#[derive(Debug, Clone)]
pub struct Sealed {
    dir: PathBuf,
    manifest: Manifest,
}

impl Sealed {
    /// Reads the manifest of a directory.
    ///
    /// # Errors
    /// A manifest that is missing or damaged.
    pub fn open(dir: &Path) -> Result<Self, FileCheck> {
        let manifest = Manifest::read(dir).map_err(|state| FileCheck { file: MANIFEST.to_owned(), state })?;
        Ok(Self { dir: dir.to_owned(), manifest })
    }

    /// The content of a file.
    ///
    /// # Errors
    /// A file that is missing, changed, or not of this directory.
    pub fn read(&self, file: &str) -> Result<Vec<u8>, FileCheck> {
        let check = |state| FileCheck { file: file.to_owned(), state };
        let expected = self.manifest.digest(file).ok_or_else(|| check(FileState::Unlisted))?;
        let content = std::fs::read(self.dir.join(file)).map_err(|e| check(FileState::of_error(&e)))?;
        let found = FileDigest::of(&content);
        if found != *expected {
            return Err(check(FileState::Changed { expected: expected.clone(), found }));
        }
        Ok(content)
    }

    /// As [`Self::read`], of a file that may be larger than memory and is read once from its beginning to its end.
    ///
    /// # Errors
    /// A file that is missing, changed, or not of this directory.
    pub fn reader(&self, file: &str) -> Result<BufReader<File>, FileCheck> {
        let check = |state| FileCheck { file: file.to_owned(), state };
        let expected = self.manifest.digest(file).ok_or_else(|| check(FileState::Unlisted))?;
        let digest = || {
            let mut content = File::open(self.dir.join(file))?;
            let found = FileDigest::of_file(&content)?;
            content.rewind()?;
            Ok((content, found))
        };
        let (content, found) = digest().map_err(|e: std::io::Error| check(FileState::of_error(&e)))?;
        if found != *expected {
            return Err(check(FileState::Changed { expected: expected.clone(), found }));
        }
        Ok(BufReader::with_capacity(1 << 16, content))
    }

    /// As [`Self::read`], of a file that may be larger than memory and is looked at in any order.
    ///
    /// # Errors
    /// A file that is missing, changed, or not of this directory.
    pub fn map(&self, file: &str) -> Result<Mapped, FileCheck> {
        let check = |state| FileCheck { file: file.to_owned(), state };
        let expected = self.manifest.digest(file).ok_or_else(|| check(FileState::Unlisted))?;
        let content = Mapped::open(&self.dir.join(file)).map_err(|e| check(FileState::of_error(&e)))?;
        let found = FileDigest::of(&content);
        if found != *expected {
            return Err(check(FileState::Changed { expected: expected.clone(), found }));
        }
        Ok(content)
    }

    /// Names of all files but the manifest, in order.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.manifest.files()
    }

    /// One hash over everything in the directory.
    pub fn hash(&self) -> &str {
        self.manifest.seal()
    }

    /// As [`Self::hash`], over some of the files: what the hash would be if the others were not there.
    pub fn hash_of(&self, mut belongs: impl FnMut(&str) -> bool) -> String {
        self.manifest.seal_over(&mut belongs)
    }
}

/// The state of the manifest, of every file that it lists, and of those `required`; the manifest stands first.
pub fn verify(dir: &Path, required: &[&str]) -> Vec<FileCheck> {
    Manifest::verify(dir, required)
}

/// Writes the manifest of a directory that has none, over files that are there.
///
/// # Errors
/// A file that cannot be read, a directory that cannot be written to.
pub fn seal(dir: &Path, files: &[&str]) -> Result<(), StorageError> {
    let mut digests = BTreeMap::new();
    for file in files {
        let path = dir.join(file);
        let digest = FileDigest::read(&path).map_err(|e| StorageError::write(&path, e))?;
        digests.insert((*file).to_owned(), digest);
    }
    let path = dir.join(MANIFEST);
    let bytes = Manifest::new(digests).to_bytes().map_err(|e| StorageError::encode(&path, e))?;
    replace(&path, &bytes)
}
