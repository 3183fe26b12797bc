//! Encoded utterances as a sealed directory: `index.json`, `fingerprint.json` and `shards/`, whose codes (u16, little endian) are
//! paged in as they are asked for.
//!
//! Invariant: what opens is whole, of the settings asked for, and in range.

use crate::manifest::Segment;
use crate::shard::{codes, n_codes};
use crate::{CacheFingerprint, DataError, Split};
use harmonica_config_schema::{CodecSpec, Fingerprint};
use harmonica_storage::{FileCheck, Mapped, Sealed, stays_inside};
use harmonica_text::Vocab;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) const FINGERPRINT: &str = "fingerprint.json";
pub(crate) const INDEX: &str = "index.json";
/// 3: shards.
pub(crate) const FORMAT_VERSION: u32 = 3;

/// One encoded utterance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CachedUtterance {
    /// Name in the corpus.
    pub id: String,
    /// Normalized transcript.
    pub text: String,
    /// Its symbol ids.
    pub text_ids: Box<[u16]>,
    /// Index into [`TokenCache::speakers`].
    pub speaker: usize,
    /// Index into [`TokenCache::corpora`].
    pub corpus: usize,
    /// Split.
    pub split: Split,
    /// Audio file, relative to the corpus.
    pub audio: PathBuf,
    /// Which part of the file it is, where it is not all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<Segment>,
    /// Shard that holds its codes.
    pub shard: usize,
    /// Its first code in that shard.
    pub first_code: usize,
    /// Codec frames.
    pub n_frames: usize,
    /// Samples of the waveform at the codec's rate.
    pub n_samples: usize,
}

/// `index.json`. `cache_writer.rs` writes it row by row, the list of utterances last.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Index {
    pub(crate) format_version: u32,
    pub(crate) spec: CodecSpec,
    pub(crate) vocab: Vocab,
    pub(crate) speakers: Vec<String>,
    pub(crate) corpora: Vec<String>,
    /// Names of the shards' files.
    pub(crate) shards: Vec<String>,
    pub(crate) utterances: Vec<CachedUtterance>,
}

/// The bytes of a shard.
#[derive(Debug)]
enum ShardBytes {
    Mapped(Mapped),
    Read(Vec<u8>),
}

impl ShardBytes {
    /// Gives back the memory of what was looked at so far.
    fn release(&self) {
        if let Self::Mapped(bytes) = self {
            bytes.release();
        }
    }
}

impl std::ops::Deref for ShardBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(bytes) => bytes,
            Self::Read(bytes) => bytes,
        }
    }
}

/// An open cache. Copies share the shards.
#[derive(Debug, Clone)]
pub struct TokenCache {
    spec: CodecSpec,
    vocab: Vocab,
    speakers: Vec<String>,
    corpora: Vec<String>,
    utterances: Vec<CachedUtterance>,
    shards: Arc<Vec<ShardBytes>>,
    fingerprint: CacheFingerprint,
    accepted_differences: Vec<String>,
    /// Utterances of each speaker in each split.
    by_voice: BTreeMap<(usize, Split), Vec<usize>>,
}

impl TokenCache {
    /// Utterances of a speaker in a split, in corpus order.
    pub fn of_voice(&self, speaker: usize, split: Split) -> &[usize] {
        self.by_voice.get(&(speaker, split)).map_or(&[], Vec::as_slice)
    }

    /// What the cache was made from and this run would not have made it from, where that was allowed; empty otherwise. Runs write it
    /// down.
    pub fn accepted_differences(&self) -> &[String] {
        &self.accepted_differences
    }

    /// Opens a cache whatever it was made from, and remembers each key that differs from `wanted`.
    ///
    /// # Errors
    /// A cache that is missing or damaged.
    pub fn open_whatever(dir: &Path, wanted: &CacheFingerprint) -> Result<Self, DataError> {
        let mut cache = Self::open(dir, None)?;
        cache.accepted_differences = cache.fingerprint.differences(wanted);
        for difference in &cache.accepted_differences {
            tracing::warn!("the cache at `{}` is taken as it is: {difference}", dir.display());
        }
        Ok(cache)
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

    /// Names of the corpora; an utterance holds an index into them.
    pub fn corpora(&self) -> &[String] {
        &self.corpora
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
    pub fn codes(&self, utterance: usize) -> Vec<u16> {
        let u = &self.utterances[utterance];
        codes(&self.shards[u.shard], u.first_code, u.n_frames * self.spec.n_codebooks)
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
        let fingerprint = sealed.read(FINGERPRINT).map_err(damaged)?;
        let index = sealed.reader(INDEX).map_err(damaged)?;
        // What was learned on the way is part of the cache too.
        for name in sealed.files().filter(|name| ![FINGERPRINT, INDEX].contains(name)) {
            if !name.starts_with("shards/") {
                sealed.reader(name).map_err(damaged)?;
            }
        }
        let shard = |name: &str| {
            let bytes = ShardBytes::Mapped(sealed.map(name).map_err(damaged)?);
            bytes.release();
            Ok(bytes)
        };
        Self::assemble(dir, &fingerprint, index, shard, wanted)
    }

    /// As [`TokenCache::open`], of the bytes of its files; `dir` stands for them in errors.
    ///
    /// # Errors
    /// A cache that is damaged or stale.
    pub fn open_bytes(
        dir: &Path,
        fingerprint: &[u8],
        index: &[u8],
        shard: &[u8],
        wanted: Option<&CacheFingerprint>,
    ) -> Result<Self, DataError> {
        Self::assemble(dir, fingerprint, index, |_| Ok(ShardBytes::Read(shard.to_vec())), wanted)
    }

    fn assemble(
        dir: &Path,
        fingerprint: &[u8],
        index: impl std::io::Read,
        shard: impl Fn(&str) -> Result<ShardBytes, DataError> + Sync,
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
        let index: Index = serde_json::from_reader(index).map_err(|e| damaged(format!("{INDEX}: {e}")))?;
        if index.format_version != FORMAT_VERSION {
            return Err(damaged(format!("format version {} is not {FORMAT_VERSION}", index.format_version)));
        }
        let mut by_voice: BTreeMap<(usize, Split), Vec<usize>> = BTreeMap::new();
        for (i, utterance) in index.utterances.iter().enumerate() {
            by_voice.entry((utterance.speaker, utterance.split)).or_default().push(i);
        }
        let shards = index.shards.par_iter().map(|name| shard(name)).collect::<Result<_, _>>()?;
        let cache = Self {
            spec: index.spec,
            vocab: index.vocab,
            speakers: index.speakers,
            corpora: index.corpora,
            utterances: index.utterances,
            shards: Arc::new(shards),
            fingerprint,
            accepted_differences: Vec::new(),
            by_voice,
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
        let extent = |shard: &ShardBytes| {
            let extent = n_codes(shard);
            shard.release();
            extent
        };
        let extents = self.shards.iter().map(extent).collect::<Option<Vec<usize>>>();
        let extents = extents.ok_or("a shard has no end")?;
        let mut ids = BTreeSet::new();
        // Shard and first code that no earlier utterance has.
        let mut next = (0_usize, 0_usize);
        for (i, u) in self.utterances.iter().enumerate() {
            let end = u.n_frames.checked_mul(n_codebooks).and_then(|n| n.checked_add(u.first_code));
            let fits = (u.shard, u.first_code) >= next
                && end.is_some_and(|end| extents.get(u.shard).is_some_and(|extent| end <= *extent))
                && u.n_frames > 0
                && u.n_samples.div_ceil(hop_samples) <= u.n_frames
                && u.speaker < self.speakers.len()
                && u.corpus < self.corpora.len()
                && !u.text_ids.is_empty()
                && u.text_ids
                    .iter()
                    .map(|id| usize::from(*id))
                    .all(|id| id != Vocab::PAD && id < self.vocab.len())
                && stays_inside(&u.audio);
            if !fits {
                return Err(format!("utterance `{}` points outside of its tables", u.id));
            }
            if let Some(code) = self.codes(i).into_iter().find(|c| usize::from(*c) >= codebook_size) {
                return Err(format!("code {code} of `{}` is beyond the codebook size {codebook_size}", u.id));
            }
            if !ids.insert(&u.id) {
                return Err(format!("utterance `{}` occurs twice", u.id));
            }
            if u.shard > next.0 {
                self.shards[next.0].release();
            }
            next = (u.shard, end.unwrap_or(u.first_code));
        }
        if let Some(last) = self.shards.get(next.0) {
            last.release();
        }
        Ok(())
    }

    /// Hash of the cache's settings, for records.
    pub fn digest(&self) -> Fingerprint {
        self.fingerprint.digest()
    }
}

impl PartialEq for TokenCache {
    fn eq(&self, other: &Self) -> bool {
        let bytes = |cache: &Self| cache.shards.iter().map(|shard| blake3::hash(shard)).collect::<Vec<_>>();
        self.spec == other.spec
            && self.vocab == other.vocab
            && self.speakers == other.speakers
            && self.corpora == other.corpora
            && self.utterances == other.utterances
            && self.fingerprint == other.fingerprint
            && bytes(self) == bytes(other)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::shard::shard_bytes;
    use serde_json::{Value, json};

    /// A cache of utterances: speaker, split and codes `[Q, T]`.
    pub(crate) fn cache_of(n_codebooks: usize, size: usize, rows: &[(usize, Split, Vec<u16>)]) -> TokenCache {
        let codes: Vec<u16> = rows.iter().flat_map(|(_, _, codes)| codes.clone()).collect();
        let shard = shard_bytes(&Fingerprint::of(&"settings"), n_codebooks, Vec::new(), &codes).unwrap();
        let mut first_code = 0;
        let utterances = rows.iter().enumerate().map(|(i, (speaker, split, codes))| {
            let n_frames = codes.len() / n_codebooks;
            let row = json!({
                "id": format!("u{i}"), "text": format!("text {i}"), "text_ids": [2 + i % 2, 3], "speaker": speaker, "corpus": 0,
                "split": split, "audio": format!("u{i}.wav"), "shard": 0, "first_code": first_code,
                "n_frames": n_frames, "n_samples": n_frames,
            });
            first_code += codes.len();
            row
        });
        let index = json!({
            "format_version": FORMAT_VERSION,
            "spec": {
                "id": "x", "sample_rate_hz": 1, "hop_samples": 1, "n_codebooks": n_codebooks, "codebook_size": size
            },
            "vocab": { "format_version": 1, "characters": ["a", "b"] },
            "speakers": (0..=rows.iter().map(|row| row.0).max().unwrap_or(0)).map(|s| format!("s{s}")).collect::<Vec<_>>(),
            "corpora": [""],
            "shards": ["shards/000000.shard"],
            "utterances": utterances.collect::<Vec<_>>(),
        });
        TokenCache::open_bytes(Path::new("cache"), b"{}", index.to_string().as_bytes(), &shard, None).unwrap()
    }

    impl TokenCache {
        /// Changes each utterance, given with its place, past all checks.
        pub(crate) fn edit(&mut self, change: impl FnMut((usize, &mut CachedUtterance))) {
            self.utterances.iter_mut().enumerate().for_each(change);
        }
    }

    fn shard() -> Vec<u8> {
        shard_bytes(&Fingerprint::of(&"settings"), 2, Vec::new(), &[1, 2, 3, 4, 5, 6]).unwrap()
    }

    /// Opens a cache of two utterances whose index was changed.
    fn open(shard: &[u8], change: impl FnOnce(&mut Value)) -> Result<TokenCache, String> {
        let mut index = json!({
            "format_version": FORMAT_VERSION,
            "spec": {
                "id": "mel_rvq", "sample_rate_hz": 16_000, "hop_samples": 640, "n_codebooks": 2, "codebook_size": 8
            },
            "vocab": { "format_version": 1, "characters": ["a", "b"] },
            "speakers": ["s"],
            "corpora": [""],
            "shards": ["shards/000000.shard"],
            "utterances": [
                { "id": "u", "text": "ab", "text_ids": [2, 3], "speaker": 0, "corpus": 0, "split": "train",
                  "audio": "u.wav", "shard": 0, "first_code": 0, "n_frames": 1, "n_samples": 600 },
                { "id": "v", "text": "b", "text_ids": [3], "speaker": 0, "corpus": 0, "split": "test",
                  "audio": "v.wav", "shard": 0, "first_code": 2, "n_frames": 2, "n_samples": 1280 },
            ],
        });
        change(&mut index);
        TokenCache::open_bytes(Path::new("cache"), b"{}", index.to_string().as_bytes(), shard, None)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_index_that_contradicts_its_tables_is_refused() {
        assert_eq!(open(&shard(), |_| ()).unwrap().codes(1), [3, 4, 5, 6]);
        for (pointer, value, word) in [
            ("/spec/n_codebooks", json!(0), "no samples"),
            ("/spec/hop_samples", json!(0), "no samples"),
            ("/spec/codebook_size", json!(6), "beyond"),
            ("/vocab/characters", json!(["a", "a"]), "twice"),
            ("/utterances/1/id", json!("u"), "twice"),
            ("/utterances/1/first_code", json!(0), "outside"),
            ("/utterances/1/n_frames", json!(3), "outside"),
            ("/utterances/1/n_frames", json!(usize::MAX), "outside"),
            ("/utterances/1/n_samples", json!(1281), "outside"),
            ("/utterances/1/text_ids", json!([0]), "outside"),
            ("/utterances/1/text_ids", json!([4]), "outside"),
            ("/utterances/1/speaker", json!(1), "outside"),
            ("/utterances/1/corpus", json!(1), "outside"),
            ("/utterances/1/shard", json!(1), "outside"),
            ("/utterances/1/audio", json!("../v.wav"), "outside"),
        ] {
            let error = open(&shard(), |index| *index.pointer_mut(pointer).unwrap() = value).unwrap_err();
            assert!(error.contains(word), "{pointer}: {error}");
        }
    }

    #[test]
    fn a_shard_without_its_end_is_refused() {
        let whole = shard();
        for end in 0..whole.len() {
            assert!(open(&whole[..end], |_| ()).is_err(), "{end}");
        }
    }
}
