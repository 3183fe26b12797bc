//! Codebook 1, frame by frame.
//!
//! Invariant: no utterance outlives the bound that its text gives; the draw of a frame is a function of (seed, frame, attempt).

use crate::decode::alignment::{Reader, TextAttention};
use crate::decode::filter::{LogitFilter, draw, log_sum_exp, penalise};
use crate::decode::guard::{Advice, LoopEvent, LoopGuard};
use crate::{ArModel, ModelError};
use harmonica_config_schema::{ArDecodeConfig, RandomStream};

/// Why writing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArStop {
    /// The model wrote the end of speech.
    EndOfSpeech,
    /// The bound from the text's length was reached.
    LengthBound,
    /// A loop was drawn again in vain; what repeats was cut.
    Loop,
}

/// What the AR model wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct ArOutput {
    /// Codes of codebook 1.
    pub codes: Vec<i32>,
    /// Why it ended.
    pub stop: ArStop,
    /// Mean log-probability of the written codes and of the end of speech, where it was reached, in nats.
    pub mean_log_probability: f64,
    /// Loops that were taken back and drawn again.
    pub loops: Vec<LoopEvent>,
    /// What the heads looked at while they wrote each code.
    pub attention: TextAttention,
}

/// What an utterance is written from.
#[derive(Debug, Clone, Copy)]
pub struct ArRequest<'a> {
    /// Symbols: of the prompt's transcript and a separator, where there is one, then of the text.
    pub text: &'a [i32],
    /// How many symbols stand before the text itself; they are not spoken.
    pub n_transcript: usize,
    /// Speaker (`speaker = "embedding"`).
    pub speaker: i32,
    /// Codebook 1 of the reference (`speaker = "prompt"`).
    pub prompt: &'a [i32],
}

impl<'a> ArRequest<'a> {
    /// A text in the voice of a speaker that the model knows by name.
    pub fn new(text: &'a [i32], speaker: i32) -> Self {
        Self { text, n_transcript: 0, speaker, prompt: &[] }
    }
}

/// Draws codebook 1.
#[derive(Debug, Clone)]
pub struct ArDecoder {
    config: ArDecodeConfig,
}

impl ArDecoder {
    /// A decoder with these settings.
    pub fn new(config: ArDecodeConfig) -> Self {
        Self { config }
    }

    /// Fewest and most frames for a text of `n_symbols`.
    pub fn bounds(&self, n_symbols: usize) -> (usize, usize) {
        let frames = |rate: f64| (rate * n_symbols as f64).ceil() as usize;
        (frames(self.config.min_frames_per_char).max(1), frames(self.config.max_frames_per_char).max(8))
    }

    /// Writes one utterance. `on_frame` hears how many frames are written (fewer than before where a loop is taken back); it
    /// returns false to cancel.
    ///
    /// # Errors
    /// A text or prompt that the model has no positions for.
    pub fn decode(
        &self,
        model: &ArModel,
        request: &ArRequest<'_>,
        seed: u64,
        mut on_frame: impl FnMut(usize) -> bool,
    ) -> Result<ArOutput, ModelError> {
        let ArRequest { text, n_transcript, speaker, prompt } = *request;
        let (min_frames, max_frames) = self.bounds(text.len().saturating_sub(n_transcript));
        let max_frames = max_frames.min(model.max_frames().saturating_sub(prompt.len()));
        let mut cache = model.start(text, speaker, prompt)?;
        let start = cache.position();
        let mut guard = LoopGuard::new(&self.config);
        let mut codes: Vec<i32> = Vec::new();
        // Log-probability of each written code, so that what is taken back counts no more.
        let mut log_probabilities: Vec<f64> = Vec::new();
        let mut attention = TextAttention::new(model.n_text_heads(), text.len());
        let mut reader = Reader::default();
        let (mut last, mut stop) = (model.bos(), ArStop::LengthBound);
        while codes.len() < max_frames {
            let (mut scores, weights) = model.step_attending(&mut cache, last);
            if codes.len() < min_frames {
                scores[model.eos()] = f32::NEG_INFINITY;
            }
            let attempt = guard.attempt_at(codes.len());
            let mut stream = RandomStream::new(seed, "ar decode", &stream_key(codes.len(), attempt));
            let code = self.draw(&scores, &codes, attempt, &mut stream);
            log_probabilities.push(f64::from(scores[code]) - log_sum_exp(&scores));
            if code == model.eos() {
                stop = ArStop::EndOfSpeech;
                break;
            }
            codes.push(code as i32);
            attention.push(&weights);
            reader.push(&attention.total(codes.len() - 1));
            last = code;
            match guard.look(&codes, reader.stay_frames()) {
                Advice::Write => {}
                Advice::Rewind(kept) => {
                    codes.truncate(kept);
                    log_probabilities.truncate(kept);
                    attention.truncate(kept);
                    reader.truncate(kept);
                    // The last kept code is fed anew: the cache holds what stood before it.
                    cache.rewind(start + kept);
                    last = codes[kept - 1] as usize;
                }
                Advice::Cut(kept) => {
                    codes.truncate(kept);
                    log_probabilities.truncate(kept);
                    stop = ArStop::Loop;
                    break;
                }
            }
            if !on_frame(codes.len()) {
                break;
            }
        }
        attention.truncate(codes.len());
        let mean = log_probabilities.iter().sum::<f64>() / log_probabilities.len().max(1) as f64;
        Ok(ArOutput { codes, stop, mean_log_probability: mean, loops: guard.events, attention })
    }

    /// One code; each `attempt` at a place that looped is warmer than the one before.
    fn draw(&self, scores: &[f32], codes: &[i32], attempt: usize, stream: &mut RandomStream) -> usize {
        let config = &self.config;
        let window = &codes[codes.len().saturating_sub(config.repetition_window)..];
        let mut shaped = scores.to_vec();
        penalise(&mut shaped, window, config.repetition_penalty);
        let temperature = match attempt {
            0 => config.temperature,
            n => config.temperature.max(0.5) * (1.0 + 0.3 * (n - 1) as f64),
        };
        let filter = LogitFilter { temperature, top_k: config.top_k, top_p: config.top_p };
        let code = draw(&filter.distribution(&shaped), stream);
        // Repetition-aware sampling: a code that fills the window is drawn again from all codes.
        let repeated = window.iter().filter(|c| **c == code as i32).count();
        let share = config.repetition_share * config.repetition_window as f64;
        if temperature > 0.0 && config.repetition_window > 0 && repeated as f64 > share {
            return draw(&LogitFilter::PLAIN.distribution(&shaped), stream);
        }
        code
    }
}

/// The first attempt has the key that decoding without a guard has.
fn stream_key(frame: usize, attempt: usize) -> Vec<u64> {
    if attempt == 0 { vec![frame as u64] } else { vec![frame as u64, attempt as u64] }
}
