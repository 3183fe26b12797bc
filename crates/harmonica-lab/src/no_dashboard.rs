//! Where the dashboard stands in a program that was built without it (feature `tui`): there never is one.

use harmonica_config_schema::record::{RunEvent, TrainMetrics, ValidationMetrics};
use harmonica_training::Progress;

/// No value of this type exists.
pub(crate) enum Dashboard {}

impl Dashboard {
    /// None: lines are plain.
    pub(crate) fn open() -> Option<Self> {
        None
    }

    pub(crate) fn asks_to_stop(&self) -> bool {
        match *self {}
    }

    pub(crate) fn train(&mut self, _model: &str, _metrics: &TrainMetrics, _progress: Progress) {
        match *self {}
    }

    pub(crate) fn validation(&mut self, _metrics: &ValidationMetrics) {
        match *self {}
    }

    pub(crate) fn event(&mut self, _event: &RunEvent) {
        match *self {}
    }
}
