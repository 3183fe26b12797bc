//! Whisper (Radford et al. 2022) as a recognizer, by candle.
//!
//! In: a directory or a hub's repository in the layout of Hugging Face (`config.json`, `generation_config.json`, `model.safetensors`, `tokenizer.json`)
//! and recordings; out: English words. Recordings are heard in stretches of 30 seconds, without timestamps, the likeliest symbol
//! each time. Invariant: what is heard in a recording does not depend on the others.

use crate::whisper_config::{Generation, config};
use crate::whisper_features::{N_FRAMES, N_SAMPLES, RATE_HZ, WhisperFeatures};
use crate::{EvalError, Transcriber};
use candle_core::{DType, Device, IndexOp, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::whisper::model::Whisper;
use harmonica_audio::{load, resample};
use harmonica_config_schema::Fingerprint;
use harmonica_storage::Hub;
use std::path::{Path, PathBuf};
use tokenizers::Tokenizer;

const CONFIG: &str = "config.json";
const GENERATION: &str = "generation_config.json";
const WEIGHTS: &str = "model.safetensors";
const TOKENIZER: &str = "tokenizer.json";
/// What is left of a recording behind a window of 30 seconds is heard from so many samples on (0.1 s): of less, words are invented.
const MIN_REST: usize = RATE_HZ as usize / 10;

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
        let (config_bytes, generation_bytes) = (read(CONFIG)?, read(GENERATION)?);
        let config = config(&config_bytes).map_err(|reason| refuse(CONFIG, reason))?;
        let generation: Generation =
            serde_json::from_slice(&generation_bytes).map_err(|e| refuse(GENERATION, e.to_string()))?;
        let prompt = generation.prompt().map_err(|reason| refuse(GENERATION, reason))?;
        if prompt.len() >= config.max_target_positions {
            let n = config.max_target_positions;
            return Err(refuse(
                CONFIG,
                format!("max_target_positions is {n}, which leaves no room for words"),
            ));
        }
        let tokenizer_bytes = read(TOKENIZER)?;
        let tokenizer =
            Tokenizer::from_bytes(&tokenizer_bytes).map_err(|e| refuse(TOKENIZER, e.to_string()))?;
        for (symbol, id) in prompt.iter().copied().chain([generation.end()]) {
            let n_symbols = config.vocab_size;
            if id as usize >= n_symbols {
                let reason = format!("symbol {id} is not among the {n_symbols} of {CONFIG}");
                return Err(refuse(GENERATION, reason));
            }
            let found = tokenizer.token_to_id(symbol);
            if found != Some(id) {
                let found = found.map_or_else(|| "nothing".to_owned(), |id| id.to_string());
                let remedy = "take both from the same model";
                let reason = format!("`{symbol}` is {found} in it and {id} in {GENERATION}; {remedy}");
                return Err(refuse(TOKENIZER, reason));
            }
        }
        let weights = read(WEIGHTS)?;
        let files = [config_bytes, generation_bytes, tokenizer_bytes];
        let hashes: Vec<_> = files.iter().chain([&weights]).map(|b| Fingerprint::of_bytes(b)).collect();
        let name = format!("whisper {}", Fingerprint::of(&hashes));
        let model = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu)
            .and_then(|tensors| Whisper::load(&tensors, config))
            .map_err(|e| refuse(WEIGHTS, e.to_string()))?;
        // Behind the weights, which have so many bands.
        let features = WhisperFeatures::new(model.config.num_mel_bins);
        let prompt = prompt.into_iter().map(|(_, id)| id).collect();
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
        for (i, stretch) in waveform.samples().chunks(N_SAMPLES).enumerate() {
            if i > 0 && stretch.len() < MIN_REST {
                break;
            }
            let symbols = self
                .symbols(stretch, usize::MAX - self.prompt.len())
                .map_err(|e| failed(format!("`{}`: {e}", wav.display())))?;
            words.push(self.words(&symbols)?);
        }
        Ok(words.join(" ").trim().to_owned())
    }

    /// The words of symbols; special ones and timestamps, which are behind all others, are none.
    fn words(&self, symbols: &[u32]) -> Result<String, EvalError> {
        let path = self.dir.join(TOKENIZER);
        let last = self.generation.no_timestamps_token_id;
        let symbols: Vec<u32> = symbols.iter().copied().filter(|id| *id <= last).collect();
        let words = self.tokenizer.decode(&symbols, true);
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
    use serde::Deserialize;
    use std::collections::BTreeMap;
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
    }

    #[test]
    fn a_rest_under_a_tenth_of_a_second_is_not_heard() {
        let dir = tempfile::tempdir().unwrap();
        let whisper = WhisperTranscriber::open(&tiny()).unwrap();
        let long = |rest: usize| {
            let path = dir.path().join(format!("{rest}.wav"));
            save(&path, &Waveform::new(sound(110.0, 31.0)[..N_SAMPLES + rest].to_vec(), 16_000)).unwrap();
            whisper.hear(&path).unwrap()
        };
        let whole = long(0);
        assert_eq!(long(MIN_REST - 1), whole);
        assert_ne!(long(MIN_REST), whole);
    }

    #[test]
    fn timestamps_are_no_words() {
        let files = Files::of_tiny();
        let mut tokenizer: serde_json::Value = serde_json::from_slice(&files.read(TOKENIZER)).unwrap();
        let mut stamp = tokenizer["added_tokens"][0].clone();
        (stamp["id"], stamp["content"], stamp["special"]) = (266.into(), "<|0.00|>".into(), false.into());
        tokenizer["added_tokens"].as_array_mut().unwrap().push(stamp);
        files.write(TOKENIZER, tokenizer.to_string());
        let whisper = files.open().unwrap();
        let the = whisper.tokenizer.token_to_id("the").unwrap();
        assert!(
            whisper.tokenizer.decode(&[266, the], true).unwrap().contains("0.00"),
            "a token that is written"
        );
        assert_eq!(whisper.words(&[266, the, 266]).unwrap(), "the");
    }

    #[test]
    fn the_name_follows_every_file_and_not_the_folder() {
        let name = |file: &str| {
            let files = Files::of_tiny();
            if file == WEIGHTS {
                let mut bytes = files.read(WEIGHTS);
                *bytes.last_mut().unwrap() ^= 1;
                files.write(file, bytes);
            } else if !file.is_empty() {
                files.write(file, [files.read(file), b" ".to_vec()].concat());
            }
            files.open().unwrap().name()
        };
        let names: Vec<String> = ["", CONFIG, GENERATION, TOKENIZER, WEIGHTS].map(name).into();
        assert_eq!(names[0], WhisperTranscriber::open(&tiny()).unwrap().name(), "another folder");
        for (i, one) in names.iter().enumerate() {
            assert!(one.len() == "whisper ".len() + 32 && !names[..i].contains(one), "{names:?}");
        }
    }

    /// A copy of the tiny model whose files may be changed.
    struct Files(tempfile::TempDir);

    impl Files {
        fn of_tiny() -> Self {
            let dir = tempfile::tempdir().unwrap();
            for name in [CONFIG, GENERATION, WEIGHTS, TOKENIZER] {
                std::fs::copy(tiny().join(name), dir.path().join(name)).unwrap();
            }
            Self(dir)
        }

        fn read(&self, file: &str) -> Vec<u8> {
            std::fs::read(self.0.path().join(file)).unwrap()
        }

        fn write(&self, file: &str, content: impl AsRef<[u8]>) {
            std::fs::write(self.0.path().join(file), content).unwrap();
        }

        fn open(&self) -> Result<WhisperTranscriber, EvalError> {
            WhisperTranscriber::open(self.0.path())
        }
    }

    /// What is said where a key of a file, and perhaps another, is another value; `None` leaves the key out.
    fn refused_with(file: &str, changes: &[(&str, Option<serde_json::Value>)]) -> String {
        let files = Files::of_tiny();
        let mut json: serde_json::Value = serde_json::from_slice(&files.read(file)).unwrap();
        let keys = json.as_object_mut().unwrap();
        for (key, value) in changes {
            match value {
                None => assert!(keys.remove(*key).is_some(), "{key}"),
                Some(value) => assert!(keys.insert((*key).to_owned(), value.clone()).is_some(), "{key}"),
            }
        }
        files.write(file, json.to_string());
        files.open().err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn shapes_that_no_whisper_has_are_refused_and_do_not_abort() {
        for (key, value) in [
            ("num_mel_bins", 1_000_000_000_000_000_u64),
            ("num_mel_bins", 0),
            ("encoder_attention_heads", 0),
            ("decoder_attention_heads", 0),
            ("encoder_attention_heads", 5),
            ("decoder_attention_heads", 7),
            ("d_model", 0),
            ("max_target_positions", 4),
        ] {
            let message = refused_with(CONFIG, &[(key, Some(value.into()))]);
            assert!(message.contains(CONFIG) && message.contains(key), "{key} {value}: {message}");
        }
        let other_bands = refused_with(CONFIG, &[("num_mel_bins", Some(128.into()))]);
        assert!(other_bands.contains(WEIGHTS), "{other_bands}");
    }

    #[test]
    fn a_missing_is_multilingual_is_asked_for() {
        let message = refused_with(GENERATION, &[("is_multilingual", None)]);
        assert!(message.contains("`is_multilingual`") && message.contains("true"), "{message}");
    }

    #[test]
    fn a_tokenizer_of_another_model_is_refused() {
        let message = refused_with(GENERATION, &[("no_timestamps_token_id", Some(264.into()))]);
        assert!(message.contains("`<|notimestamps|>` is 265 in it and 264"), "{message}");
        let message = refused_with(GENERATION, &[("eos_token_id", Some(3.into()))]);
        assert!(message.contains("`<|endoftext|>` is 259 in it and 3"), "{message}");
    }

    #[test]
    fn directories_that_are_no_model_are_refused_by_file() {
        let refused = |file: &str, content: Option<&[u8]>| {
            let files = Files::of_tiny();
            match content {
                None => std::fs::remove_file(files.0.path().join(file)).unwrap(),
                Some(bytes) => files.write(file, bytes),
            }
            files.open().err().map(|e| e.to_string()).unwrap_or_default()
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
