//! How well codes can be predicted without any model: what a run must beat.
//!
//! In: a cache; out: cross-entropies of held-out codes under counts of the training codes. Invariant: every code has some
//! probability, so that every figure is finite.

use crate::{Split, TokenCache};
use serde::Serialize;
use std::collections::BTreeMap;

/// Cross-entropies of the held-out codes of one codebook, in nats a code.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LearningFloor {
    /// Codebook, counted from 1.
    pub codebook: usize,
    /// Under how often each code occurs.
    pub unigram: f64,
    /// Under how often each code follows the one before it (Witten & Bell 1991).
    pub bigram: f64,
    /// Held-out codes.
    pub n_codes: usize,
}

impl LearningFloor {
    /// The floors of all codebooks: counted on the training utterances, judged on the validation utterances.
    pub fn of(cache: &TokenCache) -> Vec<Self> {
        (0..cache.spec().n_codebooks).map(|codebook| Self::of_codebook(cache, codebook)).collect()
    }

    fn of_codebook(cache: &TokenCache, codebook: usize) -> Self {
        let size = cache.spec().codebook_size;
        let rows = |split| {
            cache.split(split).into_iter().map(move |utterance| {
                let frames = cache.utterances()[utterance].n_frames;
                cache.codes(utterance)[codebook * frames..][..frames].to_vec()
            })
        };
        let mut times = vec![0.5_f64; size];
        let mut pairs: BTreeMap<(u16, u16), f64> = BTreeMap::new();
        for row in rows(Split::Train) {
            row.iter().for_each(|code| times[usize::from(*code)] += 1.0);
            row.windows(2).for_each(|pair| *pairs.entry((pair[0], pair[1])).or_default() += 1.0);
        }
        let all: f64 = times.iter().sum();
        // Of every code: how often something follows it, and how many different codes do.
        let mut followed: BTreeMap<u16, (f64, f64)> = BTreeMap::new();
        for ((before, _), n) in &pairs {
            let (times, kinds) = followed.entry(*before).or_default();
            *times += n;
            *kinds += 1.0;
        }
        let alone = |code: u16| times[usize::from(code)] / all;
        let after = |before: u16, code: u16| {
            let Some((times, kinds)) = followed.get(&before) else { return alone(code) };
            let n = pairs.get(&(before, code)).copied().unwrap_or(0.0);
            (n + kinds * alone(code)) / (times + kinds)
        };
        let (mut unigram, mut bigram, mut n_codes) = (0.0, 0.0, 0);
        for row in rows(Split::Valid) {
            n_codes += row.len();
            unigram -= row.iter().map(|code| alone(*code).ln()).sum::<f64>();
            bigram -= row.first().map_or(0.0, |code| alone(*code).ln());
            bigram -= row.windows(2).map(|pair| after(pair[0], pair[1]).ln()).sum::<f64>();
        }
        let n = n_codes.max(1) as f64;
        Self { codebook: codebook + 1, unigram: unigram / n, bigram: bigram / n, n_codes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::cache_of;

    #[test]
    fn a_cycle_is_known_from_pairs_and_unknown_from_single_codes() {
        let cycle: Vec<u16> = (0..400).map(|i| i % 8).collect();
        let cache = cache_of(1, 8, &[(0, Split::Train, cycle.clone()), (0, Split::Valid, cycle)]);
        let [floor] = LearningFloor::of(&cache)[..] else { panic!("one codebook") };
        assert!((floor.unigram - 8_f64.ln()).abs() < 0.01, "{floor:?}");
        assert!(floor.bigram < 0.1 && floor.n_codes == 400, "{floor:?}");
    }

    #[test]
    fn codes_that_training_never_saw_have_finite_floors() {
        let cache = cache_of(1, 8, &[(0, Split::Train, vec![1; 9]), (0, Split::Valid, vec![7, 6, 1, 7])]);
        assert!(LearningFloor::of(&cache).iter().all(|f| f.unigram.is_finite() && f.bigram.is_finite()));
    }
}
