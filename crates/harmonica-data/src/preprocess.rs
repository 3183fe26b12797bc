//! Corpus to cache, by any number of processes on any number of machines.
//!
//! In: a [`Manifest`], settings, a codec. Out: a sealed [`TokenCache`] with its quality report. Shards are made on a bench beside
//! the cache (`work.rs`), each by whoever claims it first; then one process judges all rows together and puts the cache in its
//! place. Invariant: the cache is the same bytes whoever made it, in how many sittings, and from whatever was there before.

use crate::encode::{RowEncoder, settings, source};
use crate::reuse::Reuse;
use crate::selection::{Judged, select};
use crate::shard::{Shard, ShardRow};
use crate::shard_line::{PATIENCE, ShardLine};
use crate::splits::assign_splits;
use crate::stages::clocked_all;
use crate::tally::{Effort, Tally};
use crate::work::{Bench, ShardShare, clear_benches};
use crate::{
    CacheFingerprint, CachedUtterance, DataError, Manifest, QualityFilter, QualityReport, Split, TokenCache,
};
use harmonica_codec::AudioCodec;
use harmonica_config_schema::ExperimentConfig;
use harmonica_storage::{Mapped, Sealed, require_space};
use harmonica_text::{TextTokenizer, TextTokens};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::path::Path;

/// A cache that was just made, or found as it should be.
#[derive(Debug)]
pub struct Preprocessed {
    /// Encoded utterances.
    pub cache: TokenCache,
    /// What was kept and dropped, and why.
    pub report: QualityReport,
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
    let judged = select(manifest, config, tokenizer, &filter, &rows, false);
    Ok(report(&filter, judged).0)
}

fn report(filter: &QualityFilter, judged: Vec<Judged>) -> (QualityReport, Vec<Option<TextTokens>>) {
    let (rows, texts) = judged.into_iter().unzip();
    (QualityReport::new(filter.thresholds().clone(), rows), texts)
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
        let known = Reuse::gather(dir, &[], &settings(&self.config.data.audio, self.codec));
        let known: Vec<_> = known.sources().collect();
        let follow = self.config.data.follow_links_outside;
        let is_same = known.len() == self.manifest.utterances.len()
            && self.manifest.utterances.par_iter().zip(known).all(|(utterance, (id, known))| {
                utterance.id == id && source(self.manifest, utterance, follow).as_ref() == known
            });
        Ok(is_same.then_some(cache))
    }

    /// Makes the cache at `dir`, together with every other process that makes the same one.
    ///
    /// # Errors
    /// A corpus of which nothing can be kept, or a directory that cannot be written to.
    pub fn make(&self, dir: &Path, progress: impl FnMut(&Effort) + Send) -> Result<Preprocessed, DataError> {
        // Asked in this order, a cache that another process finishes meanwhile is noticed by the one or by the other.
        let before = seal(dir);
        if self.current(dir)?.is_some() {
            let found = self.found(dir, Effort::default())?;
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
        let claim = loop {
            if self.is_finished(dir, before, &wanted) {
                return self.found(dir, effort);
            }
            if let Some(claim) = bench.claim(None)? {
                break claim;
            }
            std::thread::sleep(PATIENCE);
        };
        if self.is_finished(dir, before, &wanted) {
            return self.found(dir, effort);
        }
        let (rows, shards) = self.collect(&bench)?;
        let (report, utterances, speakers) = self.judge(&rows, bench_rows(&bench))?;
        let content = crate::cache::Content {
            spec: self.codec.spec().clone(),
            vocab: self.tokenizer.vocab().clone(),
            speakers,
            corpora: self.manifest.corpora(),
            utterances,
        };
        let bytes: u64 = shards.iter().map(|path| path.metadata().map_or(0, |data| data.len())).sum();
        // Shards that cannot be linked are copied.
        require_space(dir, bytes / 64 + (1 << 16))?;
        content.write(dir, &wanted, &shards, &report.files()?)?;
        drop(claim);
        drop(rows);
        clear_benches(dir)?;
        Ok(Preprocessed { cache: TokenCache::open(dir, Some(&wanted))?, report, effort, was_current: false })
    }

    /// What another process finished.
    fn found(&self, dir: &Path, effort: Effort) -> Result<Preprocessed, DataError> {
        let cache = TokenCache::open(dir, Some(&self.fingerprint()?))?;
        let settings = settings(&self.config.data.audio, self.codec);
        let known = Reuse::gather(dir, &[], &settings);
        let (report, ..) = self.judge(&known.into_rows(), Vec::new())?;
        clear_benches(dir)?;
        Ok(Preprocessed { cache, report, effort, was_current: false })
    }

    /// Rows of all shards, and where the shards are.
    fn collect(&self, bench: &Bench) -> Result<(Vec<ShardRow>, Vec<std::path::PathBuf>), DataError> {
        let paths: Vec<_> = (0..bench.n_shards()).map(|shard| bench.shard(shard)).collect();
        let missing: Vec<usize> = (0..paths.len()).filter(|shard| !paths[*shard].exists()).collect();
        if !missing.is_empty() {
            return Err(DataError::Unfinished { path: bench.dir().to_owned(), missing, of: paths.len() });
        }
        let rows_of = |path: &std::path::PathBuf| {
            let bytes =
                Mapped::open(path).map_err(|source| DataError::Read { path: path.clone(), source })?;
            let shard = Shard::parse(&bytes).ok_or_else(|| DataError::DamagedShard { path: path.clone() })?;
            Ok(shard.rows)
        };
        let rows: Vec<Vec<ShardRow>> = paths.par_iter().map(rows_of).collect::<Result<_, DataError>>()?;
        Ok((rows.into_iter().flatten().collect(), paths))
    }

    /// Judges all rows; `places` says in which shard each row is.
    fn judge(
        &self,
        rows: &[ShardRow],
        places: Vec<usize>,
    ) -> Result<(QualityReport, Vec<CachedUtterance>, Vec<String>), DataError> {
        if rows.len() != self.manifest.utterances.len() {
            let reason = format!("{} rows, the corpus has {}", rows.len(), self.manifest.utterances.len());
            return Err(DataError::DamagedCache { path: self.config.data.cache_dir.clone().into(), reason });
        }
        let filter = QualityFilter::open(&self.config.data.quality)?;
        let judged = select(self.manifest, self.config, self.tokenizer, &filter, rows, true);
        let (report, texts) = report(&filter, judged);
        let kept: Vec<(usize, TextTokens)> =
            texts.into_iter().enumerate().filter_map(|(row, text)| Some((row, text?))).collect();
        if kept.is_empty() {
            let corpus = self.manifest.place();
            return Err(DataError::NothingKept { corpus, dropped: report.dropped_utterances });
        }
        let splits = assign_splits(self.manifest, &self.config.data.split)?;
        for split in [Split::Train, Split::Valid] {
            if !kept.iter().any(|(row, _)| splits[*row] == split) {
                return Err(DataError::EmptySplit { split: split.name() });
            }
        }
        let of = |row: usize| &self.manifest.utterances[row];
        let speakers: BTreeSet<String> = kept.iter().map(|(row, _)| of(*row).speaker.clone()).collect();
        let speakers: Vec<String> = speakers.into_iter().collect();
        let corpora = self.manifest.corpora();
        let utterances = kept.into_iter().map(|(row, text)| CachedUtterance {
            id: of(row).id.clone(),
            text: text.normalized,
            text_ids: text.ids,
            speaker: speakers.binary_search(&of(row).speaker).unwrap_or_default(),
            corpus: corpora.binary_search(&of(row).corpus).unwrap_or_default(),
            split: splits[row],
            audio: of(row).audio.clone(),
            segment: of(row).segment,
            shard: places.get(row).copied().unwrap_or_default(),
            first_code: rows[row].first_code,
            n_frames: rows[row].n_frames,
            n_samples: rows[row].n_samples,
        });
        let utterances = utterances.collect();
        Ok((report, utterances, speakers))
    }
}

/// Shard of every row.
fn bench_rows(bench: &Bench) -> Vec<usize> {
    (0..bench.n_shards()).flat_map(|shard| bench.rows(shard).map(move |_| shard)).collect()
}

/// Hash of what stands at a place.
fn seal(dir: &Path) -> Option<String> {
    Some(Sealed::open(dir).ok()?.hash().to_owned())
}
