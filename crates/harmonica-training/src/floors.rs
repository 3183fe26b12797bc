//! What guessing costs on the validation split: by the training split's frequencies, and from the code before.
//!
//! In: a token cache. Out: nats a token, for each codebook. A model that does not lie under the first has learned nothing,
//! one that does not lie under the second has learned nothing but which code follows which. Invariant: a pure function of
//! the cache.

use harmonica_data::{Split, TokenCache};
use std::collections::HashMap;

/// Counts that a prediction starts with, spread over all classes.
const UNIGRAM_PRIOR: f64 = 0.5;
/// Counts of the unigram distribution that every bigram starts with.
const BIGRAM_PRIOR: f64 = 20.0;

/// Cost of guessing one codebook's codes, in nats a token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Floor {
    pub(crate) unigram: f64,
    pub(crate) bigram: f64,
}

/// Floors of the codebook of index `codebook`; `with_end` counts the end of each utterance as a code of its own.
pub(crate) fn floor(cache: &TokenCache, codebook: usize, with_end: bool) -> Floor {
    let size = cache.spec().codebook_size;
    let n_codebooks = cache.spec().n_codebooks;
    let sequence = |utterance: usize| -> Vec<usize> {
        let codes = cache.codes(utterance);
        let n = codes.len() / n_codebooks;
        let end = with_end.then_some(size);
        codes[codebook * n..][..n].iter().map(|c| usize::from(*c)).chain(end).collect()
    };
    let n_classes = size + usize::from(with_end);
    let mut unigrams = vec![0.0; n_classes];
    let mut bigrams: HashMap<(usize, usize), f64> = HashMap::new();
    let mut before = vec![0.0; n_classes];
    for utterance in cache.split(Split::Train) {
        let codes = sequence(utterance);
        codes.iter().for_each(|code| unigrams[*code] += 1.0);
        for pair in codes.windows(2) {
            *bigrams.entry((pair[0], pair[1])).or_default() += 1.0;
            before[pair[0]] += 1.0;
        }
    }
    let total = unigrams.iter().sum::<f64>() + UNIGRAM_PRIOR * n_classes as f64;
    let unigram = |code: usize| (unigrams[code] + UNIGRAM_PRIOR) / total;
    let bigram = |last: usize, code: usize| {
        let count = bigrams.get(&(last, code)).copied().unwrap_or(0.0);
        (count + BIGRAM_PRIOR * unigram(code)) / (before[last] + BIGRAM_PRIOR)
    };
    let (mut by_unigram, mut by_bigram, mut n) = (0.0, 0.0, 0.0_f64);
    for utterance in cache.split(Split::Valid) {
        let mut last = None;
        for code in sequence(utterance) {
            by_unigram -= unigram(code).ln();
            by_bigram -= last.map_or_else(|| unigram(code), |last| bigram(last, code)).ln();
            last = Some(code);
            n += 1.0;
        }
    }
    Floor { unigram: by_unigram / n.max(1.0), bigram: by_bigram / n.max(1.0) }
}
