//! Every knob of Harmonica and the records that its crates exchange.
//!
//! In: strict TOML layers and `--set` overrides. Out: one validated [`ExperimentConfig`], its
//! [`Fingerprint`] and its [`ConfigDiff`] to another; the nouns that two crates share ([`CodecSpec`],
//! [`CodebookIndex`], [`SpecialTokens`]); and [`record`], what one crate writes and another reads.
//! Invariant: an unknown key, a wrong type or a value out of range never gets past [`ConfigLoader::load`].

mod codec;
mod data;
mod decode;
mod diff;
mod error;
mod experiment;
mod fingerprint;
mod inspection;
mod layer;
mod loader;
mod micro_steps;
mod model;
#[cfg(test)]
mod mutations;
mod objective;
mod param_groups;
mod per_codebook;
mod provenance;
mod random;
pub mod record;
mod reference;
mod relations;
mod run_control;
mod schedule;
mod schema;
mod suggestion;
mod tokens;
mod training;
mod utc_time;

pub use codec::{CodecConfig, CodecKind, CodecSpec, EnCodecSettings, MelRvqConfig};
pub use data::{
    AudioConfig, BatchConfig, CorpusConfig, CorpusLayout, DataConfig, LoudnessKind, PromptConfig,
    QualityThresholds, SamplingConfig, SamplingKind, SplitConfig, SplitKind,
};
pub use decode::{ArDecodeConfig, DecodeConfig, NarDecodeConfig, NarDecodeKind};
pub use diff::{ConfigDiff, DiffEntry, flat_keys};
pub use error::{ConfigError, Place, Problem, ProblemKind};
pub use experiment::{ExperimentConfig, ModelConfig};
pub use fingerprint::Fingerprint;
pub use loader::ConfigLoader;
pub use model::{
    ArModelConfig, Conditioning, LengthControl, ModelDims, NarModelConfig, Preset, SpeakerConditioning,
    SpeakerPooling,
};
pub use objective::{ObjectiveConfig, ScheduledWeight};
pub use param_groups::{ParamGroupConfig, ParamGroupsConfig};
pub use per_codebook::PerCodebook;
pub use provenance::ResolvedConfig;
pub use random::RandomStream;
pub use reference::{json_schema, reference_page};
pub use run_control::{
    BestMetric, BestRule, EarlyStopConfig, InstabilityConfig, JudgedWeights, PlateauConfig, RunControl,
};
pub use schedule::{Decay, Schedule};
pub use tokens::{CodebookIndex, SpecialTokens};
pub use training::{ArTraining, NarTraining, OptimizerConfig, TrainingConfig};
pub use utc_time::{UtcTime, UtcTimeError};
