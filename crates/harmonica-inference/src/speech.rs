//! What a synthesis gives.

use crate::InferenceError;
use harmonica_audio::{Waveform, save};
use harmonica_model_core::decode::TextAttention;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Why speech ended where it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The model wrote the end of speech.
    EndOfSpeech,
    /// The bound from the text's length was reached; the end may be missing or babble.
    LengthBound,
    /// A loop could not be left by drawing again; the sentence was cut where the loop began.
    Loop,
    /// The caller asked to stop.
    Cancelled,
}

/// Spoken text.
#[derive(Debug, Clone, PartialEq)]
pub struct Speech {
    /// The sound.
    pub waveform: Waveform,
    /// Codes, codebook by codebook `[Q][T]`.
    pub codes: Vec<Vec<i32>>,
    /// The text as it was read.
    pub normalized_text: String,
    /// Why it ended.
    pub stop: StopReason,
    /// What the AR model's heads looked at in the text while they wrote each frame.
    pub attention: TextAttention,
    /// What a listener should know, such as words that the model never heard.
    pub warnings: Vec<String>,
}

impl Speech {
    /// Writes a 16-bit WAV file.
    ///
    /// # Errors
    /// A path that cannot be written to.
    pub fn save(&self, path: &Path) -> Result<(), InferenceError> {
        Ok(save(path, &self.waveform)?)
    }
}
