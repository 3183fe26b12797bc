//! `OUT.json` beside `OUT.wav`: everything that decided the samples, and the proof that they come out again.
//!
//! In: a synthesizer, a request, its speech; out: a record, and from the record the same speech. Invariant: a manifest that was
//! changed after it was written is refused, because it carries a hash of its own content; so "reproduced" is never said of a
//! request that nobody made. The bytes of the wav are promised on the processor, for one program on one platform, whatever the
//! number of threads.

use crate::{
    BundleOrigin, DecodeConfig, DevicePreference, InferenceError, Speech, StopReason, SynthesisRequest,
    Synthesizer, SynthesizerBuilder,
};
use harmonica_audio::wav_bytes;
use harmonica_runtime::platform;
use harmonica_storage::{StorageError, publish};
use serde::{Deserialize, Serialize};
use std::fmt::{Display, Formatter};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Version of manifests whose request brings a reference; without one they are what version 1 reads.
const FORMAT_VERSION: u32 = 2;

/// What every replay manifest says of itself.
const RECORD: &str = "harmonica replay";

/// Everything that decided the samples of a wav.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayManifest {
    /// The bundle that spoke.
    pub bundle: BundleOrigin,
    /// What was asked for, with the voice and the decode settings that the bundle filled in.
    pub request: SynthesisRequest,
    /// The device that it was spoken on, as `--device` takes it.
    pub device: String,
    /// Version of the program.
    pub program: String,
    /// System and processor.
    pub platform: String,
    /// What came of it.
    pub speech: RecordedSpeech,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedSpeech {
    /// Name of the wav, which stands beside the manifest.
    pub wav: String,
    /// BLAKE3 of the wav.
    pub wav_blake3: String,
    /// BLAKE3 of the codes: the number of codebooks, then of each its number of codes and its codes, all little-endian
    /// (u64, u64, i32).
    pub codes_blake3: String,
    /// Length in samples.
    pub n_samples: usize,
    /// Length in codec frames.
    pub n_frames: usize,
    /// The text as it was read.
    pub normalized_text: String,
    /// Why it ended.
    pub stop: StopReason,
    /// What a listener was told.
    pub warnings: Vec<String>,
}

impl RecordedSpeech {
    fn new(speech: &Speech, wav: &str) -> Result<Self, InferenceError> {
        Ok(Self {
            wav: wav.to_owned(),
            wav_blake3: blake3::hash(&wav_bytes(&speech.waveform)?).to_string(),
            codes_blake3: codes_blake3(&speech.codes),
            n_samples: speech.waveform.samples().len(),
            n_frames: speech.codes.first().map_or(0, Vec::len),
            normalized_text: speech.normalized_text.clone(),
            stop: speech.stop,
            warnings: speech.warnings.clone(),
        })
    }
}

fn codes_blake3(codes: &[Vec<i32>]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(codes.len() as u64).to_le_bytes());
    for row in codes {
        hasher.update(&(row.len() as u64).to_le_bytes());
        for code in row {
            hasher.update(&code.to_le_bytes());
        }
    }
    hasher.finalize().to_string()
}

/// The manifest as it stands in its file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    format_version: u32,
    record: String,
    manifest: ReplayManifest,
    /// BLAKE3 of the manifest's JSON with sorted keys.
    seal: String,
}

/// What tells a replay manifest from any other JSON, whatever its version.
#[derive(Debug, Deserialize)]
struct Label {
    format_version: u32,
    record: String,
}

/// Hash of a manifest as JSON. It is taken of what stands in the file, not of what this version understands of it, so that
/// a setting that a later version adds does not break the seal of older manifests.
fn seal_of(manifest: &serde_json::Value) -> String {
    blake3::hash(manifest.to_string().as_bytes()).to_string()
}

/// What became of the wav that a manifest was written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WavState {
    /// It is as it was recorded.
    Same,
    /// Something else stands under its name.
    Changed,
    /// It is not there, or cannot be read.
    Missing,
}

/// A value that is not as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What differs.
    pub what: &'static str,
    /// As recorded.
    pub recorded: String,
    /// As it is now.
    pub found: String,
}

impl Difference {
    fn between(what: &'static str, recorded: &str, found: &str) -> Option<Self> {
        let (recorded, found) = (recorded.to_owned(), found.to_owned());
        (recorded != found).then_some(Self { what, recorded, found })
    }
}

impl Display for Difference {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: recorded {}, now {}", self.what, self.recorded, self.found)
    }
}

/// What a replay gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// The speech.
    pub speech: Speech,
    /// Its record.
    pub record: RecordedSpeech,
    /// What did not come out again: the wav, the codes, or both. Empty if it was reproduced.
    pub differences: Vec<Difference>,
    /// What is not as it was and may explain a difference: program, platform, device.
    pub surroundings: Vec<Difference>,
}

impl Replay {
    /// Whether every byte of the wav and every code came out again.
    pub fn is_reproduced(&self) -> bool {
        self.differences.is_empty()
    }
}

impl ReplayManifest {
    /// The record of a speech that goes to `wav`.
    ///
    /// # Errors
    /// An unknown voice; speech that no wav can hold.
    pub fn new(
        synthesizer: &Synthesizer,
        request: &SynthesisRequest,
        speech: &Speech,
        wav: &Path,
    ) -> Result<Self, InferenceError> {
        let name = wav.file_name().unwrap_or_default().to_string_lossy();
        Ok(Self {
            bundle: synthesizer.origin().clone(),
            request: synthesizer.complete(request)?,
            device: synthesizer.device().to_string(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            platform: platform(),
            speech: RecordedSpeech::new(speech, &name)?,
        })
    }

    /// Where the manifest of a wav stands: beside it, under the same stem.
    pub fn path_of(wav: &Path) -> PathBuf {
        wav.with_extension("json")
    }

    /// Whether the manifest of a wav may be written: nothing stands in its place, or another replay manifest.
    ///
    /// # Errors
    /// A file that is no replay manifest.
    pub fn check_place(wav: &Path) -> Result<(), InferenceError> {
        let path = Self::path_of(wav);
        let foreign = |reason: String| InferenceError::Foreign { path: path.clone(), reason };
        if path == wav {
            return Err(foreign("it is the name of the wav itself".into()));
        }
        match std::fs::read(&path) {
            Ok(bytes) => read_label(&bytes).map(|_| ()).map_err(foreign),
            // A directory that is not there is for the wav to say.
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(()),
            Err(e) => Err(foreign(e.to_string())),
        }
    }

    /// Writes the wav, then its manifest beside it.
    ///
    /// # Errors
    /// A file in the manifest's place that is none: then nothing is written. A path that cannot be written to; the error says
    /// whether the wav is there.
    pub fn save(&self, speech: &Speech, wav: &Path) -> Result<(), InferenceError> {
        Self::check_place(wav)?;
        speech.save(wav)?;
        let path = Self::path_of(wav);
        let bytes = self.to_bytes().map_err(|e| StorageError::encode(&path, e));
        let written = bytes.and_then(|bytes| publish(&path, &bytes));
        written.map_err(|source| InferenceError::Unrecorded { wav: wav.to_owned(), path, source })
    }

    /// The wav beside a manifest at `path`, and what became of it. A replay does not need it.
    pub fn wav_beside(&self, path: &Path) -> (PathBuf, WavState) {
        let wav = path.with_file_name(&self.speech.wav);
        let state = match std::fs::read(&wav) {
            Ok(bytes) if blake3::hash(&bytes).to_string() == self.speech.wav_blake3 => WavState::Same,
            Ok(_) => WavState::Changed,
            Err(_) => WavState::Missing,
        };
        (wav, state)
    }

    fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        let seal = seal_of(&serde_json::to_value(self)?);
        let record = RECORD.to_owned();
        let format_version = if self.request.reference.is_some() { FORMAT_VERSION } else { 1 };
        let envelope = Envelope { format_version, record, manifest: self.clone(), seal };
        let mut bytes = serde_json::to_vec_pretty(&envelope)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// A file that cannot be read, is no replay manifest, has another version, or was changed after it was written.
    pub fn read(path: &Path) -> Result<Self, InferenceError> {
        let refuse = |reason: String| InferenceError::Replay { path: path.to_owned(), reason };
        let bytes =
            std::fs::read(path).map_err(|e| refuse(format!("{e}; name the OUT.json beside an OUT.wav")))?;
        Self::from_bytes(&bytes).map_err(refuse)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let label = read_label(bytes).map_err(|reason| {
            format!("it is no replay manifest ({reason}); name the OUT.json beside an OUT.wav")
        })?;
        if !(1..=FORMAT_VERSION).contains(&label.format_version) {
            return Err(format!(
                "format version {} is not between 1 and {FORMAT_VERSION}; use the version of the program that wrote it",
                label.format_version
            ));
        }
        let damaged =
            |reason: String| format!("it is damaged ({reason}); restore it from a copy or speak again");
        let envelope: Envelope = serde_json::from_slice(bytes).map_err(|e| damaged(e.to_string()))?;
        let content: serde_json::Value = serde_json::from_slice(bytes).map_err(|e| damaged(e.to_string()))?;
        let found = seal_of(&content["manifest"]);
        if envelope.seal != found {
            let seal = envelope.seal;
            return Err(damaged(format!(
                "it was changed after it was written: its seal is {seal}, its content has {found}"
            )));
        }
        Ok(envelope.manifest)
    }

    /// Opens the bundle that spoke, or the one in `bundle` if it moved, on the recorded device or another.
    ///
    /// # Errors
    /// A bundle that is neither where it was nor given, cannot be opened, or is another one; a device that is not there.
    pub fn open(
        &self,
        bundle: Option<&Path>,
        device: Option<DevicePreference>,
    ) -> Result<Synthesizer, InferenceError> {
        let device = match device {
            Some(device) => device,
            None => self.device.parse()?,
        };
        let recorded = [&self.bundle.absolute_path, &self.bundle.path].map(PathBuf::from);
        let place = bundle.map(Path::to_owned).or_else(|| recorded.into_iter().find(|dir| dir.exists()));
        let moved = || InferenceError::BundleMoved { path: PathBuf::from(&self.bundle.absolute_path) };
        let place = place.ok_or_else(moved)?;
        let synthesizer = SynthesizerBuilder::new(place).device(device).open()?;
        self.check_bundle(&synthesizer)?;
        Ok(synthesizer)
    }

    fn check_bundle(&self, synthesizer: &Synthesizer) -> Result<(), InferenceError> {
        let (found, recorded) = (synthesizer.origin(), &self.bundle);
        if found.blake3 == recorded.blake3 {
            return Ok(());
        }
        Err(InferenceError::OtherBundle {
            path: found.path.clone(),
            found: found.blake3.clone(),
            recorded_path: recorded.path.clone(),
            recorded: recorded.blake3.clone(),
        })
    }

    /// Speaks again and compares.
    ///
    /// # Errors
    /// Another bundle than the one that spoke; a request that this version refuses.
    pub fn replay(&self, synthesizer: &Synthesizer) -> Result<Replay, InferenceError> {
        self.check_bundle(synthesizer)?;
        // Who cancelled a speech decided its length. It was the first candidate, which is drawn alone up to the same frame: the others
        // would be cancelled with it.
        let was_cancelled = self.speech.stop == StopReason::Cancelled;
        let goes_on = |n: usize| !was_cancelled || n < self.speech.n_frames;
        let mut request = self.request.clone();
        if was_cancelled {
            let decode = request.decode.as_ref().unwrap_or(synthesizer.decode_config());
            request.decode = Some(DecodeConfig { best_of: 1, ..decode.clone() });
        }
        let speech = synthesizer.speak_with_progress(&request, goes_on)?;
        let now = Self::new(synthesizer, &self.request, &speech, Path::new(&self.speech.wav))?;
        let (was, is) = (&self.speech, &now.speech);
        let differences = [
            Difference::between("wav", &was.wav_blake3, &is.wav_blake3),
            Difference::between("codes", &was.codes_blake3, &is.codes_blake3),
        ];
        let surroundings = [
            Difference::between("program", &self.program, &now.program),
            Difference::between("platform", &self.platform, &now.platform),
            Difference::between("device", &self.device, &now.device),
        ];
        Ok(Replay {
            speech,
            record: now.speech,
            differences: differences.into_iter().flatten().collect(),
            surroundings: surroundings.into_iter().flatten().collect(),
        })
    }
}

fn read_label(bytes: &[u8]) -> Result<Label, String> {
    let label: Label = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    if label.record == RECORD {
        return Ok(label);
    }
    Err(format!("its record is {:?}, not {RECORD:?}", label.record))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Waveform;

    fn speech() -> Speech {
        Speech {
            attention: harmonica_model_core::decode::TextAttention::default(),
            waveform: Waveform::new(vec![0.0, 0.5, -0.5], 16_000),
            codes: vec![vec![1, 2], vec![3, 4]],
            normalized_text: "abc".into(),
            stop: StopReason::EndOfSpeech,
            warnings: vec!["it has never heard: abc".into()],
        }
    }

    fn manifest() -> ReplayManifest {
        let (path, absolute_path) = ("bundle".to_owned(), "/bundle".to_owned());
        ReplayManifest {
            bundle: BundleOrigin { path, absolute_path, blake3: blake3::hash(b"bundle").to_string() },
            request: SynthesisRequest::new("\"Abc\", \u{e9}!").seed(u64::MAX).decode(DecodeConfig::default()),
            device: "cpu".into(),
            program: "0.1.0".into(),
            platform: platform(),
            speech: RecordedSpeech::new(&speech(), "out.wav").unwrap(),
        }
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_an_error_or_leaves_the_manifest_as_it_was() {
        let manifest = manifest();
        let bytes = manifest.to_bytes().unwrap();
        assert_eq!(ReplayManifest::from_bytes(&bytes).unwrap(), manifest);
        let mut refused = 0;
        for i in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[i] ^= 1 << bit;
                match ReplayManifest::from_bytes(&changed) {
                    // White space that became other white space.
                    Ok(read) => assert_eq!(read, manifest, "bit {bit} of byte {i}"),
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(refused > 4 * bytes.len(), "{refused} of {}", 8 * bytes.len());
        for end in 0..bytes.len() - 1 {
            assert!(ReplayManifest::from_bytes(&bytes[..end]).is_err(), "cut after {end} bytes");
        }
    }

    #[test]
    fn a_manifest_that_cannot_be_written_says_that_the_wav_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let wav = dir.path().join("out.wav");
        let (speech, manifest) = (speech(), manifest());
        let blocked = dir.path().join(format!(".staging-{}-out.json", std::process::id()));
        std::fs::create_dir(&blocked).unwrap();
        let error = manifest.save(&speech, &wav).unwrap_err();
        assert!(matches!(error, InferenceError::Unrecorded { .. }), "{error}");
        assert!(error.to_string().contains("out.wav` is written") && error.to_string().contains("out.json"));
        assert_eq!(manifest.wav_beside(&ReplayManifest::path_of(&wav)), (wav.clone(), WavState::Same));
        std::fs::remove_dir(&blocked).unwrap();
        manifest.save(&speech, &wav).unwrap();
        assert_eq!(ReplayManifest::read(&ReplayManifest::path_of(&wav)).unwrap(), manifest);
        std::fs::write(&wav, "other").unwrap();
        assert_eq!(manifest.wav_beside(&dir.path().join("out.json")).1, WavState::Changed);
    }

    #[test]
    fn the_hash_of_codes_knows_where_a_codebook_ends() {
        let hashes = [vec![vec![1, 2], vec![3]], vec![vec![1], vec![2, 3]], vec![vec![1, 2, 3]]];
        let hashes: std::collections::BTreeSet<String> = hashes.iter().map(|c| codes_blake3(c)).collect();
        assert_eq!(hashes.len(), 3);
    }
}
