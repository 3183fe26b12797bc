//! Corpus folder to batches, the same bytes every time.
//!
//! In: a corpus on disk, a codec, a tokenizer. Out: a quality report, a [`TokenCache`] that refuses to be stale, and
//! [`TokenBatch`]es of host arrays in an order that is a pure function of (seed, epoch).
//! Invariant: kept and dropped utterances add up to the rows of the manifest, each dropped one with its reasons.

mod batch;
mod cache;
mod error;
mod fingerprint;
mod manifest;
mod packed;
mod plan;
mod prefetch;
mod preprocess;
mod quality;

pub use batch::{PromptBatch, PromptPolicy, TokenBatch};
pub use cache::{CachedUtterance, TokenCache};
pub use error::DataError;
pub use fingerprint::CacheFingerprint;
pub use manifest::{Manifest, Split, Utterance};
pub use packed::{PackedUtterance, packed_metadata, parse_index, unpack};
pub use plan::BatchPlan;
pub use prefetch::prefetch;
pub use preprocess::{Preprocessed, check, condition, preprocess};
pub use quality::{QualityFilter, QualityReport, QualityRow, QualityVerdict};
