//! What can be wrong with a corpus or a cache.

use harmonica_audio::AudioError;
use harmonica_codec::CodecError;
use harmonica_storage::StorageError;
use std::path::PathBuf;

/// Why data was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file cannot be read.
    #[error("cannot read `{}`; check that the path exists", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A line of a manifest is malformed.
    #[error("`{}` line {line}: {reason}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong and what is expected.
        reason: String,
    },
    /// A table with audio in it cannot be read.
    #[error("cannot use the table `{}`: {reason}; {remedy}", path.display())]
    Table {
        /// The table, or the corpus that has none.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// What helps.
        remedy: &'static str,
    },
    /// Figures of an utterance that a corpus does not have.
    #[error("the corpus has no utterance `{id}`; give figures of this very corpus")]
    UnknownUtterance {
        /// Its name.
        id: String,
    },
    /// A layout that this program was built without.
    #[error("the corpus `{}` holds tables with audio in them, which this program was built without; build it with `--features parquet`", path.display())]
    NotBuilt {
        /// The corpus.
        path: PathBuf,
    },
    /// Audio is a link that leads out of the corpus.
    #[error("`{}` leads out of the corpus, to `{}`; copy it there, or set data.follow_links_outside = true", path.display(), target.display())]
    OutsideCorpus {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// Nothing is left to train on.
    #[error("no utterance of `{}` passed the quality filter ({dropped} dropped); read quality.csv and relax [data.quality]", corpus.display())]
    NothingKept {
        /// The corpus.
        corpus: PathBuf,
        /// Utterances dropped.
        dropped: usize,
    },
    /// A split that is needed has no utterance.
    #[error("the corpus has no {split} utterance; raise data.split shares or name splits in the manifest")]
    EmptySplit {
        /// The split.
        split: &'static str,
    },
    /// The cache was made with other settings.
    #[error("the cache at `{}` is stale: {}; rebuild it with `harmonica-lab preprocess` or pass --allow-cache-mismatch", path.display(), differences.join("; "))]
    StaleCache {
        /// The cache directory.
        path: PathBuf,
        /// Each differing key with both values.
        differences: Vec<String>,
    },
    /// There is no cache.
    #[error("there is no token cache at `{}`; make it with `harmonica-lab preprocess`", path.display())]
    NoCache {
        /// The cache directory.
        path: PathBuf,
    },
    /// The cache is not as it was written, or its files contradict each other.
    #[error("the cache at `{}` is damaged: {reason}; rebuild it with `harmonica-lab preprocess`", path.display())]
    DamagedCache {
        /// The cache directory.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Shards that a cache needs were not made.
    #[error("{} of {of} shards are missing in `{}`, the first is {}; make them with `harmonica-lab preprocess run --shard i/N`", missing.len(), path.display(), missing.first().copied().unwrap_or_default())]
    Unfinished {
        /// Where they should be.
        path: PathBuf,
        /// Their numbers, counted from 0.
        missing: Vec<usize>,
        /// How many shards there are.
        of: usize,
    },
    /// A shard that is to become part of a cache is not as it was written.
    #[error("the shard `{}` is damaged; delete it and run `harmonica-lab preprocess` again", path.display())]
    DamagedShard {
        /// The file.
        path: PathBuf,
    },
    /// Audio was refused where the pipeline cannot go on without it.
    #[error(transparent)]
    Audio(#[from] AudioError),
    /// The codec refused.
    #[error(transparent)]
    Codec(#[from] CodecError),
}
