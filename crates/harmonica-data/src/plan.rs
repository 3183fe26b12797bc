//! Which utterances go into which batch: a pure function of (seed, epoch).
//!
//! Utterances are shuffled, sorted by length within pools, cut into batches by a budget of padded frames, and the batches
//! are shuffled. Invariant: every utterance occurs once an epoch; the order never depends on what ran before.

use harmonica_config_schema::{BatchConfig, RandomStream};

/// Batches of all epochs.
#[derive(Debug, Clone)]
pub struct BatchPlan {
    config: BatchConfig,
    seed: u64,
    /// Utterance index and length in frames.
    lengths: Vec<(usize, usize)>,
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
        Self { config: config.clone(), seed, lengths, current: None, starts: vec![0] }
    }

    /// Batches of one epoch.
    pub fn epoch(&self, epoch: u64) -> Vec<Vec<usize>> {
        let mut stream = RandomStream::new(self.seed, "batch order", &[epoch]);
        let mut order = self.lengths.clone();
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
            let epoch = self.starts.len() as u64 - 1;
            let n = self.epoch(epoch).len() as u64;
            self.starts.push(self.starts[epoch as usize] + n);
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
        let plan = plan(200, 3);
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
        assert_ne!(plan.epoch(0), plan.epoch(1));
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
