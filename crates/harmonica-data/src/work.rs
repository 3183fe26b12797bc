//! The bench on which a cache is made: a hidden directory beside its place, for as many processes as like to help.
//!
//! In: what is to be made; out: finished shards under their numbers, and claims on those that are being made. Invariant: a shard
//! stands there whole or not at all, and its number and content follow from the plan alone; whoever dies leaves the others a
//! bench to go on from, without a flag.

use crate::selection::Shards;
use crate::shard::{Shard, ShardRow};
use crate::{DataError, Manifest};
use harmonica_config_schema::Fingerprint;
use harmonica_storage::{Claim, Mapped, collect_scratch, make_directory, remove_directory};
use rayon::prelude::*;
use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// A share of the shards: the `index`-th of `of`, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardShare {
    /// Which share.
    pub index: usize,
    /// How many shares there are.
    pub of: usize,
}

impl ShardShare {
    /// All shards.
    pub const ALL: Self = Self { index: 0, of: 1 };

    /// Reads `i/N`, counted from 0: `0/4` to `3/4`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match parts {
            Some((index, of)) if index < of => Ok(Self { index, of }),
            _ => Err(format!("{text:?} is no share; write i/N with i from 0 to N - 1, such as 0/4")),
        }
    }

    fn holds(self, shard: usize) -> bool {
        shard % self.of == self.index
    }
}

/// The bench of one plan.
#[derive(Debug, Clone)]
pub(crate) struct Bench {
    cache: PathBuf,
    dir: PathBuf,
    rows: usize,
    rows_per_shard: usize,
}

impl Bench {
    /// The bench of what `wanted` describes; another corpus, another audio file or another setting has another one.
    pub(crate) fn new(
        cache: &Path,
        manifest: &Manifest,
        wanted: &Fingerprint,
        rows_per_shard: usize,
        follow: bool,
    ) -> Self {
        let states: Vec<Option<(u64, u128)>> = manifest
            .utterances
            .par_iter()
            .map(|utterance| {
                let data = manifest.audio_path(utterance, follow).ok()?.metadata().ok()?;
                let age = data.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
                Some((data.len(), age.as_nanos()))
            })
            .collect();
        let key = Fingerprint::of_lists(&[(wanted, rows_per_shard)], &states);
        let dir = parent(cache).join(format!("{}{}", prefix(cache), &key.as_str()[..12]));
        Self { cache: cache.to_owned(), dir, rows: manifest.utterances.len(), rows_per_shard }
    }

    /// Makes its directory; what dead processes left half-written goes.
    pub(crate) fn open(&self) -> Result<(), DataError> {
        make_directory(&self.dir)?;
        collect_scratch(&self.dir)?;
        Ok(())
    }

    /// Where it is.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Number of shards.
    pub(crate) fn n_shards(&self) -> usize {
        self.rows.div_ceil(self.rows_per_shard)
    }

    /// Shards of a share.
    pub(crate) fn shards(&self, share: ShardShare) -> Vec<usize> {
        (0..self.n_shards()).filter(|shard| share.holds(*shard)).collect()
    }

    /// Rows of a shard.
    pub(crate) fn rows(&self, shard: usize) -> Range<usize> {
        shard * self.rows_per_shard..((shard + 1) * self.rows_per_shard).min(self.rows)
    }

    /// Where a finished shard stands.
    pub(crate) fn shard(&self, shard: usize) -> PathBuf {
        self.dir.join(format!("{shard:06}.shard"))
    }

    /// All finished shards.
    ///
    /// # Errors
    /// Shards that are missing.
    pub(crate) fn finished(&self) -> Result<Vec<PathBuf>, DataError> {
        let paths: Vec<_> = (0..self.n_shards()).map(|shard| self.shard(shard)).collect();
        let missing: Vec<usize> = (0..paths.len()).filter(|shard| !paths[*shard].exists()).collect();
        if missing.is_empty() {
            return Ok(paths);
        }
        Err(DataError::Unfinished { path: self.dir.clone(), missing, of: paths.len() })
    }

    /// The right to make a shard, or to put the cache together; `None` if another process has it, or is done with everything.
    pub(crate) fn claim(&self, shard: Option<usize>) -> Result<Option<Claim>, DataError> {
        let name = shard.map_or_else(|| "finish.claim".to_owned(), |shard| format!("{shard:06}.claim"));
        match Claim::take(&self.dir.join(name)) {
            Ok(claim) => Ok(claim),
            // The bench was cleared: the cache is finished.
            Err(_) if !self.dir.exists() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Other benches of the same cache.
    pub(crate) fn others(&self) -> Vec<PathBuf> {
        benches_of(&self.cache).into_iter().filter(|dir| *dir != self.dir).collect()
    }
}

/// Its finished shards.
impl Shards for Bench {
    fn n_shards(&self) -> usize {
        Self::n_shards(self)
    }

    fn read(&self, shard: usize) -> Result<(Range<usize>, Cow<'_, [ShardRow]>), DataError> {
        let path = self.shard(shard);
        let bytes = match Mapped::open(&path) {
            Ok(bytes) => bytes,
            Err(source) => return Err(DataError::Read { path, source }),
        };
        let (places, found) = (self.rows(shard), Shard::parse(&bytes));
        match found {
            Some(shard) if shard.rows.len() == places.len() => Ok((places, shard.rows.into())),
            _ => Err(DataError::DamagedShard { path }),
        }
    }
}

/// Removes the benches of a cache on which nobody works any more, and what dead processes left beside it.
pub(crate) fn clear_benches(cache: &Path) -> Result<(), DataError> {
    for dir in benches_of(cache) {
        let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten().map(|entry| entry.path());
        let claims = entries.filter(|path| path.extension().is_some_and(|e| e == "claim"));
        // Held until the bench is gone, so that nobody begins on it meanwhile.
        let held: Vec<Option<Claim>> = claims.map(|path| Claim::take(&path).ok().flatten()).collect();
        if held.iter().all(Option::is_some)
            && let Err(error) = remove_directory(&dir)
            && dir.exists()
        {
            return Err(error.into());
        }
    }
    if parent(cache).is_dir() {
        collect_scratch(parent(cache))?;
    }
    Ok(())
}

fn benches_of(cache: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent(cache)).into_iter().flatten().flatten();
    let prefix = prefix(cache);
    let mut dirs: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix)))
        .map(|entry| entry.path())
        .collect();
    dirs.sort();
    dirs
}

fn parent(cache: &Path) -> &Path {
    cache.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn prefix(cache: &Path) -> String {
    let name = cache.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    format!(".bench-{name}-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_disjoint_and_complete() {
        let bench = Bench { cache: "c".into(), dir: "d".into(), rows: 1001, rows_per_shard: 10 };
        let mut shards: Vec<usize> =
            (0..7).flat_map(|index| bench.shards(ShardShare { index, of: 7 })).collect();
        shards.sort_unstable();
        assert_eq!(shards, (0..101).collect::<Vec<_>>());
        let rows: Vec<usize> = shards.iter().flat_map(|shard| bench.rows(*shard)).collect();
        assert_eq!(rows, (0..1001).collect::<Vec<_>>());
        assert_eq!(ShardShare::parse("3/4"), Ok(ShardShare { index: 3, of: 4 }));
        for wrong in ["4/4", "0/0", "1", "-1/3", "a/b"] {
            assert!(ShardShare::parse(wrong).unwrap_err().contains("0/4"), "{wrong}");
        }
    }
}
