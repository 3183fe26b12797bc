//! Results on stdout, as JSON for programs or as words for people; everything else on stderr.

use serde_json::Value;
use std::io::Write;

/// Prints a result: JSON if asked for, else words. A closed pipe is the reader's decision.
pub(crate) fn print(json: bool, value: &Value, words: &str) {
    let mut stdout = std::io::stdout().lock();
    let text = if json { serde_json::to_string_pretty(value).unwrap_or_default() } else { words.to_owned() };
    let _ = writeln!(stdout, "{text}");
}

/// A line for whoever watches.
pub(crate) fn note(words: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{words}");
}
