//! What earlier work already knows, by the audio that it was made from.
//!
//! In: a finished cache and shards that were left behind; out: rows and codes. Invariant: only shards made with the same
//! settings whose hash is right are known; a damaged one is as good as none.

use crate::shard::{Shard, ShardRow};
use harmonica_config_schema::Fingerprint;
use harmonica_storage::{Mapped, Sealed};
use std::collections::BTreeMap;
use std::path::Path;

/// Rows of earlier shards.
#[derive(Debug, Default)]
pub(crate) struct Reuse {
    shards: Vec<(Shard, Mapped)>,
    /// Shard and row of a source.
    by_source: BTreeMap<Fingerprint, (usize, usize)>,
}

impl Reuse {
    /// Collects the shards of a finished cache and of unfinished work that were made with these settings.
    pub(crate) fn gather(cache: &Path, unfinished: &[std::path::PathBuf], settings: &Fingerprint) -> Self {
        let mut reuse = Self::default();
        if let Ok(sealed) = Sealed::open(cache) {
            for name in sealed.files().filter(|name| name.starts_with("shards/")) {
                reuse.take(Mapped::open(&cache.join(name)).ok(), settings);
            }
        }
        for dir in unfinished {
            for path in shards_in(dir) {
                reuse.take(Mapped::open(&path).ok(), settings);
            }
        }
        reuse
    }

    fn take(&mut self, bytes: Option<Mapped>, settings: &Fingerprint) {
        let Some(bytes) = bytes else { return };
        let Some(shard) = Shard::parse(&bytes).filter(|shard| shard.settings == *settings) else { return };
        for (source, row) in shard.by_source() {
            // A row with codes knows more than one without.
            let known = self.by_source.get(source).map(|(s, r)| &self.shards[*s].0.rows[*r]);
            if known.is_none_or(|known| known.n_frames == 0) {
                self.by_source.insert(source.clone(), (self.shards.len(), row));
            }
        }
        self.shards.push((shard, bytes));
    }

    /// What is known about some audio.
    pub(crate) fn find(&self, source: &Fingerprint) -> Option<(&ShardRow, Vec<u16>)> {
        let (shard, row) = self.by_source.get(source)?;
        let (shard, bytes) = &self.shards[*shard];
        Some((&shard.rows[*row], shard.codes(bytes, *row)))
    }
}

/// Shards of a finished cache that were made with these settings, one at a time.
pub(crate) fn finished(cache: &Path, settings: &Fingerprint) -> impl Iterator<Item = Shard> {
    let files = Sealed::open(cache).map(|sealed| sealed.files().map(str::to_owned).collect::<Vec<_>>());
    let shards = files.unwrap_or_default().into_iter().filter(|name| name.starts_with("shards/"));
    shards
        .filter_map(|name| Shard::parse(&Mapped::open(&cache.join(name)).ok()?))
        .filter(|shard| shard.settings == *settings)
}

/// Finished shards in a directory of unfinished work, in order.
pub(crate) fn shards_in(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "shard")).collect();
    paths.sort();
    paths
}
