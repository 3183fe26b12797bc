//! Encoded utterances as a sealed directory: `index.json`, `codes.bin` (u16, little endian) and `fingerprint.json`.
//!
//! Invariant: what opens is whole, of the settings asked for, and in range.

use crate::{CacheFingerprint, DataError, Split};
use harmonica_codec::CodecTokens;
use harmonica_config_schema::{CodecSpec, Fingerprint};
use harmonica_storage::{FileCheck, Sealed, Staged, StorageError, require_space};
use harmonica_text::Vocab;
use serde::{Deserialize, Serialize};
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

    /// Writes the cache, in the place of a cache that stood there.
    ///
    /// # Errors
    /// A directory that cannot be written to or that holds something else.
    pub fn write(&self, dir: &Path) -> Result<(), DataError> {
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
        require_space(dir, (bytes.len() + index.len() + fingerprint.len()) as u64)?;
        let mut staged = Staged::begin_in_place_of(dir, FINGERPRINT, "token cache")?;
        staged.file(CODES, &bytes)?;
        staged.file(INDEX, &index)?;
        staged.file(FINGERPRINT, &fingerprint)?;
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
        let damaged = |reason: String| DataError::DamagedCache { path: dir.to_owned(), reason };
        let changed = |check: FileCheck| damaged(check.to_string());
        let sealed = Sealed::open(dir).map_err(changed)?;
        let read = |name: &str| sealed.read(name).map_err(changed);
        let fingerprint: CacheFingerprint = serde_json::from_slice(&read(FINGERPRINT)?)
            .map_err(|e| damaged(format!("{FINGERPRINT}: {e}")))?;
        if let Some(wanted) = wanted {
            let differences = fingerprint.differences(wanted);
            if !differences.is_empty() {
                return Err(DataError::StaleCache { path: dir.to_owned(), differences });
            }
        }
        let index: Index =
            serde_json::from_slice(&read(INDEX)?).map_err(|e| damaged(format!("{INDEX}: {e}")))?;
        if index.format_version != FORMAT_VERSION {
            return Err(damaged(format!("format version {} is not {FORMAT_VERSION}", index.format_version)));
        }
        let bytes = read(CODES)?;
        let (pairs, _) = bytes.as_chunks::<2>();
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
        if let Some(code) = self.codes.iter().find(|c| usize::from(**c) >= self.spec.codebook_size) {
            return Err(format!("code {code} is beyond the codebook size {}", self.spec.codebook_size));
        }
        for u in &self.utterances {
            let end = u.n_frames.checked_mul(self.spec.n_codebooks).and_then(|n| n.checked_add(u.first_code));
            let fits = end.is_some_and(|end| end <= self.codes.len())
                && u.n_frames > 0
                && u.speaker < self.speakers.len()
                && !u.text_ids.is_empty()
                && u.text_ids.iter().all(|id| *id < self.vocab.len());
            if !fits {
                return Err(format!("utterance `{}` points outside of its tables", u.id));
            }
        }
        Ok(())
    }

    /// Hash of the cache's settings, for records.
    pub fn digest(&self) -> Fingerprint {
        self.fingerprint.digest()
    }
}
