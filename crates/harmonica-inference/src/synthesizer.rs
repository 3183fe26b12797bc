//! Speaks from a bundle.

use crate::candidates::Draw;
use crate::{
    Bundle, BundleOrigin, Enrolment, InferenceError, Reference, Speech, StopReason, SynthesisRequest, Voice,
};
use harmonica_audio::{Waveform, condition};
use harmonica_codec::{AudioCodec, CodecTokens};
use harmonica_config_schema::{AudioConfig, CodebookIndex, DecodeConfig, SpeakerConditioning};
use harmonica_model_core::decode::{ArRequest, ArStop, Centroids, LoopKind, NarDecoder};
use harmonica_model_core::{ArModel, CodecGeometry, NarModel, Prompt};
use harmonica_runtime::{DevicePreference, OpenDevice, open_device};
use harmonica_text::{TextError, TextTokenizer, TextTokens, Vocab};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

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
    voices: Vec<Voice>,
    conditioning: SpeakerConditionings,
    audio: Option<AudioConfig>,
    known_words: Option<BTreeSet<String>>,
    decode: DecodeConfig,
    max_text_symbols: usize,
    /// Most frames of a reference, as in training.
    max_reference_frames: usize,
}

/// Shortest recording that can be a voice, in seconds.
const SHORTEST_REFERENCE_S: f64 = 0.5;

/// Quietest peak of a recording that can be a voice.
const QUIETEST_REFERENCE: f32 = 1e-3;

/// How the voice reaches each model.
#[derive(Debug, Clone, Copy)]
struct SpeakerConditionings {
    ar: SpeakerConditioning,
    nar: SpeakerConditioning,
}

impl SpeakerConditionings {
    fn includes(self, kind: SpeakerConditioning) -> bool {
        self.ar == kind || self.nar == kind
    }
}

/// Who speaks, as the models take it.
#[derive(Debug, Clone, Copy)]
struct Speaker<'a> {
    id: i32,
    reference: Option<&'a Reference>,
}

/// What one model reads of a request: the text, behind the reference's transcript where there is one.
struct Reading {
    ids: Vec<i32>,
    n_transcript: usize,
    /// The reference's frames; absent for a model that knows voices by name.
    prompt: Option<Prompt>,
}

impl Reading {
    /// Codebook 1 of the reference.
    fn first_codebook(&self) -> &[i32] {
        self.prompt.as_ref().map_or(&[], |prompt| &prompt.codes[0][0])
    }
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
        let OpenDevice { device, name, reason } = open_device(device)?;
        tracing::info!("device {name} ({reason})");
        let Bundle { origin, manifest, ar, nar, codec, voices } = bundle;
        let max_reference_frames = manifest.longest_reference();
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
            max_reference_frames,
            models: Mutex::new((ar, nar)),
            codec,
            tokenizer: TextTokenizer::new(manifest.vocab),
            voices,
            conditioning: SpeakerConditionings {
                ar: manifest.ar_contract.speaker,
                nar: manifest.nar_contract.speaker,
            },
            audio: manifest.audio,
            known_words: manifest.known_words.map(|words| words.into_iter().collect()),
            decode: manifest.decode,
        })
    }

    /// The bundle's voices.
    pub fn voices(&self) -> &[Voice] {
        &self.voices
    }

    /// A recording as a voice, for [`SynthesisRequest::reference`] or [`Bundle::enroll`]: trimmed and levelled as the training
    /// recordings were. A longer one than the models were trained with is cut, and its transcript left out, with a warning.
    ///
    /// # Errors
    /// Models that know voices by name alone; a recording that is shorter than half a second or silent; a transcript that
    /// cannot be read.
    pub fn reference(
        &self,
        recording: &Waveform,
        transcript: Option<&str>,
    ) -> Result<Enrolment, InferenceError> {
        self.check_references()?;
        let refuse = |reason: String| Err(InferenceError::Reference { reason });
        if recording.peak() < QUIETEST_REFERENCE {
            return refuse(format!("it is silent (its peak is {:.5} of full scale)", recording.peak()));
        }
        let mut warnings = Vec::new();
        let recording = match &self.audio {
            Some(audio) => condition(recording.clone(), audio)?,
            None => {
                warnings.push(
                    "the bundle does not say how its training recordings were trimmed and levelled; the reference stays as it is"
                        .into(),
                );
                recording.clone()
            }
        };
        if recording.duration_s() < SHORTEST_REFERENCE_S {
            let found = recording.duration_s();
            return refuse(format!(
                "{found:.2} s of it are not silent, at least {SHORTEST_REFERENCE_S} s are needed"
            ));
        }
        let transcript = transcript.map(|text| self.tokenizer.tokenize(text)).transpose()?;
        let kept = self.max_reference_frames;
        // A frame more than is kept, to tell whether there is more.
        let heard_s = (kept + 1) as f64 / self.codec.spec().frame_rate_hz();
        let heard = recording.slice(0, (heard_s * f64::from(recording.sample_rate_hz())).ceil() as usize);
        let reference =
            Reference::new(&self.codec.encode(&heard)?, transcript.map(|tokens| tokens.normalized));
        if reference.n_frames() > kept {
            let kept_s = kept as f64 / self.codec.spec().frame_rate_hz();
            let transcript = reference.transcript().map_or("", |_| ", and its transcript left out");
            let duration_s = recording.duration_s();
            warnings.push(format!(
                "the reference of {duration_s:.2} s was cut to its first {kept_s:.2} s, the longest that the models were trained with{transcript}"
            ));
        }
        let reference = reference.cut(kept);
        Ok(Enrolment { reference, warnings })
    }

    /// Refuses recordings where a model knows its voices by name.
    fn check_references(&self) -> Result<(), InferenceError> {
        if self.conditioning.includes(SpeakerConditioning::Embedding) {
            return Err(InferenceError::VoicesByName { known: self.voice_names() });
        }
        Ok(())
    }

    /// Whether requests may bring a recording to speak in the voice of.
    pub fn takes_references(&self) -> bool {
        self.check_references().is_ok()
    }

    fn voice_names(&self) -> Vec<String> {
        self.voices.iter().map(|voice| voice.name.clone()).collect()
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
        let chosen = usize::try_from(speaker.id).ok().and_then(|i| self.voices.get(i));
        let voice = match request.reference {
            Some(_) => request.voice.clone(),
            None => chosen.map(|voice| voice.name.clone()),
        };
        let reference = speaker.reference.cloned();
        let decode = Some(request.decode.as_ref().unwrap_or(&self.decode).clone());
        Ok(SynthesisRequest { voice, reference, decode, ..request.clone() })
    }

    /// Says a request.
    ///
    /// # Errors
    /// An empty or too long text, an unknown character or voice, decode settings out of range.
    pub fn speak(&self, request: &SynthesisRequest) -> Result<Speech, InferenceError> {
        self.speak_with_progress(request, |_| true)
    }

    /// Says a request; `on_frame` hears how many codec frames are written and returns false to cancel. Of several candidates
    /// (`best_of`) it hears the longest one's whenever one of them grows, so that the same number may come again; a cancelled request
    /// says what the first candidate had by then.
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
        let mut warnings = self.unknown_words(&tokens.normalized);
        let read = self.reading(self.conditioning.ar, &tokens, speaker, &mut warnings)?;
        let decode = self.decode_settings(request)?;
        let (ar, nar) = self.models.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let (seed, n_candidates) = (request.seed, decode.best_of);
        let shift = |word: Range<usize>| word.start + read.n_transcript..word.end + read.n_transcript;
        let words: Vec<Range<usize>> = tokens.words().into_iter().map(shift).collect();
        let ar_request = ArRequest {
            text: &read.ids,
            n_transcript: read.n_transcript,
            speaker: speaker.id,
            prompt: read.first_codebook(),
        };
        let codebooks = self.codebooks();
        let centroids = Centroids { codebooks: &codebooks, width: self.codec.latent_width() };
        let config = &decode.ar;
        let draw = Draw { config, request: ar_request, words: &words, centroids, seed, n_candidates };
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
        // What the AR model already said of a transcript is not said twice.
        let read = self.reading(self.conditioning.nar, &tokens, speaker, &mut Vec::new())?;
        let filled = NarDecoder::new(decode.nar.clone(), seed).decode(
            &nar,
            &read.ids,
            speaker.id,
            read.prompt.as_ref(),
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
        let text = self.tokens(request)?;
        let read = self.reading(self.conditioning.nar, &text, speaker, &mut Vec::new())?;
        let tokens = self.codec.encode(recording)?;
        let first: Vec<i32> = tokens.codebook(CodebookIndex::FIRST).iter().map(|c| i32::from(*c)).collect();
        let decode = request.decode.as_ref().unwrap_or(&self.decode).nar.clone();
        let nar = self.models.lock().unwrap_or_else(std::sync::PoisonError::into_inner).1.clone();
        let codebooks = self.codebooks();
        let centroids = Centroids { codebooks: &codebooks, width: self.codec.latent_width() };
        let filled = NarDecoder::new(decode, request.seed).decode(
            &nar,
            &read.ids,
            speaker.id,
            read.prompt.as_ref(),
            &first,
            centroids,
        )?;
        Ok(self.codec.decode_latent(&filled.latents).slice(0, tokens.n_samples()))
    }

    fn speaker<'a>(&'a self, request: &'a SynthesisRequest) -> Result<Speaker<'a>, InferenceError> {
        let by_name = self.conditioning.includes(SpeakerConditioning::Embedding);
        if let Some(reference) = &request.reference {
            // A completed request brings the recording of a voice that one of the models knows by name.
            let id = match &request.voice {
                Some(name) if by_name => self.position(name)?,
                _ => {
                    self.check_references()?;
                    0
                }
            };
            reference.check(self.codec.as_ref())?;
            return Ok(Speaker { id: id as i32, reference: Some(reference) });
        }
        let found = match &request.voice {
            Some(name) => self.position(name)?,
            None if self.voices.is_empty() => {
                return Err(InferenceError::NoVoice { path: PathBuf::from(&self.origin.path) });
            }
            None => 0,
        };
        Ok(Speaker { id: found as i32, reference: self.voices[found].reference.as_ref() })
    }

    fn position(&self, name: &str) -> Result<usize, InferenceError> {
        let found = self.voices.iter().position(|voice| voice.name == name);
        found
            .ok_or_else(|| InferenceError::UnknownVoice { voice: name.to_owned(), known: self.voice_names() })
    }

    /// What a model reads; a transcript for which it has no room is left out, which `warnings` tells.
    fn reading(
        &self,
        conditioning: SpeakerConditioning,
        tokens: &TextTokens,
        speaker: Speaker<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<Reading, InferenceError> {
        let text: Vec<i32> = tokens.ids.iter().map(|id| *id as i32).collect();
        let reference = speaker.reference.filter(|_| conditioning == SpeakerConditioning::Prompt);
        let Some(reference) = reference else {
            return Ok(Reading { ids: text, n_transcript: 0, prompt: None });
        };
        let prompt = Some(Prompt { codes: vec![reference.ids()] });
        let Some(transcript) = reference.transcript() else {
            return Ok(Reading { ids: text, n_transcript: 0, prompt });
        };
        let before = self.tokenizer.tokenize(transcript)?.ids;
        let n_symbols = before.len() + 1 + text.len();
        if n_symbols > self.max_text_symbols {
            let limit = self.max_text_symbols;
            warnings.push(format!(
                "the reference's transcript was left out: with the text it has {n_symbols} symbols, the models read {limit}"
            ));
            return Ok(Reading { ids: text, n_transcript: 0, prompt });
        }
        let ids: Vec<i32> =
            before.iter().map(|id| *id as i32).chain([Vocab::SEPARATOR as i32]).chain(text).collect();
        Ok(Reading { n_transcript: before.len() + 1, ids, prompt })
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
