//! Judges the rows of a corpus together: by their own figures, against their speaker's and against each other.
//!
//! In: what the shards say about each row; out: [`QualityRow`]s and the texts of those that may be trained on. Invariant: a
//! row is kept exactly if no reason stands against it; of copies the first one in corpus order is the one that counts.

use crate::quality::{Decision, chars_per_s};
use crate::shard::ShardRow;
use crate::{Manifest, QualityFilter, QualityRow};
use harmonica_config_schema::{ExperimentConfig, Fingerprint};
use harmonica_text::{TextTokenizer, TextTokens};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A row as it was judged, with its text if it may be trained on.
pub(crate) type Judged = (QualityRow, Option<TextTokens>);

/// Judges all rows of a manifest; rows that importers skipped stand at the end. Without `encoded`, nothing is asked about codes.
pub(crate) fn select(
    manifest: &Manifest,
    config: &ExperimentConfig,
    tokenizer: &TextTokenizer,
    filter: &QualityFilter,
    rows: &[ShardRow],
    encoded: bool,
) -> Vec<Judged> {
    let texts: Vec<_> = manifest.utterances.par_iter().map(|u| tokenizer.tokenize(&u.text)).collect();
    let rate = |i: usize| {
        let text = texts[i].as_ref().ok()?;
        Some(chars_per_s(rows[i].stats.as_ref()?, text.normalized.chars().count()))
    };
    let mut by_speaker: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (i, utterance) in manifest.utterances.iter().enumerate() {
        by_speaker.entry(&utterance.speaker).or_default().extend(rate(i));
    }
    let usual: BTreeMap<&str, (f64, f64)> =
        by_speaker.into_iter().map(|(speaker, rates)| (speaker, median_and_spread(rates))).collect();
    let limits = Limits::of(config);
    let mut seen = Seen::default();
    let mut judged: Vec<Judged> = Vec::with_capacity(rows.len());
    for (i, (utterance, row)) in manifest.utterances.iter().zip(rows).enumerate() {
        let chars_per_s = rate(i);
        let (median, spread) = usual[utterance.speaker.as_str()];
        let mut quality = QualityRow {
            id: utterance.id.clone(),
            speaker: utterance.speaker.clone(),
            audio: utterance.audio.display().to_string(),
            text: utterance.text.clone(),
            chars_per_s,
            rate_deviation: chars_per_s.map(|rate| (rate - median) / spread),
            stats: row.stats,
            ..QualityRow::default()
        };
        let text = texts[i].as_ref();
        let fault = row.fault.clone();
        let text = match (fault, text) {
            (Some((name, detail)), _) => Err((name, detail)),
            (None, Err(error)) => Err(("unusable_text".to_owned(), error.to_string())),
            (None, Ok(text)) => Ok(text),
        };
        match text {
            Err((name, detail)) => {
                quality.reasons.push(name);
                quality.detail = Some(detail);
                judged.push((quality, None));
            }
            Ok(text) => {
                quality.text.clone_from(&text.normalized);
                let n_characters = text.normalized.chars().count();
                let decision = filter.decision(&utterance.id);
                if decision != Some(Decision::Keep) {
                    let verdict = row.stats.as_ref().map(|stats| filter.judge(stats, n_characters).reasons);
                    quality.reasons.extend(verdict.unwrap_or_default());
                    let furthest = filter.thresholds().max_rate_deviation;
                    if furthest > 0.0 && quality.rate_deviation.is_some_and(|far| far.abs() > furthest) {
                        quality.reasons.push("unusual_rate".into());
                    }
                }
                if decision == Some(Decision::Drop) {
                    quality.reasons.push("dropped_by_hand".into());
                }
                limits.apply(row, text, encoded, &mut quality);
                // Only what would be kept is an original.
                if quality.reasons.is_empty() && decision != Some(Decision::Keep) {
                    quality.reasons.extend(seen.refuses(filter, row, &utterance.speaker, text));
                }
                let kept = quality.reasons.is_empty().then(|| text.clone());
                judged.push((quality, kept));
            }
        }
    }
    judged.extend(manifest.skipped.iter().map(|skipped| {
        let quality = QualityRow {
            id: skipped.id.clone(),
            reasons: vec![skipped.reason.to_owned()],
            detail: Some(skipped.detail.clone()),
            ..QualityRow::default()
        };
        (quality, None)
    }));
    judged
}

/// Median, and the standard deviation that the median absolute deviation stands for; never zero.
pub(crate) fn median_and_spread(mut values: Vec<f64>) -> (f64, f64) {
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    };
    let middle = median(&mut values);
    let spread = median(&mut values.iter().map(|value| (value - middle).abs()).collect());
    (middle, (1.4826 * spread).max(1e-3 * middle.abs()).max(1e-9))
}

/// What the models can hold.
struct Limits {
    symbols: usize,
    frames: usize,
}

impl Limits {
    fn of(config: &ExperimentConfig) -> Self {
        let (ar, nar) = (&config.model.ar, &config.model.nar);
        Self {
            symbols: ar.max_text_symbols.min(nar.max_text_symbols),
            frames: ar.max_frames.min(nar.max_frames) - 1,
        }
    }

    fn apply(&self, row: &ShardRow, text: &TextTokens, encoded: bool, quality: &mut QualityRow) {
        if text.ids.len() > self.symbols {
            quality.reasons.push("text_beyond_model".into());
            quality.detail =
                Some(format!("{} symbols, the models read at most {}", text.ids.len(), self.symbols));
        }
        if !encoded || !quality.reasons.is_empty() {
            return;
        }
        if row.n_frames > self.frames {
            quality.reasons.push("audio_beyond_model".into());
            quality.detail =
                Some(format!("{} frames, the models hold at most {}", row.n_frames, self.frames));
        }
        // One frame could not be divided between a prompt and a target.
        if row.n_frames < 2 {
            quality.reasons.push("audio_too_short".into());
        }
    }
}

/// What was kept so far.
#[derive(Default)]
struct Seen<'a> {
    sources: BTreeSet<&'a Fingerprint>,
    texts: BTreeMap<(&'a str, String), usize>,
}

impl<'a> Seen<'a> {
    fn refuses(
        &mut self,
        filter: &QualityFilter,
        row: &'a ShardRow,
        speaker: &'a str,
        text: &TextTokens,
    ) -> Option<String> {
        let thresholds = filter.thresholds();
        if thresholds.drop_duplicate_audio
            && let Some(source) = &row.source
            && !self.sources.insert(source)
        {
            return Some("duplicate_audio".into());
        }
        if thresholds.max_same_text > 0 {
            let n = self.texts.entry((speaker, text.normalized.clone())).or_default();
            *n += 1;
            return (*n > thresholds.max_same_text).then(|| "duplicate_text".into());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_that_of_most_and_never_zero() {
        let mut rates: Vec<f64> = (0..99).map(|i| 14.0 + f64::from(i % 11) * 0.1).collect();
        rates.push(900.0);
        let (median, spread) = median_and_spread(rates);
        assert!((median - 14.5).abs() < 0.06 && (0.3..0.6).contains(&spread), "{median} {spread}");
        assert!(median_and_spread(vec![3.0; 5]).1 > 0.0 && median_and_spread(Vec::new()).1 > 0.0);
    }
}
