//! Corpus folder to batches, the same bytes every time.
//!
//! In: a corpus on disk, a codec, a tokenizer. Out: a quality report, a [`TokenCache`] that refuses to be stale, and
//! [`TokenBatch`]es of host arrays in an order that is a pure function of (seed, epoch).
//! Invariant: kept and dropped utterances add up to the rows of the manifest, each dropped one with its reasons.

mod batch;
mod cache;
mod cache_writer;
mod encode;
mod error;
mod fingerprint;
mod floor;
mod json_rows;
mod layouts;
mod manifest;
mod packed;
mod plan;
mod prefetch;
mod preprocess;
mod quality;
mod quality_page;
mod quality_report;
mod reuse;
mod selection;
mod shard;
mod shard_line;
mod slices;
mod splits;
mod stages;
mod strata;
mod suspects;
mod tally;
mod work;

pub use batch::{PromptBatch, PromptPolicy, TokenBatch};
pub use cache::{CachedUtterance, TokenCache};
pub use error::DataError;
pub use fingerprint::CacheFingerprint;
pub use floor::LearningFloor;
pub use manifest::{Manifest, Segment, SkippedRow, Split, Utterance};
pub use packed::{PackedUtterance, packed_metadata, parse_index, unpack};
pub use plan::BatchPlan;
pub use prefetch::{Prefetch, prefetch};
pub use preprocess::{Preprocessed, Preprocessor, check};
pub use quality::{QualityFilter, QualityVerdict};
pub use quality_report::{QualityReport, QualityRow, QualitySummary, copy_report};
pub use slices::{HeldOut, Slice, SliceSizes, slices};
pub use stages::{StageSeconds, process_time};
pub use strata::{Balance, Strata};
pub use suspects::read_cross_entropies;
pub use tally::Effort;
pub use work::ShardShare;
