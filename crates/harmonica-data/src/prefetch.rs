//! Batches prepared ahead, in order.
//!
//! In: a function of a position; out: its results for one position after the other. Invariant: what comes out does not depend
//! on the number of threads.

use harmonica_config_schema::BatchConfig;
use std::sync::mpsc::{Receiver, RecvError, sync_channel};

/// Results in order of their positions. Dropping it ends the threads.
#[derive(Debug)]
pub struct Prefetch<T> {
    /// One a thread, asked in turn.
    receivers: Vec<Receiver<T>>,
    next: std::cell::Cell<usize>,
}

impl<T> Prefetch<T> {
    /// The result of the next position.
    ///
    /// # Errors
    /// The end of all positions, or of the thread that was to make this one.
    pub fn recv(&self) -> Result<T, RecvError> {
        let at = self.next.get();
        self.next.set((at + 1) % self.receivers.len());
        self.receivers[at].recv()
    }
}

/// Runs `make` for positions `first..end` on threads of its own, every position on one of them, at most `prefetch_batches`
/// results in advance.
pub fn prefetch<T: Send + 'static>(
    first: u64,
    end: u64,
    config: &BatchConfig,
    make: impl FnMut(u64) -> T + Clone + Send + 'static,
) -> Prefetch<T> {
    let workers = config.workers.max(1);
    let ahead = config.prefetch_batches.div_ceil(workers).max(1);
    let receivers = (0..workers as u64).map(|worker| {
        let (sender, receiver) = sync_channel(ahead);
        let mut make = make.clone();
        std::thread::spawn(move || {
            for position in (first + worker..end).step_by(workers) {
                if sender.send(make(position)).is_err() {
                    break;
                }
            }
        });
        receiver
    });
    Prefetch { receivers: receivers.collect(), next: std::cell::Cell::new(0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BatchPlan;

    /// Batches from a position on, as so many threads prepare them.
    fn stream(plan: &BatchPlan, first: u64, workers: usize) -> Vec<(u64, Vec<usize>)> {
        let config = BatchConfig { workers, ..BatchConfig::default() };
        let mut plan = plan.clone();
        let batches = prefetch(first, 300, &config, move |position| plan.batch(position));
        std::iter::from_fn(|| batches.recv().ok()).collect()
    }

    #[test]
    fn the_stream_is_the_same_for_any_number_of_threads_and_from_any_update_on() {
        let config = BatchConfig { max_frames: 400, length_pool: 64, ..BatchConfig::default() };
        let uniform = BatchPlan::new((0..500).map(|i| (i, 20 + (i * 37) % 60)).collect(), &config, 3);
        let balanced = crate::strata::balanced_plan(&config, 3);
        for plan in [uniform, balanced] {
            let whole = stream(&plan, 0, 1);
            assert_eq!(whole.len(), 300);
            for workers in [1, 2, 8] {
                for first in [0, 1, 7, 150, 299] {
                    assert_eq!(
                        stream(&plan, first, workers),
                        whole[first as usize..],
                        "{workers} from {first}"
                    );
                }
            }
        }
    }
}
