//! Judges the rows of a corpus together: by their own figures, against their speaker's and against each other.
//!
//! In: what the shards say about each row; out, row by row: [`QualityRow`]s and the texts of those that may be trained on. Invariant: a
//! row is kept exactly if no reason stands against it; of copies the first one in corpus order is the one that counts; what is
//! held of all rows together is numbers: the rates of each speaker, hashes of what was kept.

use crate::quality::{Decision, chars_per_s};
use crate::shard::ShardRow;
use crate::{DataError, Manifest, QualityFilter, QualityRow, Utterance};
use harmonica_config_schema::ExperimentConfig;
use harmonica_text::{TextError, TextTokenizer, TextTokens};
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Rows of a whole corpus, shard by shard: judging goes through all of them more than once and never holds more than one shard.
pub(crate) trait Shards {
    /// Number of shards.
    fn n_shards(&self) -> usize;

    /// Rows of a shard, and which ones of the corpus they are.
    ///
    /// # Errors
    /// A shard that cannot be read.
    fn read(&self, shard: usize) -> Result<(Range<usize>, Cow<'_, [ShardRow]>), DataError>;
}

/// What is in memory already, as one shard.
impl Shards for Vec<ShardRow> {
    fn n_shards(&self) -> usize {
        1
    }

    fn read(&self, _: usize) -> Result<(Range<usize>, Cow<'_, [ShardRow]>), DataError> {
        Ok((0..self.len(), Cow::Borrowed(self)))
    }
}

/// A row that may be trained on.
pub(crate) struct Kept<'a> {
    /// Which one of the corpus it is.
    pub(crate) index: usize,
    /// Shard that it stands in.
    pub(crate) shard: usize,
    pub(crate) row: &'a ShardRow,
    pub(crate) text: TextTokens,
}

/// Judges the rows of a corpus, as often as somebody asks, always in the same way.
pub(crate) struct Judge<'a, S> {
    manifest: &'a Manifest,
    tokenizer: &'a TextTokenizer,
    filter: &'a QualityFilter,
    shards: &'a S,
    limits: Limits,
    /// Whether rows have codes; if not, nothing is asked about them.
    encoded: bool,
    /// Median and spread of the rate of each speaker.
    usual: BTreeMap<&'a str, (f64, f64)>,
}

impl<'a, S: Shards> Judge<'a, S> {
    /// Learns what is usual for each speaker.
    ///
    /// # Errors
    /// A shard that cannot be read.
    pub(crate) fn new(
        manifest: &'a Manifest,
        config: &ExperimentConfig,
        tokenizer: &'a TextTokenizer,
        filter: &'a QualityFilter,
        shards: &'a S,
        encoded: bool,
    ) -> Result<Self, DataError> {
        let limits = Limits::of(config);
        let usual = BTreeMap::new();
        let mut judge = Self { manifest, tokenizer, filter, shards, limits, encoded, usual };
        let mut by_speaker: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        judge.each_text(|index, _, row, text| {
            let rates = by_speaker.entry(&manifest.utterances[index].speaker).or_default();
            rates.extend(rate(row, &text));
            Ok(())
        })?;
        judge.usual =
            by_speaker.into_iter().map(|(speaker, rates)| (speaker, median_and_spread(rates))).collect();
        Ok(judge)
    }

    /// Tells `take` about each row in corpus order and about its text if it may be trained on; rows that importers skipped stand
    /// at the end.
    ///
    /// # Errors
    /// A shard that cannot be read, or what `take` refuses.
    pub(crate) fn each(
        &self,
        mut take: impl FnMut(&QualityRow, Option<Kept<'_>>) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let mut seen = Seen::default();
        self.each_text(|index, shard, row, text| {
            let (quality, text) = self.judge(&self.manifest.utterances[index], row, text, &mut seen);
            take(&quality, text.map(|text| Kept { index, shard, row, text }))
        })?;
        for skipped in &self.manifest.skipped {
            let quality = QualityRow {
                id: skipped.id.clone(),
                reasons: vec![skipped.reason.to_owned()],
                detail: Some(skipped.detail.clone()),
                ..QualityRow::default()
            };
            take(&quality, None)?;
        }
        Ok(())
    }

    /// Goes through all rows: which one of the corpus it is, its shard, itself, its text.
    fn each_text(
        &self,
        mut take: impl FnMut(usize, usize, &ShardRow, Tokenized) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        for shard in 0..self.shards.n_shards() {
            let (range, rows) = self.shards.read(shard)?;
            let utterances = self.manifest.utterances[range.clone()].par_iter();
            let texts: Vec<Tokenized> = utterances.map(|u| self.tokenizer.tokenize(&u.text)).collect();
            for ((index, row), text) in range.zip(rows.iter()).zip(texts) {
                take(index, shard, row, text)?;
            }
        }
        Ok(())
    }

    fn judge(
        &self,
        utterance: &Utterance,
        row: &ShardRow,
        text: Tokenized,
        seen: &mut Seen,
    ) -> (QualityRow, Option<TextTokens>) {
        let chars_per_s = rate(row, &text);
        let (median, spread) = self.usual[utterance.speaker.as_str()];
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
        let text = match (&row.fault, text) {
            (Some(fault), _) => Err(fault.clone()),
            (None, Err(error)) => Err(("unusable_text".to_owned(), error.to_string())),
            (None, Ok(text)) => Ok(text),
        };
        let text = match text {
            Ok(text) => text,
            Err((name, detail)) => {
                quality.reasons.push(name);
                quality.detail = Some(detail);
                return (quality, None);
            }
        };
        quality.text.clone_from(&text.normalized);
        let filter = self.filter;
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
        self.limits.apply(row, &text, self.encoded, &mut quality);
        // Only what would be kept is an original.
        if quality.reasons.is_empty() && decision != Some(Decision::Keep) {
            quality.reasons.extend(seen.refuses(filter, row, &utterance.speaker, &text));
        }
        let kept = quality.reasons.is_empty().then_some(text);
        (quality, kept)
    }
}

type Tokenized = Result<TextTokens, TextError>;

/// Characters a second, where audio and text can be used.
fn rate(row: &ShardRow, text: &Tokenized) -> Option<f64> {
    Some(chars_per_s(row.stats.as_ref()?, text.as_ref().ok()?.normalized.chars().count()))
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

/// What was kept so far, by hashes: a corpus has more texts than fit into memory.
#[derive(Default)]
struct Seen {
    sources: BTreeSet<u128>,
    /// How often each text of a speaker.
    texts: BTreeMap<u128, usize>,
}

impl Seen {
    fn refuses(
        &mut self,
        filter: &QualityFilter,
        row: &ShardRow,
        speaker: &str,
        text: &TextTokens,
    ) -> Option<String> {
        let thresholds = filter.thresholds();
        if thresholds.drop_duplicate_audio
            && let Some(source) = &row.source
            && !self.sources.insert(hash(&[source.as_str()]))
        {
            return Some("duplicate_audio".into());
        }
        if thresholds.max_same_text > 0 {
            let n = self.texts.entry(hash(&[speaker, &text.normalized])).or_default();
            *n += 1;
            return (*n > thresholds.max_same_text).then(|| "duplicate_text".into());
        }
        None
    }
}

/// Half of the BLAKE3 hash of some texts: no two lists of texts of any corpus have the same one.
fn hash(texts: &[&str]) -> u128 {
    let mut hasher = blake3::Hasher::new();
    for text in texts {
        hasher.update(&text.len().to_le_bytes()).update(text.as_bytes());
    }
    let mut bytes = [0; size_of::<u128>()];
    hasher.finalize_xof().fill(&mut bytes);
    u128::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use harmonica_config_schema::{Fingerprint, QualityThresholds};
    use harmonica_text::Vocab;

    /// Rows in shards of a few.
    struct Few(Vec<ShardRow>, usize);

    impl Shards for Few {
        fn n_shards(&self) -> usize {
            self.0.len().div_ceil(self.1)
        }

        fn read(&self, shard: usize) -> Result<(Range<usize>, Cow<'_, [ShardRow]>), DataError> {
            let range = shard * self.1..((shard + 1) * self.1).min(self.0.len());
            Ok((range.clone(), self.0[range].into()))
        }
    }

    #[test]
    fn rows_are_judged_alike_however_they_lie_in_shards_and_as_often_as_somebody_asks() {
        let texts = ["one two", "one two", "three", "?!", "three", "four five", "three"];
        let audio = ["a", "b", "c", "d", "e", "a", "f"];
        let utterance = |i: usize| Utterance {
            id: format!("u{i}"),
            text: texts[i].into(),
            speaker: "s".into(),
            ..Utterance::default()
        };
        let manifest =
            Manifest { utterances: (0..texts.len()).map(utterance).collect(), ..Manifest::default() };
        let row = |i: usize| ShardRow {
            id: format!("u{i}"),
            source: Some(Fingerprint::of(&audio[i])),
            stats: None,
            fault: None,
            first_code: 0,
            n_frames: 9,
            n_samples: 9,
        };
        let rows: Vec<ShardRow> = (0..texts.len()).map(row).collect();
        let tokenizer = TextTokenizer::new(Vocab::english());
        let filter =
            QualityFilter::new(QualityThresholds { max_same_text: 2, ..QualityThresholds::default() });
        let config = ExperimentConfig::default();
        fn told<S: Shards>(judge: &Judge<'_, S>) -> Vec<(QualityRow, Option<usize>)> {
            let mut told = Vec::new();
            let each = judge.each(|row, kept| {
                told.push((row.clone(), kept.map(|kept| kept.index)));
                Ok(())
            });
            each.unwrap();
            told
        }
        let whole = told(&Judge::new(&manifest, &config, &tokenizer, &filter, &rows, true).unwrap());
        let kept: Vec<usize> = whole.iter().filter_map(|(_, kept)| *kept).collect();
        let reasons: Vec<&str> = whole.iter().flat_map(|(row, _)| &row.reasons).map(String::as_str).collect();
        assert_eq!(kept, [0, 1, 2, 4]);
        assert_eq!(reasons, ["unusable_text", "duplicate_audio", "duplicate_text"]);
        for n in 1..texts.len() {
            let few = Few(rows.clone(), n);
            let judge = Judge::new(&manifest, &config, &tokenizer, &filter, &few, true).unwrap();
            assert_eq!(told(&judge), whole, "{n} rows a shard");
            assert_eq!(told(&judge), whole, "{n} rows a shard, again");
        }
    }

    #[test]
    fn the_spread_is_that_of_most_and_never_zero() {
        let mut rates: Vec<f64> = (0..99).map(|i| 14.0 + f64::from(i % 11) * 0.1).collect();
        rates.push(900.0);
        let (median, spread) = median_and_spread(rates);
        assert!((median - 14.5).abs() < 0.06 && (0.3..0.6).contains(&spread), "{median} {spread}");
        assert!(median_and_spread(vec![3.0; 5]).1 > 0.0 && median_and_spread(Vec::new()).1 > 0.0);
    }
}
