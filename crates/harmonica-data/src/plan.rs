//! Which utterances go into which batch: a pure function of (seed, position).
//!
//! The draws of an epoch (each utterance once, or as `strata.rs` balances them) are shuffled, sorted by length within pools, cut
//! into batches by a budget of padded frames, and the batches are shuffled. Invariant: what is in a batch never depends on what
//! ran before or on how many threads ask.

use crate::TokenCache;
use crate::strata::{Balance, Strata};
use harmonica_config_schema::{BatchConfig, DataConfig, RandomStream, SamplingKind};

/// What an epoch draws.
#[derive(Debug, Clone)]
enum Draws {
    /// Utterance index and length in frames: each once.
    Once(Vec<(usize, usize)>),
    /// Each once, with what is needed to tell how that is spread.
    Known(Box<Strata>),
    /// In balance.
    Balanced(Box<Strata>),
}

/// Batches of all epochs.
#[derive(Debug, Clone)]
pub struct BatchPlan {
    config: BatchConfig,
    seed: u64,
    draws: Draws,
    /// Batches of the epoch that was asked for last.
    current: Option<(u64, Vec<Vec<usize>>)>,
    /// First batch of each epoch known so far; the last entry is where the next epoch begins.
    starts: Vec<u64>,
}

impl BatchPlan {
    /// A plan over utterances given by index and length in frames.
    ///
    /// # Panics
    /// If there is no utterance.
    pub fn new(lengths: Vec<(usize, usize)>, config: &BatchConfig, seed: u64) -> Self {
        assert!(!lengths.is_empty(), "a plan needs utterances");
        Self::with(Draws::Once(lengths), config, seed)
    }

    fn with(draws: Draws, config: &BatchConfig, seed: u64) -> Self {
        Self { config: config.clone(), seed, draws, current: None, starts: vec![0] }
    }

    /// The plan of a configuration over utterances of a cache, given by index and length in frames.
    ///
    /// # Panics
    /// If there is no utterance.
    pub fn of_cache(
        cache: &TokenCache,
        lengths: Vec<(usize, usize)>,
        config: &DataConfig,
        seed: u64,
    ) -> Self {
        assert!(!lengths.is_empty(), "a plan needs utterances");
        let strata = Strata::new(cache, lengths, &config.sampling, &config.corpora, seed);
        Self::of_strata(strata, &config.batch, seed)
    }

    /// As [`Self::of_cache`], of a corpus that was divided already.
    pub(crate) fn of_strata(strata: Strata, config: &BatchConfig, seed: u64) -> Self {
        let draws = match strata.kind() {
            SamplingKind::Uniform => Draws::Known(Box::new(strata)),
            SamplingKind::Stratified => Draws::Balanced(Box::new(strata)),
        };
        Self::with(draws, config, seed)
    }

    /// How an epoch is spread over speakers, lengths and symbols; nothing is known about utterances that are only lengths.
    pub fn balance(&mut self, epoch: u64) -> Option<Balance> {
        let first = self.start(epoch);
        let batches = self.epoch_from(epoch, first);
        match &self.draws {
            Draws::Once(_) => None,
            Draws::Known(strata) | Draws::Balanced(strata) => Some(strata.balance(&batches, first)),
        }
    }

    /// First batch of an epoch, counted over the whole run.
    fn start(&mut self, epoch: u64) -> u64 {
        while self.starts.len() as u64 <= epoch {
            let last = self.starts.len() as u64 - 1;
            let first = self.starts[last as usize];
            let n = self.epoch_from(last, first).len() as u64;
            self.starts.push(first + n);
        }
        self.starts[epoch as usize]
    }

    /// Batches of one epoch.
    pub fn epoch(&mut self, epoch: u64) -> Vec<Vec<usize>> {
        let first = self.start(epoch);
        self.epoch_from(epoch, first)
    }

    fn epoch_from(&self, epoch: u64, first_batch: u64) -> Vec<Vec<usize>> {
        let mut stream = RandomStream::new(self.seed, "batch order", &[epoch]);
        let mut order = match &self.draws {
            Draws::Once(lengths) => lengths.clone(),
            Draws::Known(strata) => strata.items().to_vec(),
            Draws::Balanced(strata) => strata.draws(epoch, first_batch),
        };
        stream.shuffle(&mut order);
        let mut batches = Vec::new();
        for pool in order.chunks_mut(self.config.length_pool.max(1)) {
            pool.sort_by_key(|(index, length)| (*length, *index));
            let mut batch: Vec<usize> = Vec::new();
            for &(index, length) in pool.iter() {
                // Sorted: the newest utterance is the longest, so it sets the padded width of the batch.
                let full = (batch.len() + 1) * length > self.config.max_frames
                    || batch.len() >= self.config.max_utterances;
                if full && !batch.is_empty() {
                    batches.push(std::mem::take(&mut batch));
                }
                batch.push(index);
            }
            if !batch.is_empty() {
                batches.push(batch);
            }
        }
        stream.shuffle(&mut batches);
        batches
    }

    /// The batch at a position counted over all epochs, and its epoch.
    pub fn batch(&mut self, position: u64) -> (u64, Vec<usize>) {
        while self.starts.last().is_some_and(|start| *start <= position) {
            self.start(self.starts.len() as u64);
        }
        let epoch = self.starts.partition_point(|start| *start <= position) as u64 - 1;
        if self.current.as_ref().is_none_or(|(known, _)| *known != epoch) {
            self.current = Some((epoch, self.epoch(epoch)));
        }
        let within = (position - self.starts[epoch as usize]) as usize;
        let batch = self.current.as_ref().map(|(_, batches)| batches[within].clone()).unwrap_or_default();
        (epoch, batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(n: usize, seed: u64) -> BatchPlan {
        let lengths = (0..n).map(|i| (i, 20 + (i * 37) % 60)).collect();
        BatchPlan::new(
            lengths,
            &BatchConfig { max_frames: 400, length_pool: 32, ..BatchConfig::default() },
            seed,
        )
    }

    #[test]
    fn every_utterance_occurs_once_an_epoch_within_the_budget() {
        let mut plan = plan(200, 3);
        for epoch in 0..3 {
            let batches = plan.epoch(epoch);
            let mut seen: Vec<usize> = batches.iter().flatten().copied().collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..200).collect::<Vec<_>>());
            for batch in &batches {
                let longest = batch.iter().map(|i| 20 + (i * 37) % 60).max().unwrap();
                assert!(batch.len() * longest <= 400);
            }
        }
        let (first, second) = (plan.epoch(0), plan.epoch(1));
        assert_ne!(first, second);
    }

    proptest! {
        #[test]
        fn a_position_gives_the_same_batch_whatever_was_asked_before(position in 0_u64..200, other in 0_u64..200) {
            let mut fresh = plan(100, 9);
            let mut used = plan(100, 9);
            used.batch(other);
            prop_assert_eq!(fresh.batch(position), used.batch(position));
        }
    }
}
