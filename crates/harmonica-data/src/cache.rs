//! Encoded utterances as a sealed directory: `index.json`, `codes.bin` (u16, little endian) and `fingerprint.json`.
//!
//! Invariant: what opens is whole, of the settings asked for, and in range.

use crate::{CacheFingerprint, DataError, Split};
use harmonica_codec::CodecTokens;
use harmonica_config_schema::{CodecSpec, Fingerprint};
use harmonica_storage::{FileCheck, Sealed, Staged, StorageError, require_space, stays_inside};
use harmonica_text::Vocab;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const CODES: &str = "codes.bin";
const FINGERPRINT: &str = "fingerprint.json";
const INDEX: &str = "index.json";
/// 2: hashes stand in the manifest.
const FORMAT_VERSION: u32 = 2;

/// One encoded utterance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CachedUtterance {
    /// Name in the corpus.
    pub id: String,
    /// Normalized transcript.
    pub text: String,
    /// Its symbol ids.
    pub text_ids: Vec<usize>,
    /// Index into [`TokenCache::speakers`].
    pub speaker: usize,
    /// Split.
    pub split: Split,
    /// Audio file, relative to the corpus.
    pub audio: PathBuf,
    /// First code in `codes.bin`.
    pub first_code: usize,
    /// Codec frames.
    pub n_frames: usize,
    /// Samples of the waveform at the codec's rate.
    pub n_samples: usize,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    format_version: u32,
    spec: CodecSpec,
    vocab: Vocab,
    speakers: Vec<String>,
    utterances: Vec<CachedUtterance>,
}

/// An open cache.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenCache {
    spec: CodecSpec,
    vocab: Vocab,
    speakers: Vec<String>,
    utterances: Vec<CachedUtterance>,
    codes: Vec<u16>,
    fingerprint: CacheFingerprint,
}

impl TokenCache {
    /// A cache in memory. `tokens` belong to the utterances, in order; their `first_code` is set here.
    ///
    /// # Panics
    /// If there are not as many tokens as utterances.
    pub fn new(
        spec: CodecSpec,
        vocab: Vocab,
        speakers: Vec<String>,
        utterances: Vec<CachedUtterance>,
        tokens: &[CodecTokens],
        fingerprint: CacheFingerprint,
    ) -> Self {
        assert_eq!(utterances.len(), tokens.len(), "tokens belong to utterances");
        let mut codes = Vec::new();
        let utterances = utterances
            .into_iter()
            .zip(tokens)
            .map(|(utterance, tokens)| {
                let first_code = codes.len();
                codes.extend_from_slice(tokens.codes());
                CachedUtterance {
                    first_code,
                    n_frames: tokens.n_frames(),
                    n_samples: tokens.n_samples(),
                    ..utterance
                }
            })
            .collect();
        Self { spec, vocab, speakers, utterances, codes, fingerprint }
    }

    /// What the codes mean.
    pub fn spec(&self) -> &CodecSpec {
        &self.spec
    }

    /// Vocabulary of the symbol ids.
    pub fn vocab(&self) -> &Vocab {
        &self.vocab
    }

    /// Speaker names; an utterance holds an index into them.
    pub fn speakers(&self) -> &[String] {
        &self.speakers
    }

    /// All utterances, in corpus order.
    pub fn utterances(&self) -> &[CachedUtterance] {
        &self.utterances
    }

    /// What it was made from.
    pub fn fingerprint(&self) -> &CacheFingerprint {
        &self.fingerprint
    }

    /// Indices of the utterances of a split.
    pub fn split(&self, split: Split) -> Vec<usize> {
        (0..self.utterances.len()).filter(|i| self.utterances[*i].split == split).collect()
    }

    /// Codes of one utterance, codebook by codebook `[Q, T]`.
    pub fn codes(&self, utterance: usize) -> &[u16] {
        let u = &self.utterances[utterance];
        &self.codes[u.first_code..u.first_code + u.n_frames * self.spec.n_codebooks]
    }

    /// Writes the cache, in the place of a cache that stood there, with `companions` sealed into the same directory: names
    /// and contents of what was learned on the way. One step, so that several processes on one directory leave one of them.
    ///
    /// # Errors
    /// A directory that cannot be written to or that holds something else.
    pub fn write(&self, dir: &Path, companions: &[(&str, Vec<u8>)]) -> Result<(), DataError> {
        let bytes: Vec<u8> = self.codes.iter().flat_map(|c| c.to_le_bytes()).collect();
        let index = Index {
            format_version: FORMAT_VERSION,
            spec: self.spec.clone(),
            vocab: self.vocab.clone(),
            speakers: self.speakers.clone(),
            utterances: self.utterances.clone(),
        };
        let unspelled = |e: serde_json::Error| StorageError::encode(dir, e);
        let index = serde_json::to_vec(&index).map_err(unspelled)?;
        let fingerprint = serde_json::to_vec_pretty(&self.fingerprint).map_err(unspelled)?;
        let beside: usize = companions.iter().map(|(_, content)| content.len()).sum();
        require_space(dir, (bytes.len() + index.len() + fingerprint.len() + beside) as u64)?;
        let mut staged = Staged::begin_in_place_of(dir, FINGERPRINT, "token cache")?;
        staged.file(CODES, &bytes)?;
        staged.file(INDEX, &index)?;
        staged.file(FINGERPRINT, &fingerprint)?;
        for (name, content) in companions {
            staged.file(name, content)?;
        }
        Ok(staged.commit()?)
    }

    /// Opens a cache. With `wanted`, a cache made from anything else is refused.
    ///
    /// # Errors
    /// A cache that is missing, damaged or stale; a stale one with each differing key.
    pub fn open(dir: &Path, wanted: Option<&CacheFingerprint>) -> Result<Self, DataError> {
        if !dir.is_dir() {
            return Err(DataError::NoCache { path: dir.to_owned() });
        }
        let damaged =
            |check: FileCheck| DataError::DamagedCache { path: dir.to_owned(), reason: check.to_string() };
        let sealed = Sealed::open(dir).map_err(damaged)?;
        let read = |name: &str| sealed.read(name).map_err(damaged);
        Self::open_bytes(dir, &read(FINGERPRINT)?, &read(INDEX)?, &read(CODES)?, wanted)
    }

    /// As [`TokenCache::open`], of the bytes of its files; `dir` stands for them in errors.
    ///
    /// # Errors
    /// A cache that is damaged or stale.
    pub fn open_bytes(
        dir: &Path,
        fingerprint: &[u8],
        index: &[u8],
        codes: &[u8],
        wanted: Option<&CacheFingerprint>,
    ) -> Result<Self, DataError> {
        let damaged = |reason: String| DataError::DamagedCache { path: dir.to_owned(), reason };
        let fingerprint: CacheFingerprint =
            serde_json::from_slice(fingerprint).map_err(|e| damaged(format!("{FINGERPRINT}: {e}")))?;
        if let Some(wanted) = wanted {
            let differences = fingerprint.differences(wanted);
            if !differences.is_empty() {
                return Err(DataError::StaleCache { path: dir.to_owned(), differences });
            }
        }
        let index: Index = serde_json::from_slice(index).map_err(|e| damaged(format!("{INDEX}: {e}")))?;
        if index.format_version != FORMAT_VERSION {
            return Err(damaged(format!("format version {} is not {FORMAT_VERSION}", index.format_version)));
        }
        let (pairs, rest) = codes.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(damaged(format!("{CODES} ends within a code")));
        }
        let codes: Vec<u16> = pairs.iter().map(|p| u16::from_le_bytes(*p)).collect();
        let cache = Self {
            spec: index.spec,
            vocab: index.vocab,
            speakers: index.speakers,
            utterances: index.utterances,
            codes,
            fingerprint,
        };
        cache.check().map_err(damaged)?;
        Ok(cache)
    }

    fn check(&self) -> Result<(), String> {
        let CodecSpec { sample_rate_hz, hop_samples, n_codebooks, codebook_size, .. } = self.spec;
        if sample_rate_hz == 0 || [hop_samples, n_codebooks, codebook_size].contains(&0) {
            return Err("its codec has no samples, codebooks or codes".into());
        }
        self.vocab.check().map_err(|e| e.to_string())?;
        if let Some(code) = self.codes.iter().find(|c| usize::from(**c) >= self.spec.codebook_size) {
            return Err(format!("code {code} is beyond the codebook size {}", self.spec.codebook_size));
        }
        let mut ids = BTreeSet::new();
        let mut next_code = 0_usize;
        for u in &self.utterances {
            let end = u.n_frames.checked_mul(n_codebooks).and_then(|n| n.checked_add(next_code));
            let fits = u.first_code == next_code
                && end.is_some_and(|end| end <= self.codes.len())
                && u.n_frames > 0
                && u.n_samples.div_ceil(hop_samples) <= u.n_frames
                && u.speaker < self.speakers.len()
                && !u.text_ids.is_empty()
                && u.text_ids.iter().all(|id| *id != Vocab::PAD && *id < self.vocab.len())
                && stays_inside(&u.audio);
            if !fits {
                return Err(format!("utterance `{}` points outside of its tables", u.id));
            }
            if !ids.insert(&u.id) {
                return Err(format!("utterance `{}` occurs twice", u.id));
            }
            next_code = end.unwrap_or(next_code);
        }
        if next_code != self.codes.len() {
            return Err(format!("{} codes belong to no utterance", self.codes.len() - next_code));
        }
        Ok(())
    }

    /// Hash of the cache's settings, for records.
    pub fn digest(&self) -> Fingerprint {
        self.fingerprint.digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Opens a cache of two utterances whose index was changed.
    fn open(change: impl FnOnce(&mut Value)) -> Result<TokenCache, String> {
        let codes: Vec<u8> = [1_u16, 2, 3, 4, 5, 6].into_iter().flat_map(u16::to_le_bytes).collect();
        let mut index = json!({
            "format_version": FORMAT_VERSION,
            "spec": {
                "id": "mel_rvq", "sample_rate_hz": 16_000, "hop_samples": 640, "n_codebooks": 2, "codebook_size": 8
            },
            "vocab": { "format_version": 1, "characters": ["a", "b"] },
            "speakers": ["s"],
            "utterances": [
                { "id": "u", "text": "ab", "text_ids": [2, 3], "speaker": 0, "split": "train", "audio": "u.wav",
                  "first_code": 0, "n_frames": 1, "n_samples": 600 },
                { "id": "v", "text": "b", "text_ids": [3], "speaker": 0, "split": "test", "audio": "v.wav",
                  "first_code": 2, "n_frames": 2, "n_samples": 1280 },
            ],
        });
        change(&mut index);
        TokenCache::open_bytes(Path::new("cache"), b"{}", index.to_string().as_bytes(), &codes, None)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_index_that_contradicts_its_tables_is_refused() {
        assert_eq!(open(|_| ()).unwrap().codes(1), [3, 4, 5, 6]);
        for (pointer, value, word) in [
            ("/spec/n_codebooks", json!(0), "no samples"),
            ("/spec/hop_samples", json!(0), "no samples"),
            ("/vocab/characters", json!(["a", "a"]), "twice"),
            ("/utterances/1/id", json!("u"), "twice"),
            ("/utterances/1/first_code", json!(0), "outside"),
            ("/utterances/1/n_frames", json!(1), "outside"),
            ("/utterances", json!([]), "no utterance"),
            ("/utterances/1/n_frames", json!(usize::MAX), "outside"),
            ("/utterances/1/n_samples", json!(1281), "outside"),
            ("/utterances/1/text_ids", json!([0]), "outside"),
            ("/utterances/1/text_ids", json!([4]), "outside"),
            ("/utterances/1/speaker", json!(1), "outside"),
            ("/utterances/1/audio", json!("../v.wav"), "outside"),
        ] {
            let error = open(|index| *index.pointer_mut(pointer).unwrap() = value).unwrap_err();
            assert!(error.contains(word), "{pointer}: {error}");
        }
    }

    #[test]
    fn codes_that_end_within_a_code_are_refused() {
        let index = json!({
            "format_version": FORMAT_VERSION,
            "spec": { "id": "x", "sample_rate_hz": 1, "hop_samples": 1, "n_codebooks": 1, "codebook_size": 9 },
            "vocab": { "format_version": 1, "characters": [] },
            "speakers": [],
            "utterances": [],
        })
        .to_string();
        let open =
            |codes: &[u8]| TokenCache::open_bytes(Path::new("cache"), b"{}", index.as_bytes(), codes, None);
        open(&[]).unwrap();
        assert!(open(&[1]).unwrap_err().to_string().contains("within a code"));
    }
}
