//! Batches prepared ahead, in order.

use std::sync::mpsc::{Receiver, sync_channel};

/// Runs `make` for positions `first..end` on a thread of its own, at most `ahead` results in advance, and hands them over
/// in order. Dropping the receiver ends the thread.
pub fn prefetch<T: Send + 'static>(
    first: u64,
    end: u64,
    ahead: usize,
    mut make: impl FnMut(u64) -> T + Send + 'static,
) -> Receiver<T> {
    let (sender, receiver) = sync_channel(ahead.max(1));
    std::thread::spawn(move || {
        for position in first..end {
            if sender.send(make(position)).is_err() {
                break;
            }
        }
    });
    receiver
}
