//! Words for people on stderr and stdout, JSON for programs on stdout.

use crate::failure::Failure;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Instant;

/// Where results go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// Whether stdout is for programs.
    pub(crate) json: bool,
}

impl Output {
    /// The result of a command: JSON if asked for, else words.
    pub(crate) fn result<T: Serialize>(self, value: &T, words: &str) {
        let mut stdout = std::io::stdout().lock();
        // A closed pipe is the reader's decision, not an error.
        let _ = if self.json {
            writeln!(stdout, "{}", serde_json::to_string_pretty(value).unwrap_or_default())
        } else {
            writeln!(stdout, "{words}")
        };
    }

    /// A line for whoever watches.
    pub(crate) fn note(self, words: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{words}");
    }

    /// The object that programs get of a failure; nothing for people.
    pub(crate) fn tell_programs(self, failure: &Failure) {
        if !self.json {
            return;
        }
        let mut value = serde_json::json!({ "error": failure.message, "exit_code": failure.code });
        if !failure.problems.is_empty() {
            value["problems"] = serde_json::json!(failure.problems);
        }
        for (key, part) in &failure.result {
            value[key] = part.clone();
        }
        let _ = writeln!(std::io::stdout().lock(), "{value}");
    }

    /// Reports a failure and gives its exit code.
    pub(crate) fn fail(self, failure: &Failure) -> ExitCode {
        self.tell_programs(failure);
        self.note(&format!("error: {}", failure.message));
        ExitCode::from(failure.code)
    }
}

/// Progress of long work: a bar on a terminal, a plain line every few seconds elsewhere.
pub(crate) struct Meter {
    bar: ProgressBar,
    total: usize,
    what: &'static str,
    started: Instant,
    last: Instant,
    plain: bool,
}

impl Meter {
    pub(crate) fn new(total: usize, what: &'static str) -> Self {
        let plain = !std::io::stderr().is_terminal();
        let target = if plain { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(5) };
        let bar = ProgressBar::with_draw_target(Some(total as u64), target);
        if let Ok(style) = ProgressStyle::with_template(
            "{prefix} {bar:30} {human_pos}/{human_len} {per_sec} {eta} left {msg}",
        ) {
            bar.set_style(style);
        }
        bar.set_prefix(what);
        Self { bar, total, what, started: Instant::now(), last: Instant::now(), plain }
    }

    pub(crate) fn at(&mut self, done: usize) {
        self.at_with(done, "");
    }

    /// As [`Self::at`], with a remark.
    pub(crate) fn at_with(&mut self, done: usize, remark: &str) {
        self.bar.set_position(done as u64);
        self.bar.set_message(remark.to_owned());
        if self.plain && (self.last.elapsed().as_secs() >= 5 || done == self.total) {
            self.last = Instant::now();
            let rate = done as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
            let left = (self.total - done.min(self.total)) as f64 / rate.max(1e-9);
            let _ = writeln!(
                std::io::stderr().lock(),
                "{} {done}/{} {rate:.1}/s {left:.0} s left{}{remark}",
                self.what,
                self.total,
                if remark.is_empty() { "" } else { ", " }
            );
        }
        if done >= self.total {
            self.bar.finish_and_clear();
        }
    }
}
