//! Numbers that agree with ears, and a page that says so.
//!
//! In: waveforms with the texts they should say, and records of runs. Out: word errors by a recognizer that nobody here
//! wrote, failures with where and how much, prosody, and `report.md` / `report.html`, `compare.html`.
//! Invariant: what was not measured is absent, never zero.

mod activity;
mod centred_frames;
mod comparison;
mod criteria;
mod error;
mod failures;
mod gate;
mod ge2e;
mod html;
mod judgement;
#[cfg(feature = "onnx")]
mod kaldi_frames;
#[cfg(feature = "onnx")]
mod onnx;
#[cfg(feature = "onnx")]
mod onnx_input;
mod picture;
mod prosody;
mod quality;
mod repeats;
mod report;
mod slaney;
mod speaker;
mod statistics;
mod suite;
#[cfg(test)]
mod suite_tests;
mod transcriber;
#[cfg(feature = "whisper")]
mod whisper;
#[cfg(feature = "whisper")]
mod whisper_config;
#[cfg(feature = "whisper")]
mod whisper_features;
mod word_errors;

pub use comparison::{ComparisonInput, write_comparison};
pub use criteria::{CheckpointSelection, CriteriaInput, criteria};
pub use error::EvalError;
pub use failures::{FailureInput, FailureKind, TokenTrack, find_failures};
pub use gate::{GateLimits, check_comparable, gate};
pub use ge2e::LstmEmbedder;
pub use html::ALIGNMENT;
pub use judgement::{JudgementInput, judge_utterance};
#[cfg(feature = "onnx")]
pub use onnx::{OnnxEmbedder, OnnxPredictor};
pub use picture::alignment_bmp;
pub use prosody::measure_prosody;
pub use quality::{QualityPredictor, predicted_opinions};
pub use report::{ReportInput, RunCurves, report_html, report_markdown, write_report};
pub use speaker::{
    SpeakerEmbedder, SpectralStatistics, VoiceBank, similarity_of_system, summarise_similarity,
    vector_of_file,
};
pub use statistics::{Judged, summarise};
pub use suite::{EvalSuite, Recording, Sentence, parse_recordings};
pub use transcriber::{CommandTranscriber, Transcriber};
#[cfg(feature = "whisper")]
pub use whisper::WhisperTranscriber;
pub use word_errors::{EditCounts, character_errors, comparison_normalizer, word_error_rate, word_errors};
