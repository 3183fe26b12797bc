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
            format!("{}: {} sentences, fingerprint {}", slice.path.display(), slice.sentences, slice.fingerprint)
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

    /// Where the recording of an utterance goes, and its bytes; a part of a file becomes a file of its own.
    fn recording(&self, utterance: usize) -> Result<(PathBuf, Vec<u8>), Failure> {
        let id = &self.cache.utterances()[utterance].id;
        // The cache was made from this manifest, as its fingerprint says.
        let row = self.rows.get(id.as_str()).ok_or_else(|| {
            Failure::error(format!("the corpus has no utterance `{id}`; make the cache anew"))
        })?;
        let name = |ending: &str| Path::new("audio").join(format!("{id}.{ending}"));
        match row.audio.extension().and_then(|ending| ending.to_str()) {
            Some(ending) if row.segment.is_none() => {
                Ok((name(ending), self.manifest.audio_bytes(row, self.follow)?))
            }
            _ => Ok((name("wav"), wav_bytes(&self.manifest.waveform(row, self.follow)?)?)),
        }
    }
}
