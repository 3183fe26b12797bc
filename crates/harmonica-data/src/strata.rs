//! A corpus in strata: speakers, lengths, rare symbols; how often each should be drawn, and how far from that draws are.
//!
//! In: utterances with their speaker, length and text; out: draws an epoch, and a [`Balance`]. Targets are n to the power alpha of
//! every speaker, every length bucket and every symbol bucket; all three are met at once by raking (iterative proportional
//! fitting, Deming & Stephan 1940) over the cells that exist. Invariant: the draws of an epoch are a function of seed and epoch;
//! no utterance is drawn more than `max_repeats` times in one.

use crate::{CachedUtterance, TokenCache};
use harmonica_config_schema::{CorpusConfig, RandomStream, SamplingConfig, SamplingKind};
use serde::Serialize;
use std::collections::BTreeMap;

/// Rounds of raking; it converges geometrically.
const ROUNDS: usize = 60;

/// Utterances that share speaker, length bucket and symbol bucket.
#[derive(Debug, Clone)]
struct Cell {
    /// Its stratum in each of the three ways to divide the corpus.
    strata: [usize; 3],
    /// Positions in [`Strata::items`], in an order of their own.
    members: Vec<usize>,
}

/// One way to divide the corpus.
#[derive(Debug, Clone)]
struct Margin {
    /// Utterances of each stratum.
    counts: Vec<usize>,
    /// Corpus of each stratum, where the margin is that of speakers.
    corpora: Vec<usize>,
}

/// How an epoch's draws are spread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Balance {
    /// Utterances drawn.
    pub draws: usize,
    /// Different ones among them.
    pub distinct: usize,
    /// Draws of the one that was drawn most often.
    pub most_repeats: usize,
    /// Total variation distance of the speakers' shares from the target, 0 to 1.
    pub speaker_distance: f64,
    /// The same of the length buckets.
    pub length_distance: f64,
    /// The same of the symbol buckets.
    pub symbol_distance: f64,
    /// Share of the frames in batches that is padding.
    pub padding_share: f64,
}

/// A corpus that was divided.
#[derive(Debug, Clone)]
pub struct Strata {
    config: SamplingConfig,
    seed: u64,
    /// Utterance and its frames.
    items: Vec<(usize, usize)>,
    cells: Vec<Cell>,
    margins: [Margin; 3],
    corpora: Vec<CorpusConfig>,
    /// Cell of every utterance that is drawn.
    cell_of: BTreeMap<usize, usize>,
}

/// What is asked of an utterance to find its strata.
struct Traits {
    speaker: usize,
    corpus: usize,
    /// Utterances that hold its rarest symbol.
    rarest: usize,
}

impl Strata {
    /// Divides the utterances of a cache that are given by index and frames. `corpora` are weighed as the cache names them.
    pub fn new(
        cache: &TokenCache,
        items: Vec<(usize, usize)>,
        config: &SamplingConfig,
        corpora: &BTreeMap<String, CorpusConfig>,
        seed: u64,
    ) -> Self {
        let weighed = |corpus: &CorpusConfig| corpus.weight != 1.0 || corpus.final_weight != 1.0;
        if config.kind == SamplingKind::Uniform && corpora.values().any(weighed) {
            // Weights alone: every corpus as it is, more or less often.
            let config = SamplingConfig {
                kind: SamplingKind::Stratified,
                alpha: 1.0,
                length_buckets: 1,
                symbol_buckets: 1,
                ..config.clone()
            };
            return Self::new(cache, items, &config, corpora, seed);
        }
        let rows = cache.utterances();
        let mut holders: BTreeMap<u16, usize> = BTreeMap::new();
        let symbols = |row: &CachedUtterance| {
            let mut ids = row.text_ids.to_vec();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        for (utterance, _) in &items {
            for id in symbols(&rows[*utterance]) {
                *holders.entry(id).or_default() += 1;
            }
        }
        let traits = items.iter().map(|(utterance, _)| {
            let row = &rows[*utterance];
            let rarest = symbols(row).iter().filter_map(|id| holders.get(id)).min().copied().unwrap_or(0);
            Traits { speaker: row.speaker, corpus: row.corpus, rarest }
        });
        let corpora =
            cache.corpora().iter().map(|name| corpora.get(name).cloned().unwrap_or_default()).collect();
        let traits = traits.collect();
        Self::divide(items, traits, config, corpora, seed)
    }

    fn divide(
        items: Vec<(usize, usize)>,
        traits: Vec<Traits>,
        config: &SamplingConfig,
        corpora: Vec<CorpusConfig>,
        seed: u64,
    ) -> Self {
        let lengths = buckets(items.iter().map(|(_, frames)| *frames).collect(), config.length_buckets);
        let symbols = buckets(traits.iter().map(|t| t.rarest).collect(), config.symbol_buckets);
        let n_speakers = traits.iter().map(|t| t.speaker + 1).max().unwrap_or(0);
        let mut margins = [n_speakers, config.length_buckets, config.symbol_buckets]
            .map(|n| Margin { counts: vec![0; n], corpora: Vec::new() });
        margins[0].corpora = vec![0; n_speakers];
        let mut cells: BTreeMap<[usize; 3], Vec<usize>> = BTreeMap::new();
        for (i, of) in traits.iter().enumerate() {
            let strata = [of.speaker, lengths[i], symbols[i]];
            for (margin, stratum) in margins.iter_mut().zip(strata) {
                margin.counts[stratum] += 1;
            }
            margins[0].corpora[of.speaker] = of.corpus;
            cells.entry(strata).or_default().push(i);
        }
        let cells: Vec<Cell> = cells
            .into_iter()
            .enumerate()
            .map(|(c, (strata, mut members))| {
                RandomStream::new(seed, "stratum order", &[c as u64]).shuffle(&mut members);
                Cell { strata, members }
            })
            .collect();
        let cell_of = cells
            .iter()
            .enumerate()
            .flat_map(|(c, cell)| cell.members.iter().map(move |i| (*i, c)))
            .map(|(i, c)| (items[i].0, c))
            .collect();
        Self { config: config.clone(), seed, items, cells, margins, corpora, cell_of }
    }

    /// Which utterances an epoch draws.
    pub(crate) fn kind(&self) -> SamplingKind {
        self.config.kind
    }

    /// Draws of an epoch.
    fn n_draws(&self) -> usize {
        if self.config.epoch_draws == 0 { self.items.len() } else { self.config.epoch_draws }
    }

    /// Utterances and their frames, each once.
    pub(crate) fn items(&self) -> &[(usize, usize)] {
        &self.items
    }

    /// Shares that each stratum of a margin should have at a batch.
    fn target(&self, margin: usize, batch: u64) -> Vec<f64> {
        let Margin { counts, corpora } = &self.margins[margin];
        let weigh = |stratum: usize| {
            corpora.get(stratum).and_then(|c| self.corpora.get(*c)).map_or(1.0, |c| c.weight_at(batch))
        };
        let raw = counts.iter().enumerate().map(|(stratum, n)| match n {
            0 => 0.0,
            n => (*n as f64).powf(self.config.alpha) * weigh(stratum),
        });
        let raw: Vec<f64> = raw.collect();
        let sum = raw.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        raw.into_iter().map(|share| share / sum).collect()
    }

    /// Draws that each cell should have, in fractions, when an epoch begins at a batch.
    fn quotas(&self, batch: u64) -> Vec<f64> {
        let n = self.n_draws() as f64;
        let targets: Vec<Vec<f64>> = (0..3).map(|margin| self.target(margin, batch)).collect();
        let most: Vec<f64> =
            self.cells.iter().map(|cell| (cell.members.len() * self.config.max_repeats) as f64).collect();
        let share = n / self.items.len().max(1) as f64;
        let mut quotas: Vec<f64> = self.cells.iter().map(|cell| cell.members.len() as f64 * share).collect();
        // Lengths and symbols first, so that what cannot be met exactly is met for speakers.
        for _ in 0..ROUNDS {
            for margin in [2, 1, 0] {
                let mut sums = vec![0.0; targets[margin].len()];
                for (cell, quota) in self.cells.iter().zip(&quotas) {
                    sums[cell.strata[margin]] += quota;
                }
                for ((cell, quota), most) in self.cells.iter().zip(&mut quotas).zip(&most) {
                    let stratum = cell.strata[margin];
                    if sums[stratum] > 0.0 {
                        *quota = (*quota * targets[margin][stratum] * n / sums[stratum]).min(*most);
                    }
                }
            }
        }
        quotas
    }

    /// Utterances and frames that an epoch draws; `batch` is the first one of it, counted over the whole run.
    pub(crate) fn draws(&self, epoch: u64, batch: u64) -> Vec<(usize, usize)> {
        let quotas = self.quotas(batch);
        // One random number for all cells: every count is its quota, rounded up or down, and the sum is that of the quotas.
        let mut reached = RandomStream::new(self.seed, "strata", &[epoch]).uniform();
        let mut drawn = Vec::with_capacity(self.n_draws());
        for (cell, quota) in self.cells.iter().zip(quotas) {
            let before = reached.floor();
            reached += quota;
            let count = (reached.floor() - before) as usize;
            let members = &cell.members;
            // Windows of consecutive epochs follow each other, so that all members get their turn.
            let start = (epoch as f64 * quota) as usize % members.len();
            let most = members.len() * self.config.max_repeats;
            drawn.extend((0..count.min(most)).map(|i| self.items[members[(start + i) % members.len()]]));
        }
        drawn
    }

    /// How the draws of an epoch, in its batches, are spread.
    pub(crate) fn balance(&self, batches: &[Vec<usize>], first_batch: u64) -> Balance {
        let mut times: BTreeMap<usize, usize> = BTreeMap::new();
        for utterance in batches.iter().flatten() {
            *times.entry(*utterance).or_default() += 1;
        }
        let draws: usize = times.values().sum();
        let mut sums: Vec<Vec<f64>> =
            self.margins.iter().map(|margin| vec![0.0; margin.counts.len()]).collect();
        for (utterance, n) in &times {
            if let Some(cell) = self.cell_of.get(utterance) {
                for (sums, stratum) in sums.iter_mut().zip(self.cells[*cell].strata) {
                    sums[stratum] += *n as f64 / draws.max(1) as f64;
                }
            }
        }
        let distance = |margin: usize| {
            let target = self.target(margin, first_batch);
            target.iter().zip(&sums[margin]).map(|(wanted, is)| (wanted - is).abs()).sum::<f64>() / 2.0
        };
        let frames: BTreeMap<usize, usize> = self.items.iter().copied().collect();
        let frames_of = |utterance: &usize| frames.get(utterance).copied().unwrap_or(0);
        let real: usize = batches.iter().flatten().map(frames_of).sum();
        let padded: usize =
            batches.iter().map(|b| b.len() * b.iter().map(frames_of).max().unwrap_or(0)).sum();
        Balance {
            draws,
            distinct: times.len(),
            most_repeats: times.values().copied().max().unwrap_or(0),
            speaker_distance: distance(0),
            length_distance: distance(1),
            symbol_distance: distance(2),
            padding_share: 1.0 - real as f64 / padded.max(1) as f64,
        }
    }
}

/// Buckets of about equal size by value; equal values share one.
fn buckets(values: Vec<usize>, n: usize) -> Vec<usize> {
    let mut sorted = values.clone();
    sorted.sort_unstable();
    let bucket = |value: &usize| sorted.partition_point(|v| v < value) * n / sorted.len().max(1);
    values.iter().map(bucket).collect()
}

#[cfg(test)]
pub(crate) use tests::balanced_plan;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BatchPlan;
    use harmonica_config_schema::BatchConfig;
    use proptest::prelude::*;

    /// A corpus like VCTK in lengths, with speakers as unequal as words are (Zipf): frames at 75 a second.
    fn unequal(n: usize, speakers: usize, config: &SamplingConfig, seed: u64) -> Strata {
        let harmonic: f64 = (1..=speakers).map(|s| 1.0 / s as f64).sum();
        let mut items = Vec::new();
        let mut traits = Vec::new();
        let mut stream = RandomStream::new(7, "corpus", &[]);
        for speaker in 0..speakers {
            let of_speaker = (n as f64 / harmonic / (speaker + 1) as f64).round().max(1.0) as usize;
            for _ in 0..of_speaker {
                let seconds = (1.15 + 0.35 * stream.normal()).exp().clamp(1.0, 12.0);
                items.push((items.len(), (75.0 * seconds) as usize));
                // Few texts hold a rare symbol.
                let rarest = [40, 300, 900, 4000, 4000, 4000, 9000, 9000][stream.below(8)];
                traits.push(Traits { speaker, corpus: speaker % 2, rarest });
            }
        }
        Strata::divide(items, traits, config, vec![CorpusConfig::default(); 2], seed)
    }

    /// A plan over a small corpus of unequal speakers.
    pub(crate) fn balanced_plan(config: &BatchConfig, seed: u64) -> BatchPlan {
        BatchPlan::of_strata(unequal(700, 12, &stratified(), seed), config, seed)
    }

    fn stratified() -> SamplingConfig {
        SamplingConfig { kind: SamplingKind::Stratified, ..SamplingConfig::default() }
    }

    fn batches() -> BatchConfig {
        BatchConfig { max_frames: 8000, max_utterances: 256, length_pool: 2048, ..BatchConfig::default() }
    }

    #[test]
    fn unequal_speakers_come_into_balance_and_padding_stays_small() {
        let strata = unequal(20_000, 100, &stratified(), 1);
        let uniform = SamplingConfig::default();
        for epoch in 0..5 {
            let balance = BatchPlan::of_strata(strata.clone(), &batches(), 1).balance(epoch).unwrap();
            assert!(balance.speaker_distance <= 0.05, "{balance:?}");
            assert!(balance.length_distance <= 0.05 && balance.symbol_distance <= 0.05, "{balance:?}");
            assert!(balance.padding_share <= 0.08, "{balance:?}");
            assert!(balance.most_repeats <= 4, "{balance:?}");
            assert!(balance.draws.abs_diff(strata.items.len()) * 200 <= strata.items.len(), "{balance:?}");
        }
        let once = BatchPlan::of_strata(unequal(20_000, 100, &uniform, 1), &batches(), 1).balance(0).unwrap();
        assert!(once.speaker_distance > 0.2, "{once:?}");
        assert_eq!((once.draws, once.most_repeats), (once.distinct, 1));
    }

    #[test]
    fn every_utterance_gets_its_turn() {
        let strata = unequal(2000, 20, &SamplingConfig { alpha: 0.7, ..stratified() }, 3);
        let mut seen = std::collections::BTreeSet::new();
        for epoch in 0..12 {
            seen.extend(strata.draws(epoch, 0).into_iter().map(|(utterance, _)| utterance));
        }
        assert!(seen.len() * 1000 >= strata.items.len() * 995, "{} of {}", seen.len(), strata.items.len());
    }

    #[test]
    fn corpora_are_weighed_and_their_weights_move() {
        let mut strata = unequal(4000, 40, &SamplingConfig { alpha: 1.0, ..stratified() }, 3);
        strata.corpora[1] = CorpusConfig {
            weight: 0.0,
            final_weight: 1.0,
            ramp_from_batch: 100,
            ramp_batches: 200,
            ..CorpusConfig::default()
        };
        let share = |batch: u64| {
            let drawn = strata.draws(2, batch);
            let second =
                |(utterance, _): &&(usize, usize)| strata.cells[strata.cell_of[utterance]].strata[0] % 2 == 1;
            drawn.iter().filter(second).count() as f64 / drawn.len() as f64
        };
        let own = strata.items.iter().filter(|(u, _)| strata.cells[strata.cell_of[u]].strata[0] % 2 == 1);
        let own = own.count() as f64 / strata.items.len() as f64;
        assert_eq!(share(50), 0.0);
        assert!(share(200) > 0.2 * own && share(200) < 0.9 * own, "{} of {own}", share(200));
        assert!((share(300) - own).abs() < 0.02 && (share(9000) - own).abs() < 0.02);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn no_utterance_is_drawn_too_often(
            n in 50_usize..1500, speakers in 1_usize..40, alpha in 0.0_f64..1.0, most in 1_usize..6, epoch in 0_u64..9
        ) {
            let config = SamplingConfig { alpha, max_repeats: most, ..stratified() };
            let strata = unequal(n, speakers, &config, 5);
            let mut times: BTreeMap<usize, usize> = BTreeMap::new();
            strata.draws(epoch, 0).iter().for_each(|(u, _)| *times.entry(*u).or_default() += 1);
            prop_assert!(times.values().all(|n| *n <= most), "{:?}", times.values().max());
            prop_assert_eq!(strata.draws(epoch, 0), unequal(n, speakers, &config, 5).draws(epoch, 0));
        }
    }
}
