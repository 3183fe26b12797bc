//! The training loop and everything that watches it.
//!
//! In: a [`harmonica_data::TokenCache`], a resolved configuration, a device. Out: a run directory with metrics,
//! checkpoints and the best one's record; and runs read back, compared and ranked. Steps are optimizer updates.
//! One process writes a run directory; what it keeps survives a crash at any moment.
//! Invariant: on CPU f32 a resumed run equals one that was never stopped, bit for bit.

mod ar_task;
mod average;
mod checkpoint;
mod ema;
mod environment;
mod error;
mod event_file;
mod floors;
mod gradients;
mod groups;
mod initialisation;
mod instability;
mod nar_task;
mod observer;
mod plateau;
mod probes;
mod retention;
mod run_comparison;
mod run_dir;
mod run_groups;
mod run_lock;
mod run_reading;
mod run_search;
mod sample;
mod sittings;
mod task;
mod tensorboard;
mod trainer;
mod validation;

pub use ar_task::ArTask;
pub use checkpoint::{Checkpoint, CheckpointState, WeightKind};
pub use ema::Ema;
pub use error::TrainingError;
pub use gradients::GradHealth;
pub use groups::{ParamGroupName, ParamGroups};
pub use harmonica_storage::{FileCheck, FileDigest, FileState};
pub use initialisation::Initialisation;
pub use nar_task::NarTask;
pub use observer::{Progress, TrainObserver};
pub use plateau::{EarlyStop, PlateauPolicy};
pub use run_comparison::compare;
pub use run_dir::RunDir;
pub use run_groups::best_of;
pub use run_reading::RunReading;
pub use run_search::{FoundRuns, find_runs};
pub use sample::Sample;
pub use task::Task;
pub use tensorboard::{TENSORBOARD, TensorBoard};
pub use trainer::{TrainOutcome, Trainer};
