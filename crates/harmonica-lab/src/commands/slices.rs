//! `data slices`: what is held out of a corpus, in fixed suites with their recordings.
//!
//! In: a cache and its corpus; out: a directory of suites, `audio/` and `fingerprints.json`. Invariant: the directory is the same
//! bytes whoever makes it, and complete in itself, so that a corpus may move or go.

use crate::failure::Failure;
use crate::output::Output;
use crate::setup::{open_cache, open_codec};
use clap::ValueEnum;
use harmonica_audio::wav_bytes;
use harmonica_config_schema::{ExperimentConfig, Fingerprint};
use harmonica_data::{DataError, HeldOut, Manifest, Slice, SliceSizes, TokenCache, Utterance, slices};
use harmonica_eval::{EvalSuite, Sentence};
use harmonica_storage::{make_directory, publish};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A held-out split on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum HeldOutSplit {
    /// What is judged while training
    Valid,
    /// What is judged once, at the end
    Test,
}

impl From<HeldOutSplit> for HeldOut {
    fn from(split: HeldOutSplit) -> Self {
        match split {
            HeldOutSplit::Valid => Self::Valid,
            HeldOutSplit::Test => Self::Test,
        }
    }
}

/// A slice that was written.
#[derive(Debug, Serialize)]
struct Written {
    name: String,
    path: PathBuf,
    sentences: usize,
    fingerprint: Fingerprint,
}

/// Where the recording of an utterance goes, relative to its suite, and its hash.
type Recordings = BTreeMap<String, (PathBuf, Fingerprint)>;

/// Opens the cache of a configuration and fixes the slices of what it holds out in `output`.
pub(crate) fn run(
    config: &ExperimentConfig,
    split: HeldOutSplit,
    sizes: SliceSizes,
    output: &Path,
    out: Output,
) -> Result<(), Failure> {
    let codec = open_codec(config, out)?;
    let cache = open_cache(config, codec.as_ref(), false)?;
    let manifest = Manifest::of(&config.data)?;
    let slices = slices(&cache, split.into(), sizes).map_err(|error| match error {
        DataError::EmptySplit { split } => {
            let mut failure = Failure::from(error);
            failure.result.insert("empty_split".into(), split.into());
            failure
        }
        other => other.into(),
    })?;
    let written = fix(&cache, &manifest, &slices, output, config.data.follow_links_outside)?;
    let lines: Vec<String> = written
        .iter()
        .map(|slice| {
            format!(
                "{}: {} sentences, fingerprint {}",
                slice.path.display(),
                slice.sentences,
                slice.fingerprint
            )
        })
        .collect();
    out.result(&serde_json::json!({ "slices": written }), &lines.join("\n"));
    Ok(())
}

fn fix(
    cache: &TokenCache,
    manifest: &Manifest,
    slices: &[Slice],
    output: &Path,
    follow: bool,
) -> Result<Vec<Written>, Failure> {
    let corpus = Corpus::new(cache, manifest, follow);
    let mut wanted: Vec<usize> = slices.iter().flat_map(|slice| slice.utterances.clone()).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let hashed = |i: &usize| {
        let (name, bytes) = corpus.recording(*i)?;
        Ok((cache.utterances()[*i].id.clone(), (name, Fingerprint::of_bytes(&bytes))))
    };
    let recordings: Recordings = wanted.par_iter().map(hashed).collect::<Result<_, Failure>>()?;
    let sentence = |i: &usize| {
        let row = &cache.utterances()[*i];
        let (audio, hash) = recordings.get(&row.id).cloned().unzip();
        Sentence {
            id: row.id.clone(),
            text: row.text.clone(),
            speaker: cache.speakers()[row.speaker].clone(),
            audio,
            audio_hash: hash,
        }
    };
    let suite = |slice: &Slice| EvalSuite {
        name: slice.name.clone(),
        root: output.to_owned(),
        sentences: slice.utterances.iter().map(sentence).collect(),
    };
    let suites: Vec<EvalSuite> = slices.iter().map(suite).collect();
    EvalSuite::may_be_fixed(output, &suites)?;
    make_directory(&output.join("audio"))?;
    wanted.par_iter().try_for_each(|i| -> Result<(), Failure> {
        let (name, bytes) = corpus.recording(*i)?;
        Ok(publish(&output.join(name), &bytes)?)
    })?;
    let mut fingerprints = EvalSuite::fix(output, &suites)?;
    let written = suites.into_iter().filter_map(|suite| {
        Some(Written {
            path: output.join(format!("{}.jsonl", suite.name)),
            sentences: suite.sentences.len(),
            fingerprint: fingerprints.remove(&suite.name)?,
            name: suite.name,
        })
    });
    Ok(written.collect())
}

/// Recordings of the utterances of a cache.
struct Corpus<'a> {
    cache: &'a TokenCache,
    manifest: &'a Manifest,
    rows: BTreeMap<&'a str, &'a Utterance>,
    follow: bool,
}

impl<'a> Corpus<'a> {
    fn new(cache: &'a TokenCache, manifest: &'a Manifest, follow: bool) -> Self {
        let rows = manifest.utterances.iter().map(|u| (u.id.as_str(), u)).collect();
        Self { cache, manifest, rows, follow }
    }

    /// Where the recording of an utterance goes, and its bytes; what is a part of a file becomes a file of its own.
    fn recording(&self, utterance: usize) -> Result<(PathBuf, Vec<u8>), Failure> {
        let id = &self.cache.utterances()[utterance].id;
        // The cache was made from this manifest, as its fingerprint says.
        let row = self.rows.get(id.as_str()).ok_or_else(|| {
            Failure::error(format!("the corpus has no utterance `{id}`; make the cache anew"))
        })?;
        let name = |ending: &str| Path::new("audio").join(format!("{id}.{ending}"));
        match row.audio.extension().and_then(|ending| ending.to_str()) {
            Some(ending) if row.segment.is_none() && row.row.is_none() => {
                Ok((name(ending), self.manifest.audio_bytes(row, self.follow)?))
            }
            _ => Ok((name("wav"), wav_bytes(&self.manifest.waveform(row, self.follow)?)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harmonica_audio::{Waveform, save};
    use harmonica_codec::MelRvq;
    use harmonica_config_schema::MelRvqConfig;
    use harmonica_data::Preprocessor;
    use harmonica_text::{TextTokenizer, Vocab};

    /// A buzz that is another one for every `i`.
    fn buzz(i: usize) -> Waveform {
        let n = 14_000 + 400 * i;
        let pitch = 100.0 + 7.0 * i as f32;
        let sample = |s: usize| {
            let phase = std::f32::consts::TAU * pitch * s as f32 / 16_000.0;
            (1..9).map(|k| (k as f32 * phase).sin() / k as f32).sum::<f32>() * 0.2
        };
        Waveform::new((0..n).map(sample).collect(), 16_000)
    }

    /// A corpus whose table stands in the order of `rows`, and its cache: every third utterance is for the test.
    fn corpus(dir: &Path, rows: impl Iterator<Item = usize>) -> (TokenCache, Manifest) {
        let corpus = dir.join("corpus");
        std::fs::create_dir_all(corpus.join("wavs")).unwrap();
        let mut table = String::new();
        for i in rows {
            save(&corpus.join(format!("wavs/u{i:02}.wav")), &buzz(i)).unwrap();
            let split = ["train", "valid", "test"][i % 3];
            let text = ["open", "the", "red", "box"][i % 4];
            table.push_str(&format!("u{i:02}|{text} {text}|{text} {text}|voice{}|{split}\n", i % 2));
        }
        std::fs::write(corpus.join("metadata.csv"), table).unwrap();
        let mut config = ExperimentConfig::default();
        config.data.corpus_dir = corpus.display().to_string();
        config.data.quality.min_snr_db = -100.0;
        config.data.audio.trim = false;
        let small = MelRvqConfig {
            n_codebooks: 2,
            codebook_size: 8,
            n_components: 8,
            kmeans_iterations: 2,
            ..MelRvqConfig::default()
        };
        let codec = MelRvq::fit(&small, (0..6).map(buzz), |_, _| ()).unwrap();
        let manifest = Manifest::of(&config.data).unwrap();
        let tokenizer = TextTokenizer::new(Vocab::english());
        let work = Preprocessor::new(&manifest, &config, &codec, &tokenizer);
        (work.make(&dir.join("cache"), |_| ()).unwrap().cache, manifest)
    }

    fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        for at in [dir.to_owned(), dir.join("audio")] {
            for entry in std::fs::read_dir(&at).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    let name = path.strip_prefix(dir).unwrap().to_owned();
                    found.insert(name, std::fs::read(path).unwrap());
                }
            }
        }
        found
    }

    const SIZES: SliceSizes = SliceSizes { sentences: 4, speakers: 2 };

    #[test]
    fn slices_are_the_same_bytes_whatever_the_threads_and_the_order_of_the_corpus() {
        let dir = tempfile::tempdir().unwrap();
        let written = |name: &str, threads: usize, rows: Vec<usize>| {
            let (cache, manifest) = corpus(&dir.path().join(name), rows.into_iter());
            let output = dir.path().join(name).join("slices");
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let slices = slices(&cache, HeldOut::Test, SIZES).unwrap();
            let told = pool.install(|| fix(&cache, &manifest, &slices, &output, false)).unwrap();
            (told, files(&output))
        };
        let (told, one) = written("one", 1, (0..30).collect());
        let (_, other) = written("other", 3, (0..30).rev().collect());
        assert_eq!(told.len(), 6);
        assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
        assert!(one == other);
        for slice in told {
            let suite = EvalSuite::read(&slice.path).unwrap();
            assert_eq!((suite.sentences.len(), suite.fingerprint()), (slice.sentences, slice.fingerprint));
            for sentence in suite.sentences {
                let number: usize = sentence.id[1..].parse().unwrap();
                assert_eq!(number % 3, 2, "{} is not for the test", sentence.id);
                assert_eq!(harmonica_audio::load(&suite.root.join(sentence.audio.unwrap())).unwrap(), {
                    let corpus = dir.path().join("one/corpus/wavs");
                    harmonica_audio::load(&corpus.join(format!("{}.wav", sentence.id))).unwrap()
                });
            }
        }
    }

    #[test]
    fn other_slices_never_take_the_place_of_fixed_ones() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, manifest) = corpus(dir.path(), 0..30);
        let output = dir.path().join("slices");
        let fixed =
            |sizes| fix(&cache, &manifest, &slices(&cache, HeldOut::Test, sizes).unwrap(), &output, false);
        fixed(SIZES).unwrap();
        let before = files(&output);
        let failure = fixed(SliceSizes { sentences: 2, ..SIZES }).unwrap_err();
        assert!(failure.code == 1 && failure.message.contains("short"), "{}", failure.message);
        assert!(files(&output) == before);
        fixed(SIZES).unwrap();
        assert!(files(&output) == before);
        // Nor do recordings, where nothing says that they were fixed.
        std::fs::remove_file(output.join("fingerprints.json")).unwrap();
        let recording = before.keys().find(|name| name.starts_with("audio")).unwrap();
        std::fs::write(output.join(recording), "somebody's own").unwrap();
        let failure = fixed(SIZES).unwrap_err();
        let name = recording.display().to_string();
        assert!(failure.code == 1 && failure.message.contains(&name), "{}", failure.message);
        assert_eq!(std::fs::read(output.join(recording)).unwrap(), b"somebody's own");
    }
}
