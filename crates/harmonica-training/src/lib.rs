//! The training loop and everything that watches it.
//!
//! In: a [`harmonica_data::TokenCache`], a resolved configuration, a device. Out: a run directory with metrics,
//! checkpoints and the best one's record. Steps are optimizer updates.
//! Invariant: on CPU f32 a resumed run equals one that was never stopped, bit for bit.

mod ar_task;
mod checkpoint;
mod ema;
mod error;
mod gradients;
mod groups;
mod nar_task;
mod observer;
mod run_dir;
mod task;
mod trainer;

pub use ar_task::ArTask;
pub use checkpoint::{Checkpoint, CheckpointState};
pub use ema::Ema;
pub use error::TrainingError;
pub use gradients::GradHealth;
pub use groups::ParamGroups;
pub use nar_task::NarTask;
pub use observer::{Progress, TrainObserver};
pub use run_dir::RunDir;
pub use task::Task;
pub use trainer::{TrainOutcome, Trainer};
