//! `manifest.json` of a directory: every file with its length and BLAKE3 hash, written last.
//!
//! In: a directory; out: the state of each of its files. Invariant: a byte that changed in any listed file or in
//! the manifest itself is found and named, because the manifest has one spelling and carries a hash of its own content.

use crate::names::stays_inside;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};
use std::fs::File;
use std::io::{Error, ErrorKind, Read};
use std::path::Path;

/// Name of the manifest of a sealed directory.
pub const MANIFEST: &str = "manifest.json";

const FORMAT_VERSION: u32 = 1;

/// No manifest is longer; more is damage, not worth reading.
const MAX_BYTES: u64 = 1 << 20;

/// Length and hash of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileDigest {
    /// Length in bytes.
    pub bytes: u64,
    /// BLAKE3 hash in hexadecimal digits.
    pub blake3: String,
}

impl FileDigest {
    /// The digest of some bytes.
    pub fn of(content: &[u8]) -> Self {
        Self { bytes: content.len() as u64, blake3: blake3::hash(content).to_string() }
    }

    /// The digest of what went through a hasher.
    pub(crate) fn of_hashed(hasher: &blake3::Hasher) -> Self {
        Self { bytes: hasher.count(), blake3: hasher.finalize().to_string() }
    }

    /// The digest of a file on disk.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        Self::of_file(&File::open(path)?)
    }

    /// The digest of what is left of an open file.
    pub(crate) fn of_file(file: &File) -> Result<Self, Error> {
        if !file.metadata()?.is_file() {
            return Err(Error::other("it is no regular file"));
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(file)?;
        Ok(Self::of_hashed(&hasher))
    }
}

impl Display for FileDigest {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes with hash {}", self.bytes, self.blake3)
    }
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum FileState {
    /// It is as it was written.
    Whole,
    /// It is not there.
    Missing,
    /// It cannot be read, or its content is none that could have been written.
    Unreadable {
        /// What is wrong.
        reason: String,
    },
    /// The manifest does not name it.
    Unlisted,
    /// It is not what was written.
    Changed {
        /// As it was written.
        expected: FileDigest,
        /// As it is.
        found: FileDigest,
    },
}

impl FileState {
    pub(crate) fn of_error(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::Missing,
            _ => Self::Unreadable { reason: error.to_string() },
        }
    }
}

/// A file of a sealed directory and its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileCheck {
    /// Name in the directory, with `/` between its parts.
    pub file: String,
    /// Its state.
    pub state: FileState,
}

impl FileCheck {
    /// Whether the file is as it was written.
    pub fn is_whole(&self) -> bool {
        self.state == FileState::Whole
    }
}

impl Display for FileCheck {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let file = &self.file;
        match &self.state {
            FileState::Whole => write!(f, "{file}: whole"),
            FileState::Missing => write!(f, "{file}: missing"),
            FileState::Unreadable { reason } => write!(f, "{file}: {reason}"),
            FileState::Unlisted => write!(f, "{file}: not listed in {MANIFEST}"),
            FileState::Changed { expected, found } => {
                write!(f, "{file}: expected {expected}, found {found}")
            }
        }
    }
}

/// Everything that a sealed directory consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    format_version: u32,
    files: BTreeMap<String, FileDigest>,
    /// Hash of all of the above: tells a changed manifest from a changed file.
    seal: String,
}

impl Manifest {
    /// A manifest of files.
    pub(crate) fn new(files: BTreeMap<String, FileDigest>) -> Self {
        let seal = Self::seal_of(&files);
        Self { format_version: FORMAT_VERSION, files, seal }
    }

    fn seal_of(files: &BTreeMap<String, FileDigest>) -> String {
        let mut hasher = blake3::Hasher::new();
        for (name, digest) in files {
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
            hasher.update(&digest.bytes.to_le_bytes()).update(digest.blake3.as_bytes());
        }
        hasher.finalize().to_string()
    }

    /// The seal that a manifest of some of these files would have.
    pub(crate) fn seal_over(&self, mut belongs: impl FnMut(&str) -> bool) -> String {
        let some = self.files.iter().filter(|(name, _)| belongs(name));
        Self::seal_of(&some.map(|(name, digest)| (name.clone(), digest.clone())).collect())
    }

    /// Its one spelling.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The digest of a file that it lists.
    pub(crate) fn digest(&self, file: &str) -> Option<&FileDigest> {
        self.files.get(file)
    }

    /// Names of all files, in order.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Hash over all files.
    pub(crate) fn seal(&self) -> &str {
        &self.seal
    }

    /// Reads the manifest of a directory.
    pub(crate) fn read(dir: &Path) -> Result<Self, FileState> {
        let unreadable = |reason: String| FileState::Unreadable { reason };
        let path = dir.join(MANIFEST);
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes)) {
            Ok(_) => {}
            Err(e) => return Err(FileState::of_error(&e)),
        }
        let manifest: Self = serde_json::from_slice(&bytes).map_err(|e| unreadable(e.to_string()))?;
        if manifest.format_version != FORMAT_VERSION {
            let version = manifest.format_version;
            return Err(unreadable(format!("format version {version} is not {FORMAT_VERSION}")));
        }
        let found = Self::seal_of(&manifest.files);
        if manifest.seal != found {
            return Err(unreadable(format!("its seal is {}, its content has {found}", manifest.seal)));
        }
        if manifest.to_bytes().ok().as_ref() != Some(&bytes) {
            return Err(unreadable("it is not spelled as it was written".into()));
        }
        if let Some(name) = manifest.files.keys().find(|name| !stays_inside(Path::new(name))) {
            return Err(unreadable(format!("`{name}` is no name of a file in this directory")));
        }
        Ok(manifest)
    }

    /// The state of the manifest, of every file that it lists, and of those `required`; the manifest stands first.
    pub(crate) fn verify(dir: &Path, required: &[&str]) -> Vec<FileCheck> {
        let check = |file: &str, state| FileCheck { file: file.to_owned(), state };
        let manifest = match Self::read(dir) {
            Ok(manifest) => manifest,
            Err(state) => return vec![check(MANIFEST, state)],
        };
        let mut checks = vec![check(MANIFEST, FileState::Whole)];
        for (file, expected) in manifest.files.iter() {
            let state = match FileDigest::read(&dir.join(file)) {
                Ok(found) if found == *expected => FileState::Whole,
                Ok(found) => FileState::Changed { expected: expected.clone(), found },
                Err(e) => FileState::of_error(&e),
            };
            checks.push(check(file, state));
        }
        let unlisted = required.iter().filter(|file| !manifest.files.contains_key(**file));
        checks.extend(unlisted.map(|file| check(file, FileState::Unlisted)));
        checks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(dir: &Path) -> Vec<u8> {
        std::fs::write(dir.join("state.json"), "{}").unwrap();
        let files = BTreeMap::from([("state.json".to_owned(), FileDigest::of(b"{}"))]);
        let bytes = Manifest::new(files).to_bytes().unwrap();
        std::fs::write(dir.join(MANIFEST), &bytes).unwrap();
        bytes
    }

    fn is_whole(dir: &Path) -> bool {
        Manifest::verify(dir, &["state.json"]).iter().all(FileCheck::is_whole)
    }

    #[test]
    fn every_flipped_bit_of_the_manifest_itself_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = sealed(dir.path());
        assert!(is_whole(dir.path()));
        for i in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[i] ^= 1 << bit;
                std::fs::write(dir.path().join(MANIFEST), &changed).unwrap();
                assert!(!is_whole(dir.path()), "bit {bit} of byte {i}");
            }
        }
    }

    #[test]
    fn a_manifest_reaches_no_other_directory_and_names_what_is_required() {
        let dir = tempfile::tempdir().unwrap();
        sealed(dir.path());
        let words = |files: &[&str], required: &[&str]| {
            let files = files.iter().map(|name| ((*name).to_owned(), FileDigest::of(b"{}"))).collect();
            std::fs::write(dir.path().join(MANIFEST), Manifest::new(files).to_bytes().unwrap()).unwrap();
            Manifest::verify(dir.path(), required).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        for outside in ["../state.json", "/etc/hostname", "a/../../b", "..", ""] {
            let found = words(&[outside], &[]);
            assert!(found[0].contains("is no name of a file in this directory"), "{found:?}");
        }
        assert_eq!(
            words(&[], &["state.json"]),
            ["manifest.json: whole", "state.json: not listed in manifest.json"]
        );
        assert_eq!(words(&["gone"], &[]), ["manifest.json: whole", "gone: missing"]);
    }
}
