//! Who watches a run.

use harmonica_config_schema::record::{RunEvent, TrainMetrics, ValidationMetrics};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Updates done.
    pub update: u64,
    /// Updates of the whole run.
    pub max_updates: u64,
    /// Updates a second since the start of this process.
    pub updates_per_s: f64,
}

/// Hears of everything that happens; `M` is the model. Every method has an empty default.
pub trait TrainObserver<M> {
    /// A line of training metrics was written.
    fn on_train(&mut self, _metrics: &TrainMetrics, _progress: Progress) {}

    /// A validation was made of `model`, the averaged weights.
    fn on_validation(&mut self, _metrics: &ValidationMetrics, _model: &M) {}

    /// Something happened that a reader of the curve should know.
    fn on_event(&mut self, _event: &RunEvent) {}

    /// A checkpoint was written.
    fn on_checkpoint(&mut self, _path: &std::path::Path) {}

    /// Why to stop at the next update boundary, with a checkpoint; `None` goes on.
    fn stop_reason(&self) -> Option<String> {
        None
    }
}

/// Watches nothing.
impl<M> TrainObserver<M> for () {}
