//! Corpus to cache, by any number of processes on any number of machines.
//!
//! In: a [`Manifest`], settings, a codec. Out: a sealed [`TokenCache`] with its quality report. Shards are made on a bench beside
//! the cache (`work.rs`), each by whoever claims it first; then one process judges all rows together and puts the cache in its
//! place. Invariant: the cache is the same bytes whoever made it, in how many sittings, and from whatever was there before.

use crate::cache_writer::{CacheWriter, Content, unwritten};
use crate::encode::{RowEncoder, settings, source};
use crate::quality_report::{PAGE, ROW_FILES, ReportWriter};
use crate::reuse::{Reuse, finished};
use crate::selection::{Judge, Kept, Shards};
use crate::shard::ShardRow;
use crate::shard_line::{PATIENCE, ShardLine};
use crate::splits::assign_splits;
use crate::stages::clocked_all;
use crate::tally::{Effort, Tally};
use crate::work::{Bench, ShardShare, clear_benches};
use crate::{
    CacheFingerprint, CachedUtterance, DataError, Manifest, QualityFilter, QualityReport, QualitySummary,
    Split, TokenCache,
};
use harmonica_codec::AudioCodec;
use harmonica_config_schema::ExperimentConfig;
use harmonica_storage::{Sealed, StorageError, require_space};
use harmonica_text::TextTokenizer;
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::path::Path;

/// A cache that was just made, or found as it should be.
#[derive(Debug)]
pub struct Preprocessed {
    /// Encoded utterances.
    pub cache: TokenCache,
    /// What was kept and dropped, and why.
    pub report: QualitySummary,
    /// What this process did for it.
    pub effort: Effort,
    /// Whether there was nothing to do.
    pub was_current: bool,
}

/// Everything that a cache is made from.
#[derive(Clone, Copy)]
pub struct Preprocessor<'a> {
    manifest: &'a Manifest,
    config: &'a ExperimentConfig,
    codec: &'a dyn AudioCodec,
    tokenizer: &'a TextTokenizer,
}

/// Measures and judges every utterance of a corpus without encoding it. `progress` hears what is done.
///
/// # Errors
/// A file of decisions by hand that cannot be read.
pub fn check(
    manifest: &Manifest,
    config: &ExperimentConfig,
    tokenizer: &TextTokenizer,
    progress: impl FnMut(&Effort) + Send,
) -> Result<QualityReport, DataError> {
    let filter = QualityFilter::open(&config.data.quality)?;
    let reuse = Reuse::default();
    let encoder = RowEncoder { manifest, config, tokenizer, filter: &filter, codec: None, reuse: &reuse };
    let tally = Tally::new(manifest.utterances.len(), progress);
    let rows: Vec<ShardRow> = manifest
        .utterances
        .par_iter()
        .map(|utterance| {
            let done = encoder.encode(utterance);
            tally.row(&done.row, false, &done.seconds);
            done.row
        })
        .collect();
    let judge = Judge::new(manifest, config, tokenizer, &filter, &rows, false)?;
    let mut judged = Vec::with_capacity(rows.len());
    judge.each(|row, _| {
        judged.push(row.clone());
        Ok(())
    })?;
    Ok(QualityReport::new(filter.thresholds().clone(), judged))
}

/// What is known of a judged corpus before anything is written down.
struct Outline {
    report: QualitySummary,
    /// Of the rows that are kept.
    speakers: Vec<String>,
    splits: Vec<Split>,
    /// About how much the tables of all rows take.
    table_bytes: u64,
}

impl<'a> Preprocessor<'a> {
    /// A cache of this corpus, with these settings.
    pub fn new(
        manifest: &'a Manifest,
        config: &'a ExperimentConfig,
        codec: &'a dyn AudioCodec,
        tokenizer: &'a TextTokenizer,
    ) -> Self {
        Self { manifest, config, codec, tokenizer }
    }

    /// What the cache will be known by.
    ///
    /// # Errors
    /// A file that settings name and that cannot be read.
    pub fn fingerprint(&self) -> Result<CacheFingerprint, DataError> {
        CacheFingerprint::new(self.config, self.codec, self.tokenizer.vocab(), &self.manifest.fingerprint())
    }

    fn bench(&self, dir: &Path, wanted: &CacheFingerprint) -> Bench {
        let data = &self.config.data;
        Bench::new(dir, self.manifest, &wanted.digest(), data.shard_rows, data.follow_links_outside)
    }

    /// Number of shards that [`Self::run`] makes.
    ///
    /// # Errors
    /// As [`Self::fingerprint`].
    pub fn n_shards(&self, dir: &Path) -> Result<usize, DataError> {
        Ok(self.bench(dir, &self.fingerprint()?).n_shards())
    }

    /// The cache at `dir`, if it is what this would make: same settings, same rows, same audio.
    ///
    /// # Errors
    /// As [`Self::fingerprint`].
    pub fn current(&self, dir: &Path) -> Result<Option<TokenCache>, DataError> {
        let Ok(cache) = TokenCache::open(dir, Some(&self.fingerprint()?)) else { return Ok(None) };
        let follow = self.config.data.follow_links_outside;
        let mut rest = self.manifest.utterances.as_slice();
        for shard in finished(dir, &settings(&self.config.data.audio, self.codec)) {
            let Some((utterances, left)) = rest.split_at_checked(shard.rows.len()) else { return Ok(None) };
            let is_same = utterances.par_iter().zip(&shard.rows).all(|(utterance, row)| {
                utterance.id == row.id && source(self.manifest, utterance, follow) == row.source
            });
            if !is_same {
                return Ok(None);
            }
            rest = left;
        }
        Ok(rest.is_empty().then_some(cache))
    }

    /// Makes the cache at `dir`, together with every other process that makes the same one.
    ///
    /// # Errors
    /// A corpus of which nothing can be kept, or a directory that cannot be written to.
    pub fn make(&self, dir: &Path, progress: impl FnMut(&Effort) + Send) -> Result<Preprocessed, DataError> {
        // Asked in this order, a cache that another process finishes meanwhile is noticed by the one or by the other.
        let before = seal(dir);
        if let Some(cache) = self.current(dir)? {
            let found = self.found(dir, cache, Effort::default())?;
            return Ok(Preprocessed { was_current: true, ..found });
        }
        let effort = self.work(dir, ShardShare::ALL, before.as_deref(), progress)?;
        self.put_together(dir, before.as_deref(), effort)
    }

    /// Makes the shards of a share and leaves them for [`Self::finish`]. Shards of the share that other processes make are waited
    /// for.
    ///
    /// # Errors
    /// A directory that cannot be written to.
    pub fn run(
        &self,
        dir: &Path,
        share: ShardShare,
        progress: impl FnMut(&Effort) + Send,
    ) -> Result<Effort, DataError> {
        self.work(dir, share, seal(dir).as_deref(), progress)
    }

    /// Puts the cache together from shards that were all made.
    ///
    /// # Errors
    /// Shards that are missing, a corpus of which nothing can be kept, or a directory that cannot be written to.
    pub fn finish(&self, dir: &Path) -> Result<Preprocessed, DataError> {
        self.put_together(dir, seal(dir).as_deref(), Effort::default())
    }

    /// Whether somebody else has finished the same cache since its seal was `before`.
    fn is_finished(&self, dir: &Path, before: Option<&str>, wanted: &CacheFingerprint) -> bool {
        seal(dir).as_deref() != before && CacheFingerprint::read(dir).as_ref() == Some(wanted)
    }

    fn work(
        &self,
        dir: &Path,
        share: ShardShare,
        before: Option<&str>,
        progress: impl FnMut(&Effort) + Send,
    ) -> Result<Effort, DataError> {
        let mut plan_s = 0.0;
        let (wanted, bench) = clocked_all(&mut plan_s, || {
            let wanted = self.fingerprint()?;
            let bench = self.bench(dir, &wanted);
            Ok::<_, DataError>((wanted, bench))
        })?;
        let filter = QualityFilter::open(&self.config.data.quality)?;
        let settings = settings(&self.config.data.audio, self.codec);
        let reuse = Reuse::gather(dir, &bench.others(), &settings);
        let encoder = RowEncoder {
            manifest: self.manifest,
            config: self.config,
            tokenizer: self.tokenizer,
            filter: &filter,
            codec: Some(self.codec),
            reuse: &reuse,
        };
        let tally =
            Tally::new(bench.shards(share).iter().map(|shard| bench.rows(*shard).len()).sum(), progress);
        tally.add(|effort| effort.stages.plan += plan_s);
        bench.open()?;
        let line = ShardLine { encoder: &encoder, bench: &bench, settings: &settings, tally: &tally };
        line.run(share, || self.is_finished(dir, before, &wanted))?;
        Ok(tally.effort())
    }

    fn put_together(
        &self,
        dir: &Path,
        before: Option<&str>,
        effort: Effort,
    ) -> Result<Preprocessed, DataError> {
        let mut seconds = 0.0;
        let mut done = clocked_all(&mut seconds, || self.put_together_unclocked(dir, before, effort))?;
        done.effort.stages.finish += seconds;
        Ok(done)
    }

    fn put_together_unclocked(
        &self,
        dir: &Path,
        before: Option<&str>,
        effort: Effort,
    ) -> Result<Preprocessed, DataError> {
        let wanted = self.fingerprint()?;
        let bench = self.bench(dir, &wanted);
        let open = || TokenCache::open(dir, Some(&wanted));
        let claim = loop {
            if self.is_finished(dir, before, &wanted) {
                return self.found(dir, open()?, effort);
            }
            if let Some(claim) = bench.claim(None)? {
                break claim;
            }
            std::thread::sleep(PATIENCE);
        };
        if self.is_finished(dir, before, &wanted) {
            return self.found(dir, open()?, effort);
        }
        let report = self.write(dir, &bench, &wanted)?;
        drop(claim);
        clear_benches(dir)?;
        Ok(Preprocessed { cache: open()?, report, effort, was_current: false })
    }

    /// What another process finished.
    fn found(&self, dir: &Path, cache: TokenCache, effort: Effort) -> Result<Preprocessed, DataError> {
        let report = QualitySummary::read(dir)?;
        clear_benches(dir)?;
        Ok(Preprocessed { cache, report, effort, was_current: false })
    }

    /// Writes the cache and its report from the shards on a bench.
    fn write(
        &self,
        dir: &Path,
        bench: &Bench,
        wanted: &CacheFingerprint,
    ) -> Result<QualitySummary, DataError> {
        let shards = bench.finished()?;
        let filter = QualityFilter::open(&self.config.data.quality)?;
        let judge = Judge::new(self.manifest, self.config, self.tokenizer, &filter, bench, true)?;
        let outline = self.outline(&judge, &filter)?;
        let bytes: u64 = shards.iter().map(|path| path.metadata().map_or(0, |data| data.len())).sum();
        // Shards that cannot be linked are copied.
        require_space(dir, bytes / 64 + (1 << 16) + outline.table_bytes)?;
        let corpora = self.manifest.corpora();
        let content = Content {
            spec: self.codec.spec().clone(),
            vocab: self.tokenizer.vocab().clone(),
            speakers: outline.speakers.clone(),
            corpora: corpora.clone(),
        };
        let mut cache = CacheWriter::begin(dir, content, wanted, &shards)?;
        let [json, csv, blacklist] = ROW_FILES.map(|name| cache.staged().begin_file(name));
        let unwritten = |source| unwritten(dir, source);
        let mut report =
            ReportWriter::begin(&outline.report, [json?, csv?, blacklist?]).map_err(unwritten)?;
        judge.each(|row, kept| {
            if let Some(kept) = kept {
                cache.push(&self.cached(kept, &outline, &corpora)?)?;
            }
            report.push(row).map_err(unwritten)
        })?;
        let (files, page) = report.end(&outline.report).map_err(unwritten)?;
        for file in files {
            cache.staged().finish(file)?;
        }
        cache.staged().file(PAGE, page.as_bytes())?;
        cache.commit()?;
        Ok(outline.report)
    }

    /// Goes through all rows once before anything is written.
    fn outline<S: Shards>(&self, judge: &Judge<'_, S>, filter: &QualityFilter) -> Result<Outline, DataError> {
        let splits = assign_splits(self.manifest, &self.config.data.split)?;
        let mut report = QualitySummary::new(filter.thresholds().clone());
        let (mut speakers, mut kept_splits) = (BTreeSet::new(), BTreeSet::new());
        let mut table_bytes = 0;
        judge.each(|row, kept| {
            report.count(row);
            table_bytes += 1024 + 6 * row.text.len() as u64;
            if let Some(Kept { index, .. }) = kept {
                speakers.insert(self.manifest.utterances[index].speaker.as_str());
                kept_splits.insert(splits[index]);
            }
            Ok(())
        })?;
        if report.kept == 0 {
            let corpus = self.manifest.place();
            return Err(DataError::NothingKept { corpus, dropped: report.dropped_utterances });
        }
        if let Some(split) = [Split::Train, Split::Valid].into_iter().find(|s| !kept_splits.contains(s)) {
            return Err(DataError::EmptySplit { split: split.name() });
        }
        let speakers = speakers.into_iter().map(str::to_owned).collect();
        Ok(Outline { report, speakers, splits, table_bytes })
    }

    /// A row as the cache lists it.
    fn cached(
        &self,
        Kept { index, shard, row, text }: Kept<'_>,
        outline: &Outline,
        corpora: &[String],
    ) -> Result<CachedUtterance, DataError> {
        let utterance = &self.manifest.utterances[index];
        let text_ids = text.ids.iter().map(|id| u16::try_from(*id)).collect::<Result<_, _>>();
        let text_ids = text_ids.map_err(|error| StorageError::encode(Path::new(&utterance.id), error))?;
        Ok(CachedUtterance {
            id: utterance.id.clone(),
            text: text.normalized,
            text_ids,
            speaker: outline.speakers.binary_search(&utterance.speaker).unwrap_or_default(),
            corpus: corpora.binary_search(&utterance.corpus).unwrap_or_default(),
            split: outline.splits[index],
            audio: utterance.audio.clone(),
            segment: utterance.segment,
            shard,
            first_code: row.first_code,
            n_frames: row.n_frames,
            n_samples: row.n_samples,
        })
    }
}

/// Hash of what stands at a place.
fn seal(dir: &Path) -> Option<String> {
    Some(Sealed::open(dir).ok()?.hash().to_owned())
}
