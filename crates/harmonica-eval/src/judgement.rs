//! One waveform to its record: length, failures, prosody. Word errors are added once a recognizer was asked.
//!
//! Invariant: the same waveform, text and natural reading give the same record.

use crate::failures::{FailureInput, TokenTrack, find_failures};
use crate::prosody::measure_prosody;
use harmonica_audio::Waveform;
use harmonica_config_schema::record::{JudgedUtterance, Prosody};
use std::collections::BTreeMap;

/// What is judged, and what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct JudgementInput<'a> {
    /// Identifier in the suite.
    pub id: &'a str,
    /// Its path as the record names it.
    pub path: &'a str,
    /// What it should say.
    pub text: &'a str,
    /// Speaker, empty if unknown.
    pub speaker: &'a str,
    /// The sound.
    pub waveform: &'a Waveform,
    /// A natural reading of the same text by the same speaker, if there is one.
    pub natural: Option<&'a Waveform>,
    /// Codes of codebook 1 that it was decoded from, if there are any.
    pub tokens: Option<TokenTrack<'a>>,
}

/// Judges one waveform.
pub fn judge_utterance(input: &JudgementInput<'_>) -> JudgedUtterance {
    let mut record = unmeasured(input.path, input.text, input.waveform.duration_s());
    record.id = input.id.to_owned();
    record.speaker = input.speaker.to_owned();
    record.failure_findings = find_failures(&FailureInput {
        waveform: input.waveform,
        text: Some(input.text),
        tokens: input.tokens,
    });
    for finding in &record.failure_findings {
        if !record.failures.contains(&finding.failure) {
            record.failures.push(finding.failure.clone());
        }
    }
    let prosody = measure_prosody(input.waveform, input.text, input.natural);
    record.prosody = (prosody != Prosody::default()).then_some(prosody);
    record
}

/// A record in which nothing is measured but the length, in seconds.
pub(crate) fn unmeasured(path: &str, text: &str, duration_s: f64) -> JudgedUtterance {
    JudgedUtterance {
        id: path.to_owned(),
        path: path.to_owned(),
        text: text.to_owned(),
        speaker: String::new(),
        heard: None,
        word_errors: None,
        n_words: text.split_whitespace().count(),
        duration_s,
        failures: Vec::new(),
        failure_findings: Vec::new(),
        character_errors: None,
        prosody: None,
        mos: BTreeMap::new(),
        mel_distance: None,
    }
}

/// Means of the figures over the utterances that have them; absent if none has any.
pub(crate) fn mean_prosody(utterances: &[JudgedUtterance]) -> Option<Prosody> {
    let all: Vec<&Prosody> = utterances.iter().filter_map(|u| u.prosody.as_ref()).collect();
    let mean = |pick: fn(&Prosody) -> Option<f64>| {
        let values: Vec<f64> = all.iter().filter_map(|p| pick(p)).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    (!all.is_empty()).then(|| Prosody {
        f0_median_hz: mean(|p| p.f0_median_hz),
        f0_spread_semitones: mean(|p| p.f0_spread_semitones),
        voiced_ratio: mean(|p| p.voiced_ratio),
        active_s: mean(|p| p.active_s),
        characters_per_s: mean(|p| p.characters_per_s),
        n_pauses: mean(|p| p.n_pauses),
        pauses_s: mean(|p| p.pauses_s),
        f0_error_cents: mean(|p| p.f0_error_cents),
    })
}
