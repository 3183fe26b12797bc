//! One directory that speaks: weights of both models, codec, vocabulary, contracts, voices.
//!
//! A sealed directory. Invariant: what opens is whole and belongs together.

use crate::voice::{VOICES, VoiceFile};
use crate::{InferenceError, Reference, Voice};
use harmonica_codec::AudioCodec;
use harmonica_config_schema::record::{EvaluationRecord, Interval, SystemEvaluation};
use harmonica_config_schema::{
    ArModelConfig, AudioConfig, DecodeConfig, Fingerprint, NarModelConfig, SpeakerConditioning,
};
use harmonica_model_core::{InterfaceContract, WeightStore};
use harmonica_storage::{Claim, FileCheck, MANIFEST, Sealed, Staged, StorageError, require_space};
use harmonica_text::{NORMALIZER_VERSION, Vocab};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Version of `bundle.json`. 2: hashes stand in the manifest. 3: voices that are recordings.
pub const BUNDLE_VERSION: u32 = 3;

/// Longest name of a voice, in characters.
const MAX_NAME: usize = 100;

/// The oldest version that is still read.
const OLDEST_VERSION: u32 = 2;

/// `bundle.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleManifest {
    /// Version of this record.
    pub format_version: u32,
    /// Experiment that it comes from.
    pub name: String,
    /// Fingerprint of its configuration.
    pub config: Fingerprint,
    /// Shape of the AR model.
    pub ar: ArModelConfig,
    /// Shape of the NAR model.
    pub nar: NarModelConfig,
    /// Contract of the AR model.
    pub ar_contract: InterfaceContract,
    /// Contract of the NAR model.
    pub nar_contract: InterfaceContract,
    /// Text symbols.
    pub vocab: Vocab,
    /// Voices that the models know by name, in the order of their speaker ids; empty where they go on from recordings.
    pub voices: Vec<String>,
    /// How recordings were trimmed and levelled before training; what is enrolled is treated alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<AudioConfig>,
    /// The only words that it was trained on, if they are few; other words warn.
    pub known_words: Option<Vec<String>>,
    /// Decode settings, chosen on validation.
    pub decode: DecodeConfig,
    /// Updates of the AR and the NAR model.
    pub updates: [u64; 2],
    /// What an evaluation found, if there was one.
    #[serde(default)]
    pub evaluation: Option<BundleEvaluation>,
}

/// What an evaluation found, for those who choose among bundles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleEvaluation {
    /// Name of the suite.
    pub suite: String,
    /// Fingerprint of its sentences.
    pub suite_fingerprint: Fingerprint,
    /// The recognizer; empty if none listened.
    pub recognizer: String,
    /// Every system that was judged: the recordings, the codec alone, what the bundle says.
    pub systems: Vec<SystemFigures>,
}

/// Figures of one system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemFigures {
    /// Its name.
    pub system: String,
    /// Utterances that were judged.
    pub n_utterances: usize,
    /// Word error rate over the suite, with a 95% interval.
    pub word_error_rate: Option<Interval>,
    /// Failures that the detectors found.
    pub n_failures: usize,
}

impl From<&EvaluationRecord> for BundleEvaluation {
    fn from(record: &EvaluationRecord) -> Self {
        let figures = |s: &SystemEvaluation| SystemFigures {
            system: s.system.clone(),
            n_utterances: s.utterances.len(),
            word_error_rate: s.word_error_rate,
            n_failures: s.failures.values().sum(),
        };
        Self {
            suite: record.suite.clone(),
            suite_fingerprint: record.suite_fingerprint.clone(),
            recognizer: record.recognizer.clone(),
            systems: record.systems.iter().map(figures).collect(),
        }
    }
}

impl BundleManifest {
    /// Whether a model knows voices by name, and whether one goes on from a recording.
    pub(crate) fn speakers(&self) -> (bool, bool) {
        let of = [self.ar_contract.speaker, self.nar_contract.speaker];
        (of.contains(&SpeakerConditioning::Embedding), of.contains(&SpeakerConditioning::Prompt))
    }

    /// Most frames of a reference: half of what the models read, as in training.
    pub fn longest_reference(&self) -> usize {
        self.ar_contract.max_frames.min(self.nar_contract.max_frames) / 2
    }
}

/// What a bundle is made of.
#[derive(Debug, Clone)]
pub struct BundleParts {
    /// What it will say of itself.
    pub manifest: BundleManifest,
    /// Averaged AR weights.
    pub ar: WeightStore,
    /// Averaged NAR weights.
    pub nar: WeightStore,
    /// Codec directory.
    pub codec_dir: PathBuf,
    /// Recordings of voices by name, for models that go on from one.
    pub references: Vec<(String, Reference)>,
}

impl BundleParts {
    /// Those of a bundle that is open; written again they say the same.
    pub fn of(bundle: Bundle) -> Self {
        let recorded = |voice: Voice| voice.reference.map(|reference| (voice.name, reference));
        Self {
            codec_dir: Path::new(&bundle.origin.absolute_path).join(CODEC),
            references: bundle.voices.into_iter().filter_map(recorded).collect(),
            manifest: BundleManifest { format_version: BUNDLE_VERSION, ..bundle.manifest },
            ar: bundle.ar,
            nar: bundle.nar,
        }
    }
}

/// Where a bundle was opened, and which one it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleOrigin {
    /// Its directory as given.
    pub path: String,
    /// Its directory from the root.
    pub absolute_path: String,
    /// Hash of its manifest, which holds the hash of every file; voices do not count, so that enrolling one changes nothing.
    pub blake3: String,
}

impl BundleOrigin {
    fn new(dir: &Path, hash: &str) -> Self {
        let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        Self {
            path: dir.display().to_string(),
            absolute_path: absolute.display().to_string(),
            blake3: hash.to_owned(),
        }
    }
}

/// An open bundle.
#[derive(Clone)]
pub struct Bundle {
    /// Where it was opened.
    pub origin: BundleOrigin,
    /// What it is.
    pub manifest: BundleManifest,
    /// AR weights.
    pub ar: WeightStore,
    /// NAR weights.
    pub nar: WeightStore,
    /// Codec.
    pub codec: Arc<dyn AudioCodec>,
    /// Voices: those known by name in the order of their speaker ids, else recordings in the order of their names.
    pub voices: Vec<Voice>,
}

const DESCRIPTION: &str = "bundle.json";
const AR: &str = "ar.safetensors";
const NAR: &str = "nar.safetensors";
const CODEC: &str = "codec";

/// The right to change the bundle in a directory, so that of two voices enrolled at once none is lost.
fn claim(dir: &Path) -> Result<Claim, InferenceError> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let taken = Claim::take(&dir.with_file_name(format!(".claim-{name}")))?;
    taken.ok_or_else(|| InferenceError::Bundle {
        path: dir.to_owned(),
        reason: "another process changes it; try again when that has ended".into(),
    })
}

/// Name and content of a voice's file.
fn voice_file(
    dir: &Path,
    name: &str,
    codec: &Fingerprint,
    reference: &Reference,
) -> Result<(String, Vec<u8>), InferenceError> {
    if name.trim().is_empty() || name.chars().any(char::is_control) || name.chars().count() > MAX_NAME {
        let reason = format!("a name has 1 to {MAX_NAME} characters and no control characters");
        return Err(InferenceError::VoiceName { name: name.to_owned(), reason });
    }
    let path = VoiceFile::path(name);
    let bytes =
        VoiceFile::bytes(name, codec, reference).map_err(|e| StorageError::encode(&dir.join(&path), e))?;
    Ok((path, bytes))
}

impl Bundle {
    /// Writes a bundle with f16 weights, in the place of a bundle that stood there.
    ///
    /// # Errors
    /// A directory that cannot be written to or holds something else, or a codec that cannot be read.
    pub fn write(parts: &BundleParts, dir: &Path) -> Result<(), InferenceError> {
        let codec_dir = &parts.codec_dir;
        let unreadable =
            |check: FileCheck| InferenceError::Bundle { path: codec_dir.clone(), reason: check.to_string() };
        let codec = Sealed::open(codec_dir).map_err(unreadable)?;
        let mut files: Vec<(String, Vec<u8>)> = Vec::new();
        for name in codec.files() {
            files.push((format!("{CODEC}/{name}"), codec.read(name).map_err(unreadable)?));
        }
        let manifest = std::fs::read(codec_dir.join(MANIFEST))
            .map_err(|e| InferenceError::Bundle { path: codec_dir.join(MANIFEST), reason: e.to_string() })?;
        files.push((format!("{CODEC}/{MANIFEST}"), manifest));
        for (name, reference) in &parts.references {
            let fingerprint = &parts.manifest.ar_contract.codec_fingerprint;
            files.push(voice_file(dir, name, fingerprint, reference)?);
        }
        for (name, weights) in [(AR, &parts.ar), (NAR, &parts.nar)] {
            let bytes = weights.to_bytes(true).map_err(|e| StorageError::encode(&dir.join(name), e))?;
            let beyond = WeightStore::from_bytes(&bytes, &dir.join(name))?.not_finite();
            if !beyond.is_empty() {
                let reason = format!("{name}: {} hold values that f16 does not", beyond.join(", "));
                return Err(InferenceError::Bundle { path: dir.to_owned(), reason });
            }
            files.push((name.to_owned(), bytes));
        }
        let json = serde_json::to_vec_pretty(&parts.manifest)
            .map_err(|e| StorageError::encode(&dir.join(DESCRIPTION), e))?;
        files.push((DESCRIPTION.to_owned(), json));
        require_space(dir, files.iter().map(|(_, bytes)| bytes.len() as u64).sum())?;
        let _alone = claim(dir)?;
        let mut staged = Staged::begin_in_place_of(dir, DESCRIPTION, "bundle")?;
        for (name, bytes) in &files {
            staged.file(name, bytes)?;
        }
        Ok(staged.commit()?)
    }

    /// Adds a voice to the bundle in a directory; everything else in it stays as it is, byte for byte.
    ///
    /// # Errors
    /// Models that know voices by name alone, a name that is taken or none, a longer reference than the models take, codes of
    /// another codec, a directory that another process writes to or that cannot be written to.
    pub fn enroll(dir: &Path, name: &str, reference: &Reference) -> Result<(), InferenceError> {
        let _alone = claim(dir)?;
        let bundle = Self::open(dir)?;
        if bundle.manifest.speakers().0 {
            return Err(InferenceError::VoicesByName { known: bundle.manifest.voices });
        }
        let refuse =
            |reason: &str| InferenceError::VoiceName { name: name.to_owned(), reason: reason.to_owned() };
        if bundle.voices.iter().any(|voice| voice.name == name) {
            return Err(refuse("the bundle has a voice of this name; choose another --name"));
        }
        reference.check(bundle.codec.as_ref())?;
        let longest = bundle.manifest.longest_reference();
        if reference.n_frames() > longest {
            let reason = format!("it has {} frames, the models take {longest}", reference.n_frames());
            return Err(InferenceError::Reference { reason });
        }
        let damaged =
            |check: FileCheck| InferenceError::Bundle { path: dir.to_owned(), reason: check.to_string() };
        let sealed = Sealed::open(dir).map_err(damaged)?;
        let mut files = vec![voice_file(dir, name, bundle.codec.fingerprint(), reference)?];
        for file in sealed.files() {
            files.push((file.to_owned(), sealed.read(file).map_err(damaged)?));
        }
        require_space(dir, files.iter().map(|(_, bytes)| bytes.len() as u64).sum())?;
        let mut staged = Staged::begin_in_place_of(dir, DESCRIPTION, "bundle")?;
        for (name, bytes) in &files {
            staged.file(name, bytes)?;
        }
        Ok(staged.commit()?)
    }

    /// Opens a bundle and checks that its parts are whole and belong together.
    ///
    /// # Errors
    /// Files that are missing or damaged, or parts that do not belong together, with every violated field.
    pub fn open(dir: &Path) -> Result<Self, InferenceError> {
        let refuse = |name: &str, reason: String| InferenceError::Bundle { path: dir.join(name), reason };
        let damaged =
            |check: FileCheck| InferenceError::Bundle { path: dir.to_owned(), reason: check.to_string() };
        let sealed = Sealed::open(dir).map_err(damaged)?;
        let read = |name: &str| sealed.read(name).map_err(damaged);
        let manifest: BundleManifest =
            serde_json::from_slice(&read(DESCRIPTION)?).map_err(|e| refuse(DESCRIPTION, e.to_string()))?;
        if !(OLDEST_VERSION..=BUNDLE_VERSION).contains(&manifest.format_version) {
            let reason = format!(
                "format version {} is not between {OLDEST_VERSION} and {BUNDLE_VERSION}",
                manifest.format_version
            );
            return Err(refuse(DESCRIPTION, reason));
        }
        // The codec is opened from its own directory; here its files are held against the bundle's manifest.
        let prefix = format!("{CODEC}/");
        for name in sealed.files().filter(|name| name.starts_with(&prefix)) {
            read(name)?;
        }
        let codec = harmonica_codec::open(&dir.join(CODEC))?;
        manifest.ar_contract.check_nar(&manifest.nar_contract)?;
        manifest.ar_contract.check_codec(codec.spec(), codec.fingerprint())?;
        manifest.ar_contract.check_text(&manifest.vocab.fingerprint(), NORMALIZER_VERSION)?;
        let mut references = BTreeMap::new();
        for file in sealed.files().filter(|name| name.starts_with(VOICES)) {
            let bytes = read(file)?;
            let (name, reference) =
                VoiceFile::read(file, &bytes, codec.as_ref()).map_err(|reason| refuse(file, reason))?;
            references.insert(name, reference);
        }
        let (by_name, by_recording) = manifest.speakers();
        let mut voices: Vec<Voice> = Vec::new();
        for name in &manifest.voices {
            let reference = references.remove(name);
            if by_recording && reference.is_none() {
                return Err(refuse(&VoiceFile::path(name), "the voice has no recording".into()));
            }
            voices.push(Voice { name: name.clone(), reference });
        }
        if !by_name {
            voices.extend(
                references.into_iter().map(|(name, reference)| Voice { name, reference: Some(reference) }),
            );
        }
        Ok(Self {
            origin: BundleOrigin::new(dir, &sealed.hash_of(|name| !name.starts_with(VOICES))),
            voices,
            ar: WeightStore::from_bytes(&read(AR)?, &dir.join(AR))?,
            nar: WeightStore::from_bytes(&read(NAR)?, &dir.join(NAR))?,
            codec,
            manifest,
        })
    }
}
