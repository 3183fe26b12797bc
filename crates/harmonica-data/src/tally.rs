//! What is done so far, counted by several threads and told to somebody.
//!
//! In: rows and shards as they are done; out: an [`Effort`]. Invariant: whoever listens hears every change, one at a time.

use crate::shard::ShardRow;
use crate::stages::StageSeconds;
use serde::Serialize;
use std::sync::{Mutex, PoisonError};

/// What was done so far by this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Effort {
    /// Rows of the corpus that this process is to see to, if no other does.
    pub rows: usize,
    /// Rows done, by this process or found done.
    pub rows_done: usize,
    /// Rows that were decoded anew.
    pub rows_decoded: usize,
    /// Rows that an earlier cache knew.
    pub rows_reused: usize,
    /// Shards made by this process.
    pub shards_made: usize,
    /// Seconds of audio decoded anew.
    pub audio_s: f64,
    /// Processor seconds by stage.
    pub stages: StageSeconds,
}

/// Counts what several threads do and tells somebody.
pub(crate) struct Tally<P>(Mutex<(Effort, P)>);

impl<P: FnMut(&Effort) + Send> Tally<P> {
    pub(crate) fn new(rows: usize, progress: P) -> Self {
        Self(Mutex::new((Effort { rows, ..Effort::default() }, progress)))
    }

    pub(crate) fn add(&self, change: impl FnOnce(&mut Effort)) {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (effort, progress) = &mut *guard;
        change(effort);
        progress(effort);
    }

    pub(crate) fn row(&self, row: &ShardRow, is_reused: bool, seconds: &StageSeconds) {
        self.add(|effort| {
            effort.rows_done += 1;
            effort.stages.add(seconds);
            if is_reused {
                effort.rows_reused += 1;
            } else {
                effort.rows_decoded += 1;
                effort.audio_s += row.stats.map_or(0.0, |stats| stats.duration_s);
            }
        });
    }

    pub(crate) fn effort(self) -> Effort {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).0
    }
}
