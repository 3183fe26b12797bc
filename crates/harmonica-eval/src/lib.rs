//! Numbers that agree with ears, and a page that says so.
//!
//! In: waveforms with the texts they should say, and records of runs. Out: word errors by a recognizer that nobody here
//! wrote, failures with where and how much, prosody, and `report.md` / `report.html`, `compare.html`.
//! Invariant: what was not measured is absent, never zero.

mod activity;
mod comparison;
mod error;
mod failures;
mod html;
mod judgement;
mod picture;
mod prosody;
mod repeats;
mod report;
mod statistics;
mod suite;
mod transcriber;
mod word_errors;

pub use comparison::{ComparisonInput, write_comparison};
pub use error::EvalError;
pub use failures::{FailureInput, FailureKind, TokenTrack, find_failures};
pub use judgement::{JudgementInput, judge_utterance};
pub use prosody::measure_prosody;
pub use report::{ReportInput, RunCurves, report_html, report_markdown, write_report};
pub use statistics::{Judged, summarise};
pub use suite::{EvalSuite, Recording, Sentence, parse_recordings};
pub use transcriber::{CommandTranscriber, Transcriber};
pub use word_errors::{EditCounts, character_errors, comparison_normalizer, word_error_rate, word_errors};
