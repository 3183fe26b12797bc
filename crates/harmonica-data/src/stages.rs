//! Where the processors' time goes while a corpus is preprocessed.
//!
//! In: the work of one thread on one utterance, stage by stage; out: sums over all threads. Invariant: what is counted is the time
//! that threads computed, not the time that they waited.

use serde::Serialize;
use std::time::Duration;

/// Seconds of processor time by stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct StageSeconds {
    /// Reading and hashing files.
    pub read: f64,
    /// Decoding the audio format.
    pub decode: f64,
    /// Trimming, levelling and measuring.
    pub measure: f64,
    /// Encoding to codes.
    pub encode: f64,
    /// Writing shards.
    pub write: f64,
}

impl StageSeconds {
    /// Sum over all stages.
    pub fn total(&self) -> f64 {
        self.read + self.decode + self.measure + self.encode + self.write
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.decode += other.decode;
        self.measure += other.measure;
        self.encode += other.encode;
        self.write += other.write;
    }
}

/// Runs `work` and adds what it took to `seconds`.
pub(crate) fn clocked<T>(seconds: &mut f64, work: impl FnOnce() -> T) -> T {
    let before = thread_time();
    let done = work();
    *seconds += thread_time().saturating_sub(before).as_secs_f64();
    done
}

/// Processor time of this thread.
#[cfg(unix)]
fn thread_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

/// Time since the first call: the system has no clock of threads that is safe to read.
#[cfg(not(unix))]
fn thread_time() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computing_is_counted() {
        let mut seconds = 0.0;
        let sum = clocked(&mut seconds, || (0..20_000_000_u64).fold(0, |sum, n| sum ^ (n * n)));
        assert!(seconds > 0.0 && sum > 0, "{seconds}");
    }
}
