//! Whisper (Radford et al. 2022) as a recognizer, by candle.
//!
//! In: a directory or a hub's repository in the layout of Hugging Face (`config.json`, `generation_config.json`, `model.safetensors`, `tokenizer.json`)
//! and recordings; out: English words. Recordings are heard in stretches of 30 seconds, without timestamps, the likeliest symbol
//! each time. Invariant: what is heard in a recording does not depend on the others.

use crate::whisper_features::{N_FRAMES, N_SAMPLES, RATE_HZ, WhisperFeatures};
use crate::{EvalError, Transcriber};
use candle_core::{DType, Device, IndexOp, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::whisper::Config;
use candle_transformers::models::whisper::model::Whisper;
use harmonica_audio::{load, resample};
use harmonica_config_schema::Fingerprint;
use harmonica_storage::Hub;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tokenizers::Tokenizer;

const CONFIG: &str = "config.json";
const GENERATION: &str = "generation_config.json";
const WEIGHTS: &str = "model.safetensors";
const TOKENIZER: &str = "tokenizer.json";

/// What `generation_config.json` says of how words are written.
#[derive(Debug, Clone, Deserialize)]
struct Generation {
    decoder_start_token_id: u32,
    eos_token_id: u32,
    no_timestamps_token_id: u32,
    #[serde(default)]
    is_multilingual: bool,
    #[serde(default)]
    lang_to_id: BTreeMap<String, u32>,
    #[serde(default)]
    task_to_id: BTreeMap<String, u32>,
    #[serde(default)]
    suppress_tokens: Option<Vec<u32>>,
    #[serde(default)]
    begin_suppress_tokens: Option<Vec<u32>>,
}

impl Generation {
    /// What is written before the first word.
    fn prompt(&self) -> Result<Vec<u32>, String> {
        let mut prompt = vec![self.decoder_start_token_id];
        if self.is_multilingual {
            for (ids, name) in [(&self.lang_to_id, "<|en|>"), (&self.task_to_id, "transcribe")] {
                prompt.push(*ids.get(name).ok_or_else(|| format!("it has no id of `{name}`"))?);
            }
        }
        prompt.push(self.no_timestamps_token_id);
        Ok(prompt)
    }
}

/// The shape of a model.
fn config(bytes: &[u8]) -> Result<Config, serde_json::Error> {
    let mut value: serde_json::Value = serde_json::from_slice(bytes)?;
    if let Some(keys) = value.as_object_mut() {
        // It may be null, which candle does not read; what counts stands in generation_config.json.
        keys.remove("suppress_tokens");
    }
    serde_json::from_value(value)
}

/// The recognizer.
pub struct WhisperTranscriber {
    name: String,
    dir: PathBuf,
    model: Whisper,
    features: WhisperFeatures,
    tokenizer: Tokenizer,
    generation: Generation,
    prompt: Vec<u32>,
}

impl WhisperTranscriber {
    /// Opens a directory, or a repository of the Hugging Face hub (`hf://org/name`).
    ///
    /// # Errors
    /// A file that is missing, malformed, or does not fit the others, by name; a repository that is not here and cannot be fetched.
    pub fn open(place: &Path) -> Result<Self, EvalError> {
        let wanted: [&[&str]; 4] = [&[CONFIG], &[GENERATION], &[WEIGHTS], &[TOKENIZER]];
        let dir = &Hub::from_environment().locate(place, &wanted)?;
        let refuse = |file: &str, reason: String| EvalError::RecognizerModel { path: dir.join(file), reason };
        let read = |file: &str| {
            std::fs::read(dir.join(file)).map_err(|error| {
                let files = [CONFIG, GENERATION, WEIGHTS, TOKENIZER].join(", ");
                refuse(file, format!("{error}; give a directory with {files} (one file of weights)"))
            })
        };
        let config = config(&read(CONFIG)?).map_err(|e| refuse(CONFIG, e.to_string()))?;
        if config.max_source_positions * 2 != N_FRAMES {
            let n = config.max_source_positions;
            return Err(refuse(CONFIG, format!("max_source_positions is {n}, not {}", N_FRAMES / 2)));
        }
        let generation: Generation =
            serde_json::from_slice(&read(GENERATION)?).map_err(|e| refuse(GENERATION, e.to_string()))?;
        let prompt = generation.prompt().map_err(|reason| refuse(GENERATION, reason))?;
        let n_symbols = config.vocab_size as u32;
        let beyond = prompt.iter().chain([&generation.eos_token_id]).find(|id| **id >= n_symbols);
        if let Some(id) = beyond {
            let reason = format!("symbol {id} is not among the {n_symbols} of {CONFIG}");
            return Err(refuse(GENERATION, reason));
        }
        let tokenizer =
            Tokenizer::from_bytes(read(TOKENIZER)?).map_err(|e| refuse(TOKENIZER, e.to_string()))?;
        let weights = read(WEIGHTS)?;
        let folder = std::path::absolute(place).ok().and_then(|d| Some(d.file_name()?.to_owned()));
        let folder = folder.map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let name = format!("whisper {folder} {}", Fingerprint::of_bytes(&weights));
        let features = WhisperFeatures::new(config.num_mel_bins);
        let model = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu)
            .and_then(|tensors| Whisper::load(&tensors, config))
            .map_err(|e| refuse(WEIGHTS, e.to_string()))?;
        Ok(Self { name, dir: dir.to_owned(), model, features, tokenizer, generation, prompt })
    }

    /// Symbols written of 30 seconds of sound at most, without the prompt and the end.
    fn symbols(&self, samples: &[f32], limit: usize) -> candle_core::Result<Vec<u32>> {
        let mut model = self.model.clone();
        model.reset_kv_cache();
        let bands = model.config.num_mel_bins;
        let mel = Tensor::from_vec(self.features.of(samples), (1, bands, N_FRAMES), &Device::Cpu)?;
        let heard = model.encoder.forward(&mel, true)?;
        let mut written = self.prompt.clone();
        let limit = (written.len() + limit).min(model.config.max_target_positions);
        while written.len() < limit {
            let is_first = written.len() == self.prompt.len();
            let input = Tensor::new(written.as_slice(), &Device::Cpu)?.unsqueeze(0)?;
            let states = model.decoder.forward(&input, &heard, is_first)?;
            let last = states.i((.., written.len() - 1.., ..))?;
            let scores: Vec<f32> = model.decoder.final_linear(&last)?.flatten_all()?.to_vec1()?;
            let next = self.likeliest(&scores, is_first);
            if next == self.generation.eos_token_id {
                break;
            }
            written.push(next);
        }
        Ok(written.split_off(self.prompt.len()))
    }

    /// The likeliest symbol that may be written, the first one of equals.
    fn likeliest(&self, scores: &[f32], is_first: bool) -> u32 {
        let g = &self.generation;
        let at_first = g.begin_suppress_tokens.as_deref().filter(|_| is_first).unwrap_or_default();
        let always = g.suppress_tokens.as_deref().unwrap_or_default();
        let mut best = (g.eos_token_id, f32::NEG_INFINITY);
        for (id, score) in scores.iter().enumerate() {
            let id = id as u32;
            if *score > best.1 && !always.contains(&id) && !at_first.contains(&id) {
                best = (id, *score);
            }
        }
        best.0
    }

    fn hear(&self, wav: &Path) -> Result<String, EvalError> {
        let waveform = resample(&load(wav)?, RATE_HZ)?;
        let failed = |reason: String| EvalError::Recognizer { command: self.name.clone(), reason };
        let mut words = Vec::new();
        for stretch in waveform.samples().chunks(N_SAMPLES) {
            let symbols = self
                .symbols(stretch, usize::MAX - self.prompt.len())
                .map_err(|e| failed(format!("`{}`: {e}", wav.display())))?;
            words.push(self.words(&symbols)?);
        }
        Ok(words.join(" ").trim().to_owned())
    }

    fn words(&self, symbols: &[u32]) -> Result<String, EvalError> {
        let path = self.dir.join(TOKENIZER);
        let words = self.tokenizer.decode(symbols, true);
        Ok(words.map_err(|e| EvalError::RecognizerModel { path, reason: e.to_string() })?.trim().to_owned())
    }
}

impl Transcriber for WhisperTranscriber {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn transcribe(&self, wavs: &[PathBuf]) -> Result<Vec<String>, EvalError> {
        wavs.iter().map(|wav| self.hear(wav)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harmonica_audio::{Waveform, save};
    use std::f64::consts::TAU;

    #[derive(Deserialize)]
    struct Case {
        pitch_hz: f64,
        seconds: f64,
        symbols: Vec<u32>,
        text: String,
        /// Values of all bands at a frame.
        frames: BTreeMap<usize, Vec<f32>>,
    }

    #[derive(Deserialize)]
    struct Golden {
        n_new: usize,
        cases: Vec<Case>,
    }

    fn tiny() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/whisper-tiny")
    }

    /// The sound of tools/whisper_golden.py.
    fn sound(pitch_hz: f64, seconds: f64) -> Vec<f32> {
        let sample = |i: usize| {
            let t = i as f64 / 16_000.0;
            let partial = |k: i32| (TAU * pitch_hz * f64::from(k) * t + f64::from(k)).sin() / f64::from(k);
            (0.05 * (1..30).map(partial).sum::<f64>() * (1.0 + 0.5 * (9.0 * t).sin())) as f32
        };
        (0..(seconds * 16_000.0) as usize).map(sample).collect()
    }

    #[test]
    fn frames_symbols_and_words_are_those_of_transformers() {
        let golden: Golden =
            serde_json::from_slice(&std::fs::read(tiny().join("golden.json")).unwrap()).unwrap();
        let whisper = WhisperTranscriber::open(&tiny()).unwrap();
        for Case { pitch_hz, seconds, symbols, text, frames } in golden.cases {
            let sound = sound(pitch_hz, seconds);
            let found = whisper.features.of(&sound);
            for (frame, values) in frames {
                for (band, value) in values.into_iter().enumerate() {
                    let ours = found[band * N_FRAMES + frame];
                    assert!(
                        (ours - value).abs() < 1e-3,
                        "{pitch_hz} Hz, frame {frame}, band {band}: {ours} {value}"
                    );
                }
            }
            let written = whisper.symbols(&sound, golden.n_new).unwrap();
            assert_eq!(written, symbols, "{pitch_hz} Hz");
            assert_eq!(whisper.words(&written).unwrap(), text);
        }
    }

    #[test]
    fn recordings_are_heard_one_by_one_and_stretch_by_stretch() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, samples: Vec<f32>| {
            let path = dir.path().join(name);
            save(&path, &Waveform::new(samples, 16_000)).unwrap();
            path
        };
        let (short, other) = (sound(110.0, 1.0), sound(240.0, 2.0));
        let long: Vec<f32> =
            short.iter().copied().chain(vec![0.0; N_SAMPLES - short.len()]).chain(other.clone()).collect();
        let wavs = [write("short.wav", short), write("other.wav", other), write("long.wav", long)];
        let whisper = WhisperTranscriber::open(&tiny()).unwrap();
        let heard = whisper.transcribe(&wavs).unwrap();
        assert_eq!(heard.len(), 3);
        assert_eq!(heard[1], whisper.transcribe(&wavs[1..2]).unwrap()[0]);
        assert_eq!(heard[2], format!("{} {}", heard[0], heard[1]).trim());
        assert!(whisper.name().starts_with("whisper whisper-tiny "), "{}", whisper.name());
    }

    #[test]
    fn directories_that_are_no_model_are_refused_by_file() {
        let refused = |file: &str, content: Option<&[u8]>| {
            let dir = tempfile::tempdir().unwrap();
            for name in [CONFIG, GENERATION, WEIGHTS, TOKENIZER] {
                std::fs::copy(tiny().join(name), dir.path().join(name)).unwrap();
            }
            let path = dir.path().join(file);
            match content {
                None => std::fs::remove_file(path).unwrap(),
                Some(bytes) => std::fs::write(path, bytes).unwrap(),
            }
            WhisperTranscriber::open(dir.path()).err().map(|e| e.to_string()).unwrap_or_default()
        };
        for file in [CONFIG, GENERATION, WEIGHTS, TOKENIZER] {
            assert!(refused(file, None).contains(file), "missing {file}");
            assert!(refused(file, Some(b"nothing")).contains(file), "damaged {file}");
        }
        let config = std::fs::read_to_string(tiny().join(CONFIG)).unwrap();
        let wider = config.replace("\"d_model\": 24", "\"d_model\": 32");
        assert!(wider != config && refused(CONFIG, Some(wider.as_bytes())).contains(WEIGHTS));
        let fewer = config.replace("\"vocab_size\": 266", "\"vocab_size\": 200");
        assert!(fewer != config && refused(CONFIG, Some(fewer.as_bytes())).contains(GENERATION));
    }
}
