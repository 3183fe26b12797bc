//! Corpus to cache: load, measure, judge, tokenize, encode. Parallel over utterances, in corpus order.

use crate::{
    CacheFingerprint, CachedUtterance, DataError, Manifest, QualityFilter, QualityReport, QualityRow, Split,
    TokenCache, Utterance,
};
use harmonica_audio::{AudioError, QualityStats, Waveform, level_loudness, load, measure, trim_silence};
use harmonica_codec::{AudioCodec, CodecTokens};
use harmonica_config_schema::{AudioConfig, ExperimentConfig, RandomStream, SplitConfig};
use harmonica_text::{TextTokenizer, TextTokens, normalize};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Utterances handled between two reports of progress; bounds memory.
const CHUNK_UTTERANCES: usize = 64;

/// What preprocessing makes of a corpus.
#[derive(Debug, Clone)]
pub struct Preprocessed {
    /// Encoded utterances.
    pub cache: TokenCache,
    /// What was kept and dropped, and why.
    pub report: QualityReport,
}

/// Trims and levels a waveform as configured; what the codec hears.
///
/// # Errors
/// A rate that loudness is not defined for.
pub fn condition(waveform: Waveform, config: &AudioConfig) -> Result<Waveform, AudioError> {
    let trimmed = if config.trim {
        trim_silence(&waveform, config.trim_threshold_db, config.trim_keep_s)
    } else {
        waveform
    };
    level_loudness(trimmed, config.loudness, config.loudness_target_db)
}

struct Judged {
    row: QualityRow,
    kept: Option<(TextTokens, Waveform)>,
}

fn judge(
    utterance: &Utterance,
    manifest: &Manifest,
    config: &ExperimentConfig,
    tokenizer: &TextTokenizer,
) -> Judged {
    let drop = |stats: Option<QualityStats>, reasons: Vec<String>, detail: Option<String>| Judged {
        row: QualityRow {
            id: utterance.id.clone(),
            speaker: utterance.speaker.clone(),
            stats,
            reasons,
            detail,
        },
        kept: None,
    };
    let path = match manifest.audio_path(utterance, config.data.follow_links_outside) {
        Ok(path) => path,
        Err(error @ DataError::OutsideCorpus { .. }) => {
            return drop(None, vec!["outside_corpus".into()], Some(error.to_string()));
        }
        Err(error) => return drop(None, vec!["unreadable_audio".into()], Some(error.to_string())),
    };
    let waveform = match load(&path) {
        Ok(waveform) => waveform,
        Err(error) => return drop(None, vec!["unreadable_audio".into()], Some(error.to_string())),
    };
    let waveform = match condition(waveform, &config.data.audio) {
        Ok(waveform) => waveform,
        Err(error) => return drop(None, vec!["unreadable_audio".into()], Some(error.to_string())),
    };
    let stats = measure(&waveform);
    let tokens = match tokenizer.tokenize(&utterance.text) {
        Ok(tokens) => tokens,
        Err(error) => return drop(Some(stats), vec!["unusable_text".into()], Some(error.to_string())),
    };
    let verdict =
        QualityFilter::new(config.data.quality.clone()).judge(&stats, tokens.normalized.chars().count());
    if !verdict.kept() {
        return drop(Some(stats), verdict.reasons, None);
    }
    let limit = config.model.ar.max_text_symbols.min(config.model.nar.max_text_symbols);
    if tokens.ids.len() > limit {
        let detail = format!("{} symbols, the models read at most {limit}", tokens.ids.len());
        return drop(Some(stats), vec!["text_beyond_model".into()], Some(detail));
    }
    Judged {
        row: QualityRow {
            id: utterance.id.clone(),
            speaker: utterance.speaker.clone(),
            stats: Some(stats),
            reasons: Vec::new(),
            detail: None,
        },
        kept: Some((tokens, waveform)),
    }
}

/// Measures and judges every utterance of a corpus without encoding it. `progress` hears how many are done.
pub fn check(
    manifest: &Manifest,
    config: &ExperimentConfig,
    tokenizer: &TextTokenizer,
    progress: impl FnMut(usize),
) -> QualityReport {
    let mut rows = Vec::new();
    judge_all(manifest, config, tokenizer, |_, row, _| rows.push(row), progress);
    QualityReport::new(config.data.quality.clone(), rows)
}

/// Judges every utterance in corpus order; `each` gets its row number, its verdict and, if it is kept, what was read.
fn judge_all(
    manifest: &Manifest,
    config: &ExperimentConfig,
    tokenizer: &TextTokenizer,
    mut each: impl FnMut(usize, QualityRow, Option<(TextTokens, Waveform)>),
    mut progress: impl FnMut(usize),
) {
    for (chunk_number, chunk) in manifest.utterances.chunks(CHUNK_UTTERANCES).enumerate() {
        let judged: Vec<Judged> = chunk.par_iter().map(|u| judge(u, manifest, config, tokenizer)).collect();
        for (i, judged) in judged.into_iter().enumerate() {
            each(chunk_number * CHUNK_UTTERANCES + i, judged.row, judged.kept);
        }
        progress(chunk_number * CHUNK_UTTERANCES + chunk.len());
    }
}

/// Reads, judges and encodes a corpus. `progress` hears how many utterances are done.
///
/// # Errors
/// A corpus of which nothing can be kept, or a codec that refuses a waveform.
pub fn preprocess(
    manifest: &Manifest,
    config: &ExperimentConfig,
    codec: &dyn AudioCodec,
    tokenizer: &TextTokenizer,
    progress: impl FnMut(usize),
) -> Result<Preprocessed, DataError> {
    let frame_limit = config.model.ar.max_frames.min(config.model.nar.max_frames) - 1;
    let splits = assign_splits(manifest, &config.data.split);
    let mut rows = Vec::new();
    let mut pending: Vec<(usize, TextTokens, Waveform)> = Vec::new();
    let mut kept: Vec<(usize, TextTokens, CodecTokens)> = Vec::new();
    let mut failure = None;
    let encode = |pending: &mut Vec<(usize, TextTokens, Waveform)>,
                  kept: &mut Vec<(usize, TextTokens, CodecTokens)>| {
        let encoded: Result<Vec<_>, _> = std::mem::take(pending)
            .into_par_iter()
            .map(|(row, text, waveform)| codec.encode(&waveform).map(|tokens| (row, text, tokens)))
            .collect();
        kept.extend(encoded?);
        Ok::<(), DataError>(())
    };
    judge_all(
        manifest,
        config,
        tokenizer,
        |row, judged, found| {
            rows.push(judged);
            if let Some((text, waveform)) = found {
                pending.push((row, text, waveform));
            }
            if pending.len() >= CHUNK_UTTERANCES && failure.is_none() {
                failure = encode(&mut pending, &mut kept).err();
            }
        },
        progress,
    );
    if let Some(error) = failure.or_else(|| encode(&mut pending, &mut kept).err()) {
        return Err(error);
    }
    for (row, _, tokens) in &kept {
        if tokens.n_frames() > frame_limit {
            rows[*row].reasons.push("audio_beyond_model".into());
            rows[*row].detail =
                Some(format!("{} frames, the models hold at most {frame_limit}", tokens.n_frames()));
        }
    }
    // One frame could not be divided between a prompt and a target.
    for (row, _, _) in kept.iter().filter(|(_, _, tokens)| tokens.n_frames() < 2) {
        rows[*row].reasons.push("audio_too_short".into());
    }
    kept.retain(|(_, _, tokens)| (2..=frame_limit).contains(&tokens.n_frames()));
    let report = QualityReport::new(config.data.quality.clone(), rows);
    if kept.is_empty() {
        return Err(DataError::NothingKept {
            corpus: manifest.root.clone(),
            dropped: report.dropped_utterances,
        });
    }
    let speakers: Vec<String> = kept
        .iter()
        .map(|(row, ..)| manifest.utterances[*row].speaker.clone())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let mut tokens = Vec::with_capacity(kept.len());
    let utterances = kept
        .into_iter()
        .map(|(row, text, codes)| {
            let utterance = &manifest.utterances[row];
            tokens.push(codes);
            CachedUtterance {
                id: utterance.id.clone(),
                text: text.normalized,
                text_ids: text.ids,
                speaker: speakers.binary_search(&utterance.speaker).unwrap_or_default(),
                split: splits[row],
                audio: utterance.audio.clone(),
                first_code: 0,
                n_frames: 0,
                n_samples: 0,
            }
        })
        .collect();
    let fingerprint = CacheFingerprint::new(config, codec, tokenizer.vocab(), &manifest.fingerprint());
    let spec = codec.spec().clone();
    let cache = TokenCache::new(spec, tokenizer.vocab().clone(), speakers, utterances, &tokens, fingerprint);
    for split in [Split::Train, Split::Valid] {
        if cache.split(split).is_empty() {
            return Err(DataError::EmptySplit { split: split.name() });
        }
    }
    Ok(Preprocessed { cache, report })
}

/// Seed of the splits: a property of the corpus, not of an experiment, so that every run is judged on the same texts.
const SPLIT_SEED: u64 = 0;

/// Splits by the manifest where it names them, else by a hash of the normalized text: a text is never on both sides.
fn assign_splits(manifest: &Manifest, config: &SplitConfig) -> Vec<Split> {
    // A text that is named anywhere takes all its unnamed readings along; where names differ, the most held-out one.
    let mut named: BTreeMap<String, Split> = BTreeMap::new();
    for utterance in &manifest.utterances {
        if let Some(split) = utterance.split {
            let known = named.entry(normalize(&utterance.text)).or_insert(split);
            *known = split.max(*known);
        }
    }
    let assign = |utterance: &Utterance| {
        let text = normalize(&utterance.text);
        let draw = RandomStream::new(SPLIT_SEED, &text, &[]).uniform();
        utterance.split.or_else(|| named.get(&text).copied()).unwrap_or(if draw < config.valid_share {
            Split::Valid
        } else if draw < config.valid_share + config.test_share {
            Split::Test
        } else {
            Split::Train
        })
    };
    manifest.utterances.iter().map(assign).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_never_on_both_sides() {
        let row = |i: usize, text: &str, split: Option<Split>| Utterance {
            id: format!("u{i}"),
            audio: "a.wav".into(),
            text: text.into(),
            speaker: "s".into(),
            split,
        };
        let mut utterances: Vec<Utterance> =
            (0..400).map(|i| row(i, &format!("text {}", i % 100), None)).collect();
        utterances.push(row(400, "Text 7!", Some(Split::Test)));
        utterances.push(row(401, "text seven", Some(Split::Train)));
        let manifest = Manifest { root: ".".into(), utterances };
        let splits = assign_splits(&manifest, &SplitConfig { valid_share: 0.2, test_share: 0.2 });
        let mut sides: BTreeMap<String, BTreeSet<Split>> = BTreeMap::new();
        for (utterance, split) in manifest.utterances.iter().zip(&splits).take(400) {
            sides.entry(normalize(&utterance.text)).or_default().insert(*split);
        }
        assert!(sides.values().all(|s| s.len() == 1));
        let held = splits.iter().filter(|s| **s != Split::Train).count();
        assert!((80..240).contains(&held), "{held}");
    }
}
