//! Speaks from a bundle.

use crate::candidates::Draw;
use crate::{Bundle, BundleOrigin, InferenceError, Speech, StopReason};
use harmonica_audio::Waveform;
use harmonica_codec::{AudioCodec, CodecTokens};
use harmonica_config_schema::{CodebookIndex, DecodeConfig};
use harmonica_model_core::decode::{ArStop, Centroids, LoopKind, NarDecoder};
use harmonica_model_core::{ArModel, CodecGeometry, NarModel};
use harmonica_runtime::{DevicePreference, open_device};
use harmonica_text::{TextError, TextTokenizer, TextTokens};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// A voice of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voice {
    /// Its name.
    pub name: String,
}

/// What to say, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SynthesisRequest {
    text: String,
    voice: Option<String>,
    seed: u64,
    decode: Option<DecodeConfig>,
}

impl SynthesisRequest {
    /// Says a text with the bundle's first voice and its own settings, seed 1.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), voice: None, seed: 1, decode: None }
    }

    /// Chooses a voice.
    pub fn voice(mut self, name: impl Into<String>) -> Self {
        self.voice = Some(name.into());
        self
    }

    /// Chooses the seed of the draws.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Replaces the bundle's decode settings.
    pub fn decode(mut self, decode: DecodeConfig) -> Self {
        self.decode = Some(decode);
        self
    }
}

/// Opens a [`Synthesizer`].
#[derive(Debug, Clone)]
pub struct SynthesizerBuilder {
    bundle: PathBuf,
    device: DevicePreference,
}

impl SynthesizerBuilder {
    /// For the bundle in a directory, on the processor.
    pub fn new(bundle: impl Into<PathBuf>) -> Self {
        Self { bundle: bundle.into(), device: DevicePreference::Auto }
    }

    /// Chooses the device.
    pub fn device(mut self, device: DevicePreference) -> Self {
        self.device = device;
        self
    }

    /// Opens the bundle.
    ///
    /// # Errors
    /// A bundle that is missing, damaged or does not belong together; a device that is not there.
    pub fn open(self) -> Result<Synthesizer, InferenceError> {
        Synthesizer::from_bundle(Bundle::open(&self.bundle)?, self.device)
    }
}

/// Speaks. Share it between threads; it never changes.
pub struct Synthesizer {
    origin: BundleOrigin,
    device: DevicePreference,
    // burn's parameters initialise lazily behind a cell; the lock makes that sound to share.
    models: Mutex<(ArModel, NarModel)>,
    codec: Arc<dyn AudioCodec>,
    tokenizer: TextTokenizer,
    voices: Vec<String>,
    known_words: Option<BTreeSet<String>>,
    decode: DecodeConfig,
    max_text_symbols: usize,
}

/// Centroids of a codec, unscaled, for expected decoding; scaled ones for the models.
fn geometry(codec: &dyn AudioCodec) -> CodecGeometry {
    let codebooks = (0..codec.spec().n_codebooks)
        .map(|q| codec.codebook_vectors(CodebookIndex::from_zero_based(q)).to_vec());
    CodecGeometry::new(codebooks, codec.latent_width())
}

impl Synthesizer {
    /// Speaks from an open bundle.
    ///
    /// # Errors
    /// Weights that do not fit their configuration; a device that is not there.
    pub fn from_bundle(bundle: Bundle, device: DevicePreference) -> Result<Self, InferenceError> {
        let preference = device.resolved();
        let device = open_device(device)?.device;
        let Bundle { origin, manifest, ar, nar, codec } = bundle;
        let geometry = geometry(codec.as_ref());
        let (spec, n_ids, n_voices) = (codec.spec(), manifest.vocab.len(), manifest.voices.len());
        let ar =
            ar.load_into(ArModel::new(&manifest.ar, spec, n_ids, n_voices, Some(&geometry), 0, &device))?;
        let nar =
            nar.load_into(NarModel::new(&manifest.nar, spec, n_ids, n_voices, Some(&geometry), 0, &device))?;
        Ok(Self {
            origin,
            device: preference,
            max_text_symbols: ar.max_text_symbols().min(nar.max_text_symbols()),
            models: Mutex::new((ar, nar)),
            codec,
            tokenizer: TextTokenizer::new(manifest.vocab),
            voices: manifest.voices,
            known_words: manifest.known_words.map(|words| words.into_iter().collect()),
            decode: manifest.decode,
        })
    }

    /// The bundle's voices.
    pub fn voices(&self) -> Vec<Voice> {
        self.voices.iter().map(|name| Voice { name: name.clone() }).collect()
    }

    /// The bundle that it speaks from.
    pub fn origin(&self) -> &BundleOrigin {
        &self.origin
    }

    /// The device that it speaks on; never `auto` where that has one meaning.
    pub fn device(&self) -> DevicePreference {
        self.device
    }

    /// The codec.
    pub fn codec(&self) -> &dyn AudioCodec {
        self.codec.as_ref()
    }

    /// The decode settings that requests use unless they bring their own.
    pub fn decode_config(&self) -> &DecodeConfig {
        &self.decode
    }

    /// Everything that speaking a request would refuse; empty if it can be said.
    pub fn problems(&self, request: &SynthesisRequest) -> Vec<InferenceError> {
        let refused =
            [self.decode_settings(request).err(), self.speaker(request).err(), self.tokens(request).err()];
        refused.into_iter().flatten().collect()
    }

    /// The settings in force for a request.
    fn decode_settings<'a>(
        &'a self,
        request: &'a SynthesisRequest,
    ) -> Result<&'a DecodeConfig, InferenceError> {
        let decode = request.decode.as_ref().unwrap_or(&self.decode);
        let problems: Vec<String> = decode.problems().iter().map(|problem| problem.message()).collect();
        if problems.is_empty() {
            return Ok(decode);
        }
        Err(InferenceError::DecodeSettings { problems: problems.join("; ") })
    }

    /// The request with everything filled in that it leaves to the bundle: its voice and its decode settings.
    ///
    /// # Errors
    /// An unknown voice.
    pub fn complete(&self, request: &SynthesisRequest) -> Result<SynthesisRequest, InferenceError> {
        let speaker = self.speaker(request)?;
        let voice = usize::try_from(speaker).ok().and_then(|i| self.voices.get(i)).cloned();
        let decode = Some(request.decode.as_ref().unwrap_or(&self.decode).clone());
        Ok(SynthesisRequest { voice, decode, ..request.clone() })
    }

    /// Says a request.
    ///
    /// # Errors
    /// An empty or too long text, an unknown character or voice, decode settings out of range.
    pub fn speak(&self, request: &SynthesisRequest) -> Result<Speech, InferenceError> {
        self.speak_with_progress(request, |_| true)
    }

    /// Says a request; `on_frame` hears how many codec frames are written and returns false to cancel.
    ///
    /// # Errors
    /// As [`Self::speak`].
    pub fn speak_with_progress(
        &self,
        request: &SynthesisRequest,
        on_frame: impl FnMut(usize) -> bool,
    ) -> Result<Speech, InferenceError> {
        let speaker = self.speaker(request)?;
        let tokens = self.tokens(request)?;
        let text: Vec<i32> = tokens.ids.iter().map(|id| *id as i32).collect();
        let mut warnings = self.unknown_words(&tokens.normalized);
        let decode = self.decode_settings(request)?;
        let (ar, nar) = self.models.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let (seed, n_candidates) = (request.seed, decode.best_of);
        let words = tokens.words();
        let draw = Draw { config: &decode.ar, text: &text, words: &words, speaker, seed, n_candidates };
        let (written, cancelled) = draw.run(&ar, on_frame)?;
        let frame_s = 1.0 / self.codec.spec().frame_rate_hz();
        warnings.extend(written.loops.iter().map(|event| {
            let (at, length) = (event.frame as f64 * frame_s, event.n_frames as f64 * frame_s);
            let kind = match event.kind {
                LoopKind::Pattern => "a loop",
                LoopKind::Stall => "a stay at one place of the text",
            };
            let attempt = event.attempt;
            format!("{kind} of {length:.2} s at {at:.2} s was taken back and drawn again (attempt {attempt})")
        }));
        let stop = match (cancelled, written.stop) {
            (true, _) => StopReason::Cancelled,
            (_, ArStop::EndOfSpeech) => StopReason::EndOfSpeech,
            (_, ArStop::LengthBound) => {
                warnings.push(
                    "the end of speech was not reached: the sentence was cut at its length bound".into(),
                );
                StopReason::LengthBound
            }
            (_, ArStop::Loop) => {
                warnings.push("a loop could not be left: the sentence was cut where it began".into());
                StopReason::Loop
            }
        };
        let n_codebooks = self.codec.spec().n_codebooks;
        let codebooks: Vec<&[f32]> = (0..n_codebooks)
            .map(|q| self.codec.codebook_vectors(CodebookIndex::from_zero_based(q)))
            .collect();
        let centroids = Centroids { codebooks: &codebooks, width: self.codec.latent_width() };
        let filled = NarDecoder::new(decode.nar.clone(), seed).decode(
            &nar,
            &text,
            speaker,
            None,
            &written.codes,
            centroids,
        )?;
        Ok(Speech {
            waveform: self.codec.decode_latent(&filled.latents),
            codes: filled.codes,
            normalized_text: tokens.normalized,
            stop,
            attention: written.attention,
            warnings,
        })
    }

    fn unknown_words(&self, normalized: &str) -> Vec<String> {
        let Some(known) = &self.known_words else { return Vec::new() };
        let strip = |word: &str| word.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
        let unknown: BTreeSet<String> = normalized
            .split([' ', '-'])
            .map(strip)
            .filter(|word| !word.is_empty() && !known.contains(word))
            .collect();
        if unknown.is_empty() {
            return Vec::new();
        }
        let list: Vec<String> = unknown.into_iter().collect();
        vec![format!(
            "this model was trained on {} words only; it has never heard: {}",
            known.len(),
            list.join(", ")
        )]
    }

    /// What the codec alone makes of a recording with its first `n_codebooks` codebooks: the ceiling of any model.
    ///
    /// # Errors
    /// A recording that cannot be resampled.
    pub fn resynthesise(
        &self,
        waveform: &Waveform,
        n_codebooks: usize,
    ) -> Result<(Waveform, CodecTokens), InferenceError> {
        let tokens = self.codec.encode(waveform)?.truncated(n_codebooks);
        Ok((self.codec.decode(&tokens)?, tokens))
    }

    /// What the NAR model makes of a recording's own codebook 1: its quality apart from the AR model's.
    ///
    /// # Errors
    /// As [`Self::speak`]; a recording that cannot be resampled or is too long.
    pub fn refill(
        &self,
        recording: &Waveform,
        request: &SynthesisRequest,
    ) -> Result<Waveform, InferenceError> {
        let speaker = self.speaker(request)?;
        let text = self.tokenizer.tokenize(&request.text)?;
        let text: Vec<i32> = text.ids.iter().map(|id| *id as i32).collect();
        let tokens = self.codec.encode(recording)?;
        let first: Vec<i32> = tokens.codebook(CodebookIndex::FIRST).iter().map(|c| i32::from(*c)).collect();
        let decode = request.decode.as_ref().unwrap_or(&self.decode).nar.clone();
        let nar = self.models.lock().unwrap_or_else(std::sync::PoisonError::into_inner).1.clone();
        let codebooks = self.codebooks();
        let centroids = Centroids { codebooks: &codebooks, width: self.codec.latent_width() };
        let filled =
            NarDecoder::new(decode, request.seed).decode(&nar, &text, speaker, None, &first, centroids)?;
        Ok(self.codec.decode_latent(&filled.latents).slice(0, tokens.n_samples()))
    }

    fn speaker(&self, request: &SynthesisRequest) -> Result<i32, InferenceError> {
        let Some(name) = &request.voice else { return Ok(0) };
        let found = self.voices.iter().position(|v| v == name);
        let unknown = || InferenceError::UnknownVoice { voice: name.clone(), known: self.voices.clone() };
        found.map(|i| i as i32).ok_or_else(unknown)
    }

    fn tokens(&self, request: &SynthesisRequest) -> Result<TextTokens, InferenceError> {
        let tokens = self.tokenizer.tokenize(&request.text)?;
        if tokens.ids.len() > self.max_text_symbols {
            return Err(TextError::TooLong { symbols: tokens.ids.len(), limit: self.max_text_symbols }.into());
        }
        Ok(tokens)
    }

    fn codebooks(&self) -> Vec<&[f32]> {
        let n_codebooks = self.codec.spec().n_codebooks;
        (0..n_codebooks).map(|q| self.codec.codebook_vectors(CodebookIndex::from_zero_based(q))).collect()
    }
}
