//! The log: `tracing` events to stderr, filtered by `HARMONICA_LOG`; kept back while the terminal shows something else.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

/// Bytes of kept back lines beyond which the oldest are dropped.
const MOST_HELD_BYTES: usize = 1 << 16;

/// Lines that are kept back; `None` where they go to stderr at once.
static HELD: Mutex<Option<Held>> = Mutex::new(None);

#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    n_dropped_lines: usize,
}

impl Held {
    fn keep(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let surplus = self.bytes.len().saturating_sub(MOST_HELD_BYTES);
        if surplus > 0 {
            // Whole lines, so that what is left can be read.
            let end = self.bytes[surplus - 1..].iter().position(|b| *b == b'\n');
            let cut = end.map_or(self.bytes.len(), |at| surplus + at);
            self.n_dropped_lines += self.bytes.drain(..cut).filter(|b| *b == b'\n').count();
        }
    }

    fn words(self) -> Vec<u8> {
        let said = match self.n_dropped_lines {
            0 => String::new(),
            n => format!("({n} earlier lines of the log were dropped)\n"),
        };
        [said.into_bytes(), self.bytes].concat()
    }
}

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match HELD.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(held) => held.keep(bytes),
            None => io::stderr().write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Sends `tracing` events of at least `level` (or what `HARMONICA_LOG` says) to stderr, in colours on a terminal alone. For binaries; a library never
/// calls it. A second call does nothing.
pub fn init_telemetry(level: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("HARMONICA_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(format!("warn,harmonica={level}")));
    let wants_colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(wants_colours && io::stderr().is_terminal())
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
    let _ = io::stderr().write_all(&held.unwrap_or_default().words());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_back_are_the_last_whole_lines_and_how_many_went_before() {
        hold_log();
        for i in 0..100 {
            Log.write_all(format!("{i:02} {}\n", "x".repeat(996)).as_bytes()).unwrap();
        }
        hold_log();
        // Nothing is left to be written among the tests' own lines.
        let held = HELD.lock().unwrap().replace(Held::default()).unwrap();
        release_log();
        assert!(HELD.lock().unwrap().is_none());
        let words = String::from_utf8(held.words()).unwrap();
        let lines: Vec<&str> = words.lines().collect();
        assert_eq!(lines[0], "(35 earlier lines of the log were dropped)");
        assert!(lines[1].starts_with("35 x") && lines.last().unwrap().starts_with("99 x"));
        assert_eq!(lines.len(), 66);
    }
}
