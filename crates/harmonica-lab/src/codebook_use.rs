//! How the codes of a cache use their codebooks.
//!
//! In: a cache. Out: for each codebook, how many entries are used, the perplexity of their distribution, and what codes cost (in nats) a
//! reader who knows only how frequent they are, or only the code before: a floor that any model of the codes should fall below.
//! Invariant: costs are measured on codes that were not counted: each half of the utterances is judged by the other half.

use crate::output::Output;
use harmonica_data::TokenCache;
use serde::Serialize;
use std::collections::HashMap;

/// Figures of one codebook.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct CodebookUse {
    /// Counted from 1.
    pub(crate) codebook: usize,
    pub(crate) codes: usize,
    /// Share of the entries that occur.
    pub(crate) utilization: f64,
    /// Exponential of the entropy.
    pub(crate) perplexity: f64,
    /// Cross-entropy by frequency alone, in nats.
    pub(crate) unigram_ce: f64,
    /// Cross-entropy given the code before, in nats.
    pub(crate) bigram_ce: f64,
}

/// How often codes, and pairs of codes, occur.
#[derive(Default)]
struct Counts {
    single: Vec<f64>,
    pairs: HashMap<(u16, u16), f64>,
    /// Different codes seen after each code.
    followers: HashMap<u16, f64>,
    total: f64,
}

impl Counts {
    fn of<'a>(sequences: impl Iterator<Item = &'a [u16]>, size: usize) -> Self {
        let mut counts = Self { single: vec![0.0; size], ..Self::default() };
        for sequence in sequences {
            for code in sequence {
                counts.single[usize::from(*code)] += 1.0;
                counts.total += 1.0;
            }
            for pair in sequence.windows(2) {
                let seen = counts.pairs.entry((pair[0], pair[1])).or_default();
                if *seen == 0.0 {
                    *counts.followers.entry(pair[0]).or_default() += 1.0;
                }
                *seen += 1.0;
            }
        }
        counts
    }

    /// Every entry is seen once more than it was.
    fn unigram(&self, code: u16) -> f64 {
        (self.single[usize::from(code)] + 1.0) / (self.total + self.single.len() as f64)
    }

    /// Pairs seen, and the unigram with as much weight as there are different followers (Witten & Bell 1991).
    fn bigram(&self, before: u16, code: u16) -> f64 {
        let followers = self.followers.get(&before).copied().unwrap_or(0.0);
        if followers == 0.0 {
            return self.unigram(code);
        }
        let seen = self.pairs.get(&(before, code)).copied().unwrap_or(0.0);
        let weight = self.single[usize::from(before)] + followers;
        (seen + followers * self.unigram(code)) / weight
    }
}

/// Figures of one codebook's sequences.
fn figures(codebook: usize, sequences: &[&[u16]], size: usize) -> CodebookUse {
    let all = Counts::of(sequences.iter().copied(), size);
    let shares = all.single.iter().filter(|n| **n > 0.0).map(|n| n / all.total.max(1.0));
    let entropy: f64 = shares.map(|share| -share * share.ln()).sum();
    let half = |odd: usize| sequences.iter().copied().skip(odd).step_by(2);
    let (mut unigram, mut bigram, mut n) = (0.0, 0.0, 0_usize);
    for odd in [0, 1] {
        let counts = Counts::of(half(1 - odd), size);
        for sequence in half(odd) {
            for (i, code) in sequence.iter().enumerate() {
                unigram -= counts.unigram(*code).ln();
                let before = i.checked_sub(1).map(|i| sequence[i]);
                bigram -= before.map_or_else(|| counts.unigram(*code), |b| counts.bigram(b, *code)).ln();
                n += 1;
            }
        }
    }
    CodebookUse {
        codebook,
        codes: n,
        utilization: all.single.iter().filter(|n| **n > 0.0).count() as f64 / size as f64,
        perplexity: entropy.exp(),
        unigram_ce: unigram / n.max(1) as f64,
        bigram_ce: bigram / n.max(1) as f64,
    }
}

/// Tells the figures of every codebook of a cache.
pub(crate) fn tell(cache: &TokenCache, out: Output) {
    let spec = cache.spec();
    let codebooks: Vec<CodebookUse> = (0..spec.n_codebooks)
        .map(|q| {
            let row = |i: usize| {
                let codes = cache.codes(i);
                let n_frames = codes.len() / spec.n_codebooks;
                codes[q * n_frames..(q + 1) * n_frames].to_vec()
            };
            let sequences: Vec<Vec<u16>> = (0..cache.utterances().len()).map(row).collect();
            let sequences: Vec<&[u16]> = sequences.iter().map(Vec::as_slice).collect();
            figures(q + 1, &sequences, spec.codebook_size)
        })
        .collect();
    let line = |c: &CodebookUse| {
        format!(
            "codebook {:>2}: used {:>5.1}% of {}, perplexity {:>6.1}, cross-entropy unigram {:.3}, bigram {:.3} nats",
            c.codebook,
            100.0 * c.utilization,
            spec.codebook_size,
            c.perplexity,
            c.unigram_ce,
            c.bigram_ce
        )
    };
    let words: Vec<String> = codebooks.iter().map(line).collect();
    out.result(&serde_json::json!({ "spec": spec, "codebooks": codebooks }), &words.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_source_costs_its_entropy_and_an_alternating_one_less_to_whoever_knows_the_code_before() {
        let even: Vec<u16> = (0..4000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 29) as u16).collect();
        let alternating: Vec<u16> = (0..4000).map(|i| i % 2).collect();
        let even: Vec<&[u16]> = even.chunks(100).collect();
        let alternating: Vec<&[u16]> = alternating.chunks(100).collect();
        let found = figures(1, &even, 8);
        assert!(
            (found.unigram_ce - 8.0_f64.ln()).abs() < 0.02 && (found.perplexity - 8.0).abs() < 0.1,
            "{found:?}"
        );
        assert!((found.utilization - 1.0).abs() < 1e-9 && found.codes == 4000);
        let found = figures(2, &alternating, 8);
        assert!(found.bigram_ce < 0.05 && (found.unigram_ce - 2.0_f64.ln()).abs() < 0.02, "{found:?}");
        assert!((found.utilization - 0.25).abs() < 1e-9);
    }
}
