//! Where the processors' time goes while a corpus is preprocessed.
//!
//! In: the work of one thread on one utterance, stage by stage; out: sums over all threads. Invariant: where the
//! system tells it, what is counted is the time that threads computed, not the time that they waited.

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

/// Processor time of this thread, as Linux tells it; elsewhere the time since the first call.
fn thread_time() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|words| words.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| START.get_or_init(std::time::Instant::now).elapsed(), Duration::from_nanos)
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
