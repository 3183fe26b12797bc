//! How near speech is to the voice that was asked for.
//!
//! In: waveforms of known voices and of a system; out: [`SystemSimilarity`]. Every utterance is held against its own voice *and*
//! the best other one, because a cosine alone is high between any two voices. Invariant: an utterance is never compared with a
//! recording of the sentence that it says.

use crate::EvalError;
use crate::statistics::bootstrap;
use harmonica_audio::{MelFilterbank, Stft, Waveform, load, mel_spectrogram, resample};
use harmonica_config_schema::record::{
    SystemEvaluation, SystemSimilarity, UtteranceSimilarity, VoiceReferences,
};
use std::collections::BTreeMap;
use std::path::Path;

/// Voices need so many recordings, so that one may be left out.
const MIN_RECORDINGS: usize = 3;
/// Resamples of the bootstrap.
const N_RESAMPLES: usize = 1000;

/// Turns speech into a vector that says who speaks.
pub trait SpeakerEmbedder {
    /// Name in records.
    fn name(&self) -> String;

    /// Whether dimensions are centred and scaled by the spread within the reference voices before they are compared.
    fn is_whitened(&self) -> bool;

    /// The vector of an utterance.
    ///
    /// # Errors
    /// A sample rate that cannot be converted, or a model that fails.
    fn embed(&self, waveform: &Waveform) -> Result<Vec<f32>, EvalError>;
}

/// Means and standard deviations of log-mel bands and of their differences from frame to frame: the colour of a voice and of its
/// channel, without pitch tracking and without weights. Not comparable with learned embedders.
#[derive(Debug, Clone)]
pub struct SpectralStatistics {
    stft: Stft,
    filters: MelFilterbank,
}

const RATE_HZ: u32 = 16_000;
const N_BANDS: usize = 40;
/// Frames this far under the loudest one, in nats of mean log magnitude, are pauses.
const PAUSE_NATS: f32 = 2.5;
/// Level of the loudest sample before analysis.
const PEAK: f32 = 0.7;

impl Default for SpectralStatistics {
    fn default() -> Self {
        let stft = Stft::new(512, 400, 160);
        let filters = MelFilterbank::new(N_BANDS, stft.n_bins(), RATE_HZ, 60.0, 7600.0);
        Self { stft, filters }
    }
}

impl SpeakerEmbedder for SpectralStatistics {
    fn name(&self) -> String {
        "spectral-statistics-v1".into()
    }

    fn is_whitened(&self) -> bool {
        true
    }

    fn embed(&self, waveform: &Waveform) -> Result<Vec<f32>, EvalError> {
        let waveform = if waveform.sample_rate_hz() == RATE_HZ {
            waveform.clone()
        } else {
            resample(waveform, RATE_HZ)?
        };
        let gain = PEAK / waveform.peak().max(1e-6);
        let mel = mel_spectrogram(&waveform.scaled(gain), &self.stft, &self.filters);
        let frames = mel.values.chunks_exact(N_BANDS);
        let levels: Vec<f32> = frames.map(|f| f.iter().sum::<f32>() / N_BANDS as f32).collect();
        let loudest = levels.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let voiced = |i: &usize| levels[*i] > loudest - PAUSE_NATS;
        let kept: Vec<usize> = (0..levels.len()).filter(voiced).collect();
        let mut vector = Vec::with_capacity(4 * N_BANDS);
        let at = |frame: usize, band: usize| mel.values[frame * N_BANDS + band];
        for band in 0..N_BANDS {
            let values: Vec<f32> = kept.iter().map(|i| at(*i, band)).collect();
            let steps: Vec<f32> =
                kept.iter().filter(|i| **i > 0).map(|i| at(*i, band) - at(*i - 1, band)).collect();
            for (mean, deviation) in [moments(&values), moments(&steps)] {
                vector.extend([mean, deviation]);
            }
        }
        Ok(vector)
    }
}

/// Mean and standard deviation; zeros of nothing.
fn moments(values: &[f32]) -> (f32, f32) {
    let n = values.len().max(1) as f32;
    let mean = values.iter().sum::<f32>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n;
    (mean, variance.sqrt())
}

/// A recording of a known voice.
#[derive(Debug, Clone)]
struct Reference {
    id: String,
    speaker: String,
    vector: Vec<f32>,
}

/// The recordings of a suite's voices.
#[derive(Debug, Clone)]
pub struct VoiceBank {
    whitened: bool,
    references: Vec<Reference>,
}

impl VoiceBank {
    /// A bank of recordings: (id of the sentence, speaker, vector). `None` if fewer than two voices have three recordings each:
    /// then nothing can be said.
    pub fn new(embedder: &dyn SpeakerEmbedder, recordings: Vec<(String, String, Vec<f32>)>) -> Option<Self> {
        let mut references: Vec<Reference> =
            recordings.into_iter().map(|(id, speaker, vector)| Reference { id, speaker, vector }).collect();
        let counts = count(&references);
        references.retain(|r| counts.get(&r.speaker).is_some_and(|n| *n >= MIN_RECORDINGS));
        (count(&references).len() >= 2).then(|| Self { whitened: embedder.is_whitened(), references })
    }

    /// The voices, by name.
    pub fn voices(&self) -> Vec<VoiceReferences> {
        let counted = count(&self.references).into_iter();
        counted.map(|(speaker, n_recordings)| VoiceReferences { speaker, n_recordings }).collect()
    }

    /// Similarities of an utterance to its own voice and to the nearest other; `None` if its voice is not in the bank. Recordings
    /// of its own sentence count for no voice.
    pub fn compare(&self, id: &str, speaker: &str, vector: &[f32]) -> Option<UtteranceSimilarity> {
        let known: Vec<&Reference> =
            self.references.iter().filter(|r| r.id != id && r.vector.len() == vector.len()).collect();
        let mut voices: BTreeMap<&str, Vec<&[f32]>> = BTreeMap::new();
        for reference in known {
            voices.entry(&reference.speaker).or_default().push(&reference.vector);
        }
        let means: BTreeMap<&str, Vec<f32>> = voices.iter().map(|(s, all)| (*s, mean(all))).collect();
        let centre = mean(&means.values().map(Vec::as_slice).collect::<Vec<_>>());
        let scale = within(&voices, &means, centre.len());
        let shaped = |vector: &[f32]| -> Vec<f32> {
            if !self.whitened {
                return vector.to_vec();
            }
            vector.iter().zip(&centre).zip(&scale).map(|((v, c), s)| (v - c) / s).collect()
        };
        let own = shaped(vector);
        let similarity = |voice: &str| means.get(voice).map(|m| cosine(&own, &shaped(m)));
        let target = similarity(speaker)?;
        let others = means.keys().filter(|other| **other != speaker);
        let (best_other, other) = others
            .filter_map(|other| Some((*other, similarity(other)?)))
            .max_by(|a, b| a.1.total_cmp(&b.1))?;
        Some(UtteranceSimilarity {
            id: id.to_owned(),
            speaker: speaker.to_owned(),
            target,
            best_other: best_other.to_owned(),
            other,
        })
    }
}

fn count(references: &[Reference]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for reference in references {
        *counts.entry(reference.speaker.clone()).or_insert(0) += 1;
    }
    counts
}

fn mean(vectors: &[&[f32]]) -> Vec<f32> {
    let mut sum = vec![0.0; vectors.first().map_or(0, |v| v.len())];
    for vector in vectors {
        for (s, v) in sum.iter_mut().zip(*vector) {
            *s += v;
        }
    }
    let n = vectors.len().max(1) as f32;
    sum.iter_mut().for_each(|s| *s /= n);
    sum
}

/// Spread of each dimension within voices: what does not tell them apart.
fn within(
    voices: &BTreeMap<&str, Vec<&[f32]>>,
    means: &BTreeMap<&str, Vec<f32>>,
    n_dimensions: usize,
) -> Vec<f32> {
    let mut squares = vec![0.0_f32; n_dimensions];
    let mut n = 0;
    for (speaker, vectors) in voices {
        let Some(mean) = means.get(speaker) else { continue };
        for vector in vectors {
            n += 1;
            for ((square, v), m) in squares.iter_mut().zip(*vector).zip(mean) {
                *square += (v - m).powi(2);
            }
        }
    }
    squares.into_iter().map(|s| (s / n.max(1) as f32).sqrt().max(1e-4)).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms > 0.0 { dot(a, b) / norms } else { 0.0 }
}

/// Sums the utterances of a system up; `None` without any.
pub fn summarise_similarity(system: &str, utterances: Vec<UtteranceSimilarity>) -> Option<SystemSimilarity> {
    let n = utterances.len();
    if n == 0 {
        return None;
    }
    let margins: Vec<f64> = utterances.iter().map(UtteranceSimilarity::margin).collect();
    let mean = |picked: &mut dyn Iterator<Item = usize>| picked.map(|i| margins[i]).sum::<f64>() / n as f64;
    Some(SystemSimilarity {
        system: system.to_owned(),
        target: utterances.iter().map(|u| u.target).sum::<f64>() / n as f64,
        margin: bootstrap(n, N_RESAMPLES, mean),
        nearest_share: margins.iter().filter(|m| **m > 0.0).count() as f64 / n as f64,
        utterances,
    })
}

/// The vector of a recording. None where the embedder cannot hear it, and a warning tells why.
///
/// # Errors
/// A file that cannot be read.
pub fn vector_of_file(embedder: &dyn SpeakerEmbedder, file: &Path) -> Result<Option<Vec<f32>>, EvalError> {
    match embedder.embed(&load(file)?) {
        Ok(vector) => Ok(Some(vector)),
        Err(error) => {
            tracing::warn!("`{}` has no vector of its voice: {error}", file.display());
            Ok(None)
        }
    }
}

/// Compares the utterances of a system, whose paths are relative to `root`, with a bank; those that cannot be heard are absent.
///
/// # Errors
/// A file that cannot be read.
pub fn similarity_of_system(
    system: &SystemEvaluation,
    root: &Path,
    embedder: &dyn SpeakerEmbedder,
    bank: &VoiceBank,
) -> Result<Option<SystemSimilarity>, EvalError> {
    let mut compared = Vec::new();
    for u in &system.utterances {
        if let Some(vector) = vector_of_file(embedder, &root.join(&u.path))? {
            compared.extend(bank.compare(&u.id, &u.speaker, &vector));
        }
    }
    Ok(summarise_similarity(&system.system, compared))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judgement::unmeasured;
    use harmonica_config_schema::RandomStream;
    use std::f64::consts::TAU;

    /// A vowel: harmonics of `pitch_hz` under resonances at `formants_hz`.
    fn vowel(seed: u64, pitch_hz: f64, formants_hz: [f64; 2]) -> Waveform {
        let mut stream = RandomStream::new(seed, "vowel", &[]);
        let phases: Vec<f64> = (0..80).map(|_| TAU * stream.uniform()).collect();
        let samples = (0..16_000).map(|t| {
            let at = t as f64 / 16_000.0;
            let partial = |k: usize| {
                let hz = pitch_hz * (k + 1) as f64;
                let resonance: f64 =
                    formants_hz.iter().map(|f| 1.0 / (1.0 + ((hz - f) / 150.0).powi(2))).sum();
                if hz < 7500.0 { resonance * (TAU * hz * at + phases[k]).sin() } else { 0.0 }
            };
            (0..80).map(partial).sum::<f64>() as f32 * 0.1 * (1.0 + 0.5 * (9.0 * at as f32).sin())
                + 1e-3 * stream.normal() as f32
        });
        Waveform::new(samples.collect(), 16_000)
    }

    fn bank(embedder: &SpectralStatistics) -> VoiceBank {
        let voices = [("low", [500.0, 1500.0]), ("high", [700.0, 2300.0])];
        let mut recordings = Vec::new();
        for (speaker, formants) in voices {
            for i in 0..5 {
                let wave = vowel(i, 100.0 + 10.0 * i as f64, formants);
                recordings.push((
                    format!("{speaker}-{i}"),
                    speaker.to_owned(),
                    embedder.embed(&wave).unwrap(),
                ));
            }
        }
        recordings.push(("once".into(), "once".into(), vec![0.0; 4 * N_BANDS]));
        VoiceBank::new(embedder, recordings).unwrap()
    }

    #[test]
    fn an_utterance_is_nearer_to_its_own_voice_at_any_pitch_and_level() {
        let embedder = SpectralStatistics::default();
        let bank = bank(&embedder);
        assert_eq!(bank.voices().len(), 2, "a voice with one recording is no reference");
        for (speaker, formants) in [("low", [500.0, 1500.0]), ("high", [700.0, 2300.0])] {
            for pitch in [95.0, 128.0, 155.0] {
                let vector = embedder.embed(&vowel(50, pitch, formants).scaled(0.2)).unwrap();
                let found = bank.compare("new", speaker, &vector).unwrap();
                assert!(found.margin() > 0.0, "{speaker} at {pitch} Hz: {found:?}");
            }
        }
        assert!(bank.compare("new", "unknown", &[0.0; 4 * N_BANDS]).is_none());
    }

    #[test]
    fn a_recording_of_the_same_sentence_counts_for_no_voice() {
        let embedder = SpectralStatistics::default();
        let bank = bank(&embedder);
        let vector = embedder.embed(&vowel(0, 100.0, [500.0, 1500.0])).unwrap();
        let own = bank.compare("low-0", "low", &vector).unwrap();
        let other = bank.compare("other", "low", &vector).unwrap();
        assert!(own.target < other.target, "{own:?} {other:?}");
    }

    #[test]
    fn silence_and_single_voices_are_no_reason_to_fail() {
        let embedder = SpectralStatistics::default();
        for n_samples in [0, 1, 16_000] {
            let vector = embedder.embed(&Waveform::new(vec![0.0; n_samples], 16_000)).unwrap();
            assert!(vector.len() == 4 * N_BANDS && vector.iter().all(|v| v.is_finite()));
        }
        assert!(VoiceBank::new(&embedder, vec![("a".into(), "a".into(), vec![1.0])]).is_none());
        assert!(summarise_similarity("s", Vec::new()).is_none());
    }

    /// Level and slope; hears no silence.
    struct Deaf;

    impl SpeakerEmbedder for Deaf {
        fn name(&self) -> String {
            "deaf".into()
        }

        fn is_whitened(&self) -> bool {
            false
        }

        fn embed(&self, waveform: &Waveform) -> Result<Vec<f32>, EvalError> {
            let unheard = || EvalError::Recognizer { command: "deaf".into(), reason: "silence".into() };
            let peak = waveform.peak();
            (peak > 0.0).then_some(vec![peak, 1.0 - peak]).ok_or_else(unheard)
        }
    }

    #[test]
    fn an_utterance_that_the_embedder_cannot_hear_is_absent_and_ends_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let voice = |speaker: &str, vector: [f32; 2]| {
            (0..3)
                .map(|i| (format!("{speaker}-{i}"), speaker.to_owned(), vector.to_vec()))
                .collect::<Vec<_>>()
        };
        let all: Vec<_> = [voice("loud", [0.9, 0.1]), voice("soft", [0.1, 0.9])].concat();
        let bank = VoiceBank::new(&Deaf, all).unwrap();
        let spoken = [("a", 0.8), ("b", 0.0), ("c", 0.7)].map(|(id, level)| {
            let path = format!("{id}.wav");
            harmonica_audio::save(&dir.path().join(&path), &Waveform::new(vec![level; 1600], 16_000))
                .unwrap();
            let mut record = unmeasured(&path, "one", 0.1);
            (record.id, record.speaker) = (id.to_owned(), "loud".to_owned());
            crate::Judged { record }
        });
        let system = crate::summarise("s", spoken.into(), 10);
        let similarity = similarity_of_system(&system, dir.path(), &Deaf, &bank).unwrap().unwrap();
        let ids: Vec<&str> = similarity.utterances.iter().map(|u| u.id.as_str()).collect();
        assert_eq!(ids, ["a", "c"]);
        assert!(vector_of_file(&Deaf, &dir.path().join("none.wav")).is_err());
    }
}
