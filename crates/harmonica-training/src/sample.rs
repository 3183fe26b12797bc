//! One utterance as a model is asked to speak it, so that observers can hear what it has learned.

use crate::ar_task::{frames, prompts, texts};
use harmonica_data::TokenBatch;
use harmonica_model_core::Prompt;

/// What is given to a model that speaks, and the codes of the recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Symbol ids; behind those of the prompt where its transcript is known.
    pub text: Vec<i32>,
    /// How many of them stand before the text itself.
    pub n_transcript: usize,
    /// Speaker.
    pub speaker: i32,
    /// Frames of the speaker's voice, where the model takes some.
    pub prompt: Option<Prompt>,
    /// The recording's own codes `[Q][T]`.
    pub codes: Vec<Vec<i32>>,
}

impl Sample {
    /// The first utterance of a batch.
    pub(crate) fn of(batch: &TokenBatch) -> Self {
        Self {
            text: texts(batch).swap_remove(0),
            n_transcript: batch.n_transcript(0),
            speaker: batch.speakers[0],
            prompt: prompts(batch),
            codes: (0..batch.n_codebooks).map(|q| frames(batch, 0, q)).collect(),
        }
    }

    /// Codebook 1 of the prompt; empty without one.
    pub fn first_of_prompt(&self) -> &[i32] {
        self.prompt.as_ref().map_or(&[], |prompt| &prompt.codes[0][0])
    }
}
