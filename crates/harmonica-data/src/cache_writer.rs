//! A cache that is being put together: its shards are linked into a staged directory and its index is written row by row.
//!
//! Invariant: what stands at the place is the cache of before or the new one, whole.

use crate::cache::{FINGERPRINT, FORMAT_VERSION, INDEX, Index};
use crate::json_rows::JsonRows;
use crate::{CacheFingerprint, CachedUtterance, DataError};
use harmonica_config_schema::{CodecSpec, Fingerprint};
use harmonica_storage::{Mapped, Staged, StagedFile, StorageError};
use harmonica_text::Vocab;
use rayon::prelude::*;
use serde_json::ser::CompactFormatter;
use std::path::{Path, PathBuf};

/// What a cache holds beside its shards and its utterances.
pub(crate) struct Content {
    pub(crate) spec: CodecSpec,
    pub(crate) vocab: Vocab,
    pub(crate) speakers: Vec<String>,
    pub(crate) corpora: Vec<String>,
}

/// A cache that is put together in the place of one that stood there, in one step, so that there is always one of them.
pub(crate) struct CacheWriter {
    dir: PathBuf,
    staged: Staged,
    index: JsonRows<StagedFile, CompactFormatter>,
}

impl CacheWriter {
    /// Begins a cache at `dir` from finished shards.
    pub(crate) fn begin(
        dir: &Path,
        content: Content,
        fingerprint: &CacheFingerprint,
        shards: &[PathBuf],
    ) -> Result<Self, DataError> {
        let mut staged = Staged::begin_in_place_of(dir, FINGERPRINT, "token cache")?;
        let named = |(i, path): (usize, &PathBuf)| {
            let bytes =
                Mapped::open(path).map_err(|source| DataError::Read { path: path.clone(), source })?;
            Ok(format!("shards/{i:06}-{}.shard", &Fingerprint::of_bytes(&bytes).as_str()[..16]))
        };
        let names: Vec<String> =
            shards.par_iter().enumerate().map(named).collect::<Result<_, DataError>>()?;
        for (name, path) in names.iter().zip(shards) {
            staged.link(name, path)?;
        }
        let head = Index {
            format_version: FORMAT_VERSION,
            spec: content.spec,
            vocab: content.vocab,
            speakers: content.speakers,
            corpora: content.corpora,
            shards: names,
            utterances: Vec::new(),
        };
        let fingerprint = serde_json::to_vec_pretty(fingerprint).map_err(|e| StorageError::encode(dir, e))?;
        staged.file(FINGERPRINT, &fingerprint)?;
        let index = JsonRows::begin(staged.begin_file(INDEX)?, CompactFormatter, &head)
            .map_err(|source| unwritten(dir, source))?;
        Ok(Self { dir: dir.to_owned(), staged, index })
    }

    /// Writes one more utterance.
    pub(crate) fn push(&mut self, utterance: &CachedUtterance) -> Result<(), DataError> {
        self.index.push(utterance).map_err(|source| unwritten(&self.dir, source))
    }

    /// The directory, for what was learned on the way and is sealed together with the cache.
    pub(crate) fn staged(&mut self) -> &mut Staged {
        &mut self.staged
    }

    /// Puts the cache in its place.
    pub(crate) fn commit(mut self) -> Result<(), DataError> {
        let index = self.index.end().map_err(|source| unwritten(&self.dir, source))?;
        self.staged.finish(index)?;
        Ok(self.staged.commit()?)
    }
}

/// The error of a cache that the disk did not take.
pub(crate) fn unwritten(dir: &Path, source: std::io::Error) -> DataError {
    StorageError::Write { path: dir.to_owned(), source }.into()
}
