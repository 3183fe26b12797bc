//! What a Whisper model's two configurations say.
//!
//! In: `config.json` and `generation_config.json` as Hugging Face has them; out: the shape of the model and how words are written.
//! Invariant: a shape that is read can be built, and nothing that words depend on is guessed.

use crate::whisper_features::N_FRAMES;
use candle_transformers::models::whisper::Config;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Numbers of mel bands that a model may have: Whisper's have 80 or 128.
const BANDS: RangeInclusive<usize> = 1..=256;
/// Begins what is written.
const START: &str = "<|startoftranscript|>";
/// Ends it.
const END: &str = "<|endoftext|>";
/// Says that no timestamps are written; the symbols behind it are timestamps.
const NO_TIMESTAMPS: &str = "<|notimestamps|>";
const ENGLISH: &str = "<|en|>";

/// What `generation_config.json` says of how words are written.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Generation {
    decoder_start_token_id: u32,
    pub(crate) eos_token_id: u32,
    pub(crate) no_timestamps_token_id: u32,
    #[serde(default)]
    is_multilingual: Option<bool>,
    #[serde(default)]
    lang_to_id: BTreeMap<String, u32>,
    #[serde(default)]
    task_to_id: BTreeMap<String, u32>,
    #[serde(default)]
    pub(crate) suppress_tokens: Option<Vec<u32>>,
    #[serde(default)]
    pub(crate) begin_suppress_tokens: Option<Vec<u32>>,
}

impl Generation {
    /// What is written before the first word: symbols and their ids.
    ///
    /// # Errors
    /// A model that does not say whether it is multilingual, or a multilingual one without English.
    pub(crate) fn prompt(&self) -> Result<Vec<(&'static str, u32)>, String> {
        let mut prompt = vec![(START, self.decoder_start_token_id)];
        let is_multilingual = self.is_multilingual.ok_or(
            "it does not say `is_multilingual`; add it: false for a model of English alone (its name ends in `.en`), true for all others",
        )?;
        if is_multilingual {
            for (ids, name, symbol) in
                [(&self.lang_to_id, ENGLISH, ENGLISH), (&self.task_to_id, "transcribe", "<|transcribe|>")]
            {
                let id = ids.get(name).ok_or_else(|| format!("it has no id of `{name}`"))?;
                prompt.push((symbol, *id));
            }
        }
        prompt.push((NO_TIMESTAMPS, self.no_timestamps_token_id));
        Ok(prompt)
    }

    /// What ends the words.
    pub(crate) fn end(&self) -> (&'static str, u32) {
        (END, self.eos_token_id)
    }
}

/// The shape of a model.
///
/// # Errors
/// No JSON of a Whisper model, or a shape that no model can have, by key.
pub(crate) fn config(bytes: &[u8]) -> Result<Config, String> {
    let mut value: serde_json::Value = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    if let Some(keys) = value.as_object_mut() {
        // It may be null, which candle does not read; what counts stands in generation_config.json.
        keys.remove("suppress_tokens");
    }
    let config: Config = serde_json::from_value(value).map_err(|e| e.to_string())?;
    if config.max_source_positions != N_FRAMES / 2 {
        return Err(format!("max_source_positions is {}, not {}", config.max_source_positions, N_FRAMES / 2));
    }
    if !BANDS.contains(&config.num_mel_bins) {
        return Err(format!("num_mel_bins is {}, not {BANDS:?}", config.num_mel_bins));
    }
    // Positions are sines and cosines in pairs, two at least.
    let width = config.d_model;
    if width < 4 || !width.is_multiple_of(2) {
        return Err(format!("d_model is {width}, not an even number from 4"));
    }
    let heads = [
        ("encoder_attention_heads", config.encoder_attention_heads),
        ("decoder_attention_heads", config.decoder_attention_heads),
    ];
    for (key, n) in heads {
        if n == 0 || !width.is_multiple_of(n) {
            return Err(format!("{key} is {n}, which does not divide d_model = {width}"));
        }
    }
    Ok(config)
}
