//! Where the processors' time goes while a corpus is preprocessed.
//!
//! In: the work of threads, stage by stage; out: sums over all threads. Invariant: where the system tells it, what is counted is
//! the time that threads computed, not the time that they waited. A codec that computes by threads of its own (EnCodec) makes stages
//! approximate: while a thread waits for it, it may do another row's work, which then counts for the stage that waits.

use serde::Serialize;
use std::time::Duration;

/// Seconds of processor time by stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct StageSeconds {
    /// Finding out what is to be made: hashing rows and settings, looking at every file.
    pub plan: f64,
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
    /// Judging all rows together, writing the report, putting the cache in its place and reading it back.
    pub finish: f64,
}

impl StageSeconds {
    /// Sum over all stages.
    pub fn total(&self) -> f64 {
        self.named().iter().map(|(_, seconds)| seconds).sum()
    }

    /// All stages with their names, in the order of the work.
    pub fn named(&self) -> [(&'static str, f64); 7] {
        let Self { plan, read, decode, measure, encode, write, finish } = *self;
        [
            ("plan", plan),
            ("read", read),
            ("decode", decode),
            ("measure", measure),
            ("encode", encode),
            ("write", write),
            ("finish", finish),
        ]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.plan += other.plan;
        self.read += other.read;
        self.decode += other.decode;
        self.measure += other.measure;
        self.encode += other.encode;
        self.write += other.write;
        self.finish += other.finish;
    }
}

/// Runs `work` and adds what this thread computed for it to `seconds`.
pub(crate) fn clocked<T>(seconds: &mut f64, work: impl FnOnce() -> T) -> T {
    by_clock(thread_time, seconds, work)
}

/// Runs `work` and adds what all threads of this process computed meanwhile to `seconds`.
pub(crate) fn clocked_all<T>(seconds: &mut f64, work: impl FnOnce() -> T) -> T {
    by_clock(process_time, seconds, work)
}

fn by_clock<T>(clock: fn() -> Duration, seconds: &mut f64, work: impl FnOnce() -> T) -> T {
    let before = clock();
    let done = work();
    *seconds += clock().saturating_sub(before).as_secs_f64();
    done
}

/// Processor time of this process since it began; elsewhere than on Unix, the time since the first call.
pub fn process_time() -> Duration {
    #[cfg(unix)]
    return told_by(rustix::time::ClockId::ProcessCPUTime);
    #[cfg(not(unix))]
    since_first_call()
}

fn thread_time() -> Duration {
    #[cfg(unix)]
    return told_by(rustix::time::ClockId::ThreadCPUTime);
    #[cfg(not(unix))]
    since_first_call()
}

#[cfg(unix)]
fn told_by(clock: rustix::time::ClockId) -> Duration {
    let time = rustix::time::clock_gettime(clock);
    let part = |n: i64| u64::try_from(n).unwrap_or(0);
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}

#[cfg(not(unix))]
fn since_first_call() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compute() -> u64 {
        (0..20_000_000_u64).fold(0, |sum, n| sum ^ (n * n))
    }

    #[test]
    fn computing_is_counted() {
        let mut seconds = 0.0;
        let sum = clocked(&mut seconds, compute);
        assert!(seconds > 0.0 && sum > 0, "{seconds}");
    }

    #[cfg(unix)]
    #[test]
    fn waiting_is_not_counted_and_other_threads_are_where_all_are_asked() {
        let mut waited = 0.0;
        clocked(&mut waited, || std::thread::sleep(Duration::from_millis(200)));
        assert!(waited < 0.1, "{waited}");
        let (mut own, mut all) = (0.0, 0.0);
        let work = || std::thread::scope(|scope| scope.spawn(compute).join());
        assert!(clocked_all(&mut all, || clocked(&mut own, work)).is_ok());
        assert!(own < all, "{own} {all}");
    }

    #[test]
    fn the_total_is_the_sum_of_all_stages() {
        let mut sum = StageSeconds { plan: 1.0, read: 2.0, finish: 4.0, ..StageSeconds::default() };
        sum.add(&StageSeconds { decode: 8.0, measure: 16.0, encode: 32.0, write: 64.0, ..sum });
        assert_eq!(sum.total(), 2.0 * 7.0 + 120.0);
    }
}
