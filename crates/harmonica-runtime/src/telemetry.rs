//! The log: `tracing` events to stderr, filtered by `HARMONICA_LOG`; kept back while the terminal shows something else.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

/// Bytes of kept back lines beyond which the oldest are dropped.
const MOST_HELD_BYTES: usize = 1 << 16;

/// Lines that are kept back; `None` where they go to stderr at once.
static HELD: Mutex<Option<Vec<u8>>> = Mutex::new(None);

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match HELD.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(held) => {
                held.extend(bytes);
                let surplus = held.len().saturating_sub(MOST_HELD_BYTES);
                held.drain(..surplus);
            }
            None => io::stderr().write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Sends `tracing` events of at least `level` (or what `HARMONICA_LOG` says) to stderr. For binaries; a library never
/// calls it. A second call does nothing.
pub fn init_telemetry(level: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("HARMONICA_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(format!("warn,harmonica={level}")));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Log)
        .with_target(false)
        .without_time();
    // Fails only if a subscriber is installed already, which then stays in charge.
    let _ = subscriber.try_init();
}

/// Keeps the log from stderr until [`release_log`], for programs that draw on the terminal; of very much, the end is kept.
pub fn hold_log() {
    HELD.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default();
}

/// Writes what was kept back, and sends the log to stderr again.
pub fn release_log() {
    let held = HELD.lock().unwrap_or_else(PoisonError::into_inner).take();
    // A closed stderr is the reader's decision.
    let _ = io::stderr().write_all(&held.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_back_is_the_end_of_what_was_written() {
        hold_log();
        let line = [b'x'; 1000];
        (0..100).for_each(|_| Log.write_all(&line).unwrap());
        Log.write_all(b"the last line\n").unwrap();
        hold_log();
        let held = HELD.lock().unwrap().clone().unwrap();
        assert_eq!(held.len(), MOST_HELD_BYTES);
        assert!(held.ends_with(b"xthe last line\n"));
        // Nothing is left to be written among the tests' own lines.
        *HELD.lock().unwrap() = Some(Vec::new());
        release_log();
        assert!(HELD.lock().unwrap().is_none());
    }
}
