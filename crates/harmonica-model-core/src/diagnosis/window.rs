//! What one codebook's predictions look like over a window of tokens.
//!
//! In: logits and targets, a token at a time. Out: [`CodebookMetrics`]. Samples are a function of the token's number, so the
//! same window gives the same figures. Invariant: memory does not grow with the window.

use crate::decode::{LogitFilter, draw};
use harmonica_config_schema::record::{CodebookMetrics, FreeRunningMetrics};
use harmonica_config_schema::{CodebookIndex, RandomStream};
use std::collections::BTreeSet;

/// Tokens of the batches that the predecessor's alarm looked at: five seconds at 75 frames a second, one utterance a batch.
const PREDECESSOR_TOKENS: usize = 375;

/// Collects one codebook's predictions over a window of held-out tokens.
#[derive(Debug, Clone)]
pub struct CodebookHealth {
    codebook: CodebookIndex,
    n_tokens: usize,
    cross_entropy: f64,
    correct: usize,
    correct_of_ten: usize,
    mean_prediction: Vec<f64>,
    target_counts: Vec<usize>,
    sampled_counts: Vec<usize>,
    likeliest: BTreeSet<usize>,
}

impl CodebookHealth {
    /// An empty window over `n_classes` classes.
    pub fn new(codebook: CodebookIndex, n_classes: usize) -> Self {
        Self {
            codebook,
            n_tokens: 0,
            cross_entropy: 0.0,
            correct: 0,
            correct_of_ten: 0,
            mean_prediction: vec![0.0; n_classes],
            target_counts: vec![0; n_classes],
            sampled_counts: vec![0; n_classes],
            likeliest: BTreeSet::new(),
        }
    }

    /// Adds predictions: `logits` `[N, V]` row by row, and their targets. Returns the cost of each token, in nats.
    pub fn observe(&mut self, logits: &[f32], targets: &[usize]) -> Vec<f64> {
        let n_classes = self.mean_prediction.len();
        let mut weights = vec![0.0; n_classes];
        let mut costs = Vec::with_capacity(targets.len());
        for (row, &target) in logits.chunks_exact(n_classes).zip(targets) {
            let highest = row.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
            weights.iter_mut().zip(row).for_each(|(w, v)| *w = f64::from(v - highest).exp());
            let total: f64 = weights.iter().sum();
            let cost = total.ln() - f64::from(row[target] - highest);
            costs.push(cost);
            self.cross_entropy += cost;
            let mut left = RandomStream::new(0, "health sample", &[self.n_tokens as u64]).uniform() * total;
            let mut drawn = n_classes - 1;
            let (mut best, mut n_above) = (0, 0);
            for (i, weight) in weights.iter().enumerate() {
                self.mean_prediction[i] += weight / total;
                if row[i] > row[best] {
                    best = i;
                }
                n_above += usize::from(row[i] > row[target]);
                if left > 0.0 {
                    left -= weight;
                    drawn = i;
                }
            }
            self.sampled_counts[drawn] += 1;
            if self.n_tokens < PREDECESSOR_TOKENS {
                self.likeliest.insert(best);
            }
            self.correct += usize::from(best == target);
            self.correct_of_ten += usize::from(n_above < 10);
            self.target_counts[target] += 1;
            self.n_tokens += 1;
        }
        costs
    }

    /// The window's figures.
    pub fn metrics(&self) -> CodebookMetrics {
        let n = self.n_tokens.max(1) as f64;
        let n_classes = self.mean_prediction.len();
        let target_entropy = entropy(&self.target_counts);
        let predicted = || self.mean_prediction.iter().map(|p| p / n).filter(|p| *p > 0.0);
        let predicted_entropy = -predicted().map(|p| p * p.ln()).sum::<f64>();
        let targets = distinct(&self.target_counts);
        let sampled = distinct(&self.sampled_counts);
        let marginal: Vec<f64> = self.mean_prediction.iter().map(|p| p / n).collect();
        let met = self.sampled_counts.iter().zip(&self.target_counts).filter(|(_, t)| **t > 0);
        let seen_once = self.target_counts.iter().filter(|c| **c == 1).count();
        let could_be = n_classes.min(self.n_tokens).clamp(1, PREDECESSOR_TOKENS);
        CodebookMetrics {
            codebook: self.codebook.zero_based() + 1,
            n_tokens: self.n_tokens,
            cross_entropy: self.cross_entropy / n,
            target_entropy,
            accuracy: self.correct as f64 / n,
            utilization_ratio: sampled as f64 / targets.max(1) as f64,
            effective_codes_ratio: (predicted_entropy - target_entropy).exp(),
            marginal_kl: divergence(&marginal, &self.target_counts),
            n_classes,
            target_entropy_unbiased: unbiased_entropy(&self.target_counts),
            top10_accuracy: self.correct_of_ten as f64 / n,
            sampled_codes: sampled,
            target_codes: targets,
            sampled_effective_ratio: (entropy(&self.sampled_counts) - target_entropy).exp(),
            overlap: met.map(|(s, _)| *s).sum::<usize>() as f64 / n,
            target_coverage: 1.0 - seen_once as f64 / n,
            unigram_floor: None,
            bigram_floor: None,
            argmax_utilization: self.likeliest.len() as f64 / could_be as f64,
        }
    }
}

/// Cost of each token in nats: `logits` `[N, V]` row by row.
pub fn token_costs(logits: &[f32], targets: &[usize]) -> Vec<f64> {
    let rows = logits.chunks_exact(logits.len() / targets.len().max(1));
    let cost = |(row, target): (&[f32], &usize)| {
        let highest = row.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
        let total: f64 = row.iter().map(|v| f64::from(v - highest).exp()).sum();
        total.ln() - f64::from(row[*target] - highest)
    };
    rows.zip(targets).map(cost).collect()
}

/// A code drawn by its scores as they are, without any filter.
pub fn draw_plainly(scores: &[f32], stream: &mut RandomStream) -> usize {
    draw(&LogitFilter::PLAIN.distribution(scores), stream)
}

/// Figures of codes that a model wrote by itself, held against the targets of the same utterances.
pub fn free_running(
    codebook: CodebookIndex,
    n_classes: usize,
    written: &[usize],
    targets: &[usize],
) -> FreeRunningMetrics {
    let count = |codes: &[usize]| {
        let mut counts = vec![0; n_classes];
        codes.iter().for_each(|code| counts[*code] += 1);
        counts
    };
    let (written_counts, target_counts) = (count(written), count(targets));
    let marginal: Vec<f64> = written_counts.iter().map(|c| *c as f64 / written.len().max(1) as f64).collect();
    FreeRunningMetrics {
        codebook: codebook.zero_based() + 1,
        n_tokens: written.len(),
        n_target_tokens: targets.len(),
        utilization_ratio: distinct(&written_counts) as f64 / distinct(&target_counts).max(1) as f64,
        effective_codes_ratio: (entropy(&written_counts) - entropy(&target_counts)).exp(),
        marginal_kl: divergence(&marginal, &target_counts),
    }
}

fn distinct(counts: &[usize]) -> usize {
    counts.iter().filter(|c| **c > 0).count()
}

/// Entropy of relative frequencies, in nats.
fn entropy(counts: &[usize]) -> f64 {
    let n = counts.iter().sum::<usize>().max(1) as f64;
    -counts.iter().filter(|c| **c > 0).map(|c| *c as f64 / n).map(|p| p * p.ln()).sum::<f64>()
}

/// The entropy that frequencies of few tokens understate, estimated by their coverage (Chao and Shen 2003), in nats.
fn unbiased_entropy(counts: &[usize]) -> f64 {
    let n = counts.iter().sum::<usize>().max(1) as f64;
    let once = counts.iter().filter(|c| **c == 1).count() as f64;
    let coverage = 1.0 - once.min(n - 1.0) / n;
    let term = |count: &usize| {
        let p = coverage * *count as f64 / n;
        -p * p.ln() / (1.0 - (1.0 - p).powf(n))
    };
    counts.iter().filter(|c| **c > 0).map(term).sum()
}

/// KL(prediction || targets) in nats. Half a count for every class: a code that a window happens to lack is rare, not
/// impossible.
fn divergence(predicted: &[f64], target_counts: &[usize]) -> f64 {
    let n = target_counts.iter().sum::<usize>() as f64 + 0.5 * target_counts.len() as f64;
    let expected = |count: &usize| (*count as f64 + 0.5) / n;
    let terms = predicted.iter().zip(target_counts).filter(|(p, _)| **p > 0.0);
    terms.map(|(p, count)| p * (p / expected(count)).ln()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_tokens_understate_entropy_and_the_estimate_mends_a_part_of_it() {
        let weights: Vec<f64> = (0..1024).map(|i| 1.0 / (i as f64 + 3.0)).collect();
        let total: f64 = weights.iter().sum();
        let truth = -weights.iter().map(|w| w / total).map(|p| p * p.ln()).sum::<f64>();
        let mut stream = RandomStream::new(5, "entropy", &[]);
        let mut counts = vec![0; 1024];
        for _ in 0..256 {
            let mut left = stream.uniform() * total;
            let code = weights.iter().position(|w| {
                left -= w;
                left <= 0.0
            });
            counts[code.unwrap_or(0)] += 1;
        }
        let (plain, mended) = (entropy(&counts), unbiased_entropy(&counts));
        assert!(truth - plain > 0.8, "{truth} {plain}");
        assert!((truth - mended).abs() < 0.7 * (truth - plain), "{truth} {plain} {mended}");
    }

    #[test]
    fn top_ten_counts_ties_in_favour_of_the_target() {
        let mut health = CodebookHealth::new(CodebookIndex::FIRST, 12);
        let rising: Vec<f32> = (0..12).map(|i| i as f32).collect();
        health.observe(&rising, &[2]);
        health.observe(&rising, &[1]);
        health.observe(&[0.0; 12], &[11]);
        let metrics = health.metrics();
        assert!((metrics.top10_accuracy - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(metrics.accuracy, 0.0);
    }

    #[test]
    fn free_running_codes_equal_to_the_targets_are_healthy() {
        let codes: Vec<usize> = (0..300).map(|i| i * i % 37).collect();
        let same = free_running(CodebookIndex::FIRST, 64, &codes, &codes);
        assert_eq!((same.utilization_ratio, same.effective_codes_ratio), (1.0, 1.0));
        let stuck = free_running(CodebookIndex::FIRST, 64, &[7; 300], &codes);
        assert!(stuck.effective_codes_ratio < 0.1 && stuck.marginal_kl > 1.0);
    }
}
