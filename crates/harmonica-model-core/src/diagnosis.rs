//! Whether a model is healthy, undertrained or collapsed, codebook by codebook.
//!
//! Measured on sampled predictions and on the mean predicted distribution, always as a ratio to the targets of the same
//! window, never on the argmax against the whole vocabulary: a healthy young model has few distinct argmaxes.
//! Invariant: a constant and a uniform model both fail, whatever the window.

use crate::decode::LogitFilter;
use harmonica_config_schema::record::{CodebookMetrics, VerdictRecord};
use harmonica_config_schema::{CodebookIndex, RandomStream};
use std::collections::BTreeSet;

/// Effective codes below this share of the targets' count as collapse.
const COLLAPSED_EFFECTIVE_RATIO: f64 = 0.5;
/// Sampled utilization below this share of the targets' counts as collapse.
const COLLAPSED_UTILIZATION_RATIO: f64 = 0.4;
/// Effective codes above this multiple of the targets' count as guessing over everything.
const SPREAD_EFFECTIVE_RATIO: f64 = 3.0;
/// Nats from the prediction marginal to the targets' above which a model speaks other codes than the corpus does; what
/// the size of the window explains comes on top.
const STRAYED_KL_NATS: f64 = 1.5;
/// Nats that cross-entropy must lie under the targets' entropy before a model counts as trained.
const TRAINED_GAIN_NATS: f64 = 0.5;

/// Outcome of a diagnosis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Uses its codes as the targets do and predicts them better than their frequencies.
    Healthy,
    /// Not collapsed, but no better than guessing by frequency yet.
    Undertrained,
    /// Predicts far fewer codes than the targets hold.
    Collapsed,
}

impl Verdict {
    /// Name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Undertrained => "undertrained",
            Self::Collapsed => "collapsed",
        }
    }
}

/// Collects one codebook's predictions over a window of held-out tokens.
#[derive(Debug, Clone)]
pub struct CodebookHealth {
    codebook: CodebookIndex,
    n_tokens: usize,
    cross_entropy: f64,
    correct: usize,
    mean_prediction: Vec<f64>,
    target_counts: Vec<usize>,
    sampled: BTreeSet<usize>,
}

impl CodebookHealth {
    /// An empty window over `n_classes` classes.
    pub fn new(codebook: CodebookIndex, n_classes: usize) -> Self {
        Self {
            codebook,
            n_tokens: 0,
            cross_entropy: 0.0,
            correct: 0,
            mean_prediction: vec![0.0; n_classes],
            target_counts: vec![0; n_classes],
            sampled: BTreeSet::new(),
        }
    }

    /// Adds predictions: `logits` `[N, V]` row by row, and their targets. Samples are a function of the token's number.
    pub fn observe(&mut self, logits: &[f32], targets: &[usize]) {
        let n_classes = self.mean_prediction.len();
        for (row, &target) in logits.chunks_exact(n_classes).zip(targets) {
            let highest = row.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
            let weights: Vec<f64> = row.iter().map(|v| f64::from(v - highest).exp()).collect();
            let total: f64 = weights.iter().sum();
            self.cross_entropy += total.ln() - f64::from(row[target] - highest);
            let mut left = RandomStream::new(0, "health sample", &[self.n_tokens as u64]).uniform() * total;
            let mut drawn = n_classes - 1;
            let mut best = 0;
            for (i, weight) in weights.iter().enumerate() {
                self.mean_prediction[i] += weight / total;
                if row[i] > row[best] {
                    best = i;
                }
                if left > 0.0 {
                    left -= weight;
                    drawn = i;
                }
            }
            self.sampled.insert(drawn);
            self.correct += usize::from(best == target);
            self.target_counts[target] += 1;
            self.n_tokens += 1;
        }
    }

    /// The window's figures.
    pub fn metrics(&self) -> CodebookMetrics {
        let n = self.n_tokens.max(1) as f64;
        let entropy =
            |p: &mut dyn Iterator<Item = f64>| -p.filter(|p| *p > 0.0).map(|p| p * p.ln()).sum::<f64>();
        let target = |i: usize| self.target_counts[i] as f64 / n;
        let predicted = |i: usize| self.mean_prediction[i] / n;
        let classes = 0..self.mean_prediction.len();
        let target_entropy = entropy(&mut classes.clone().map(target));
        let predicted_entropy = entropy(&mut classes.clone().map(predicted));
        let distinct_targets = self.target_counts.iter().filter(|c| **c > 0).count().max(1);
        // Half a count for every class: a code that this window happens to lack is rare, not impossible.
        let expected =
            |i: usize| (self.target_counts[i] as f64 + 0.5) / (n + 0.5 * self.target_counts.len() as f64);
        let marginal_kl = classes
            .filter(|i| predicted(*i) > 0.0)
            .map(|i| predicted(i) * (predicted(i) / expected(i)).ln())
            .sum();
        CodebookMetrics {
            codebook: self.codebook.zero_based() + 1,
            n_tokens: self.n_tokens,
            cross_entropy: self.cross_entropy / n,
            target_entropy,
            accuracy: self.correct as f64 / n,
            utilization_ratio: self.sampled.len() as f64 / distinct_targets as f64,
            effective_codes_ratio: (predicted_entropy - target_entropy).exp(),
            marginal_kl,
        }
    }
}

/// Judges the figures of one codebook.
pub fn judge(metrics: &CodebookMetrics) -> (Verdict, String) {
    let gain = metrics.target_entropy - metrics.cross_entropy;
    let strayed = STRAYED_KL_NATS + metrics.target_entropy.exp() / (2 * metrics.n_tokens.max(1)) as f64;
    let name = format!("codebook {}", metrics.codebook);
    if !gain.is_finite() {
        return (Verdict::Undertrained, format!("{name}: its cross-entropy is not a number"));
    }
    if metrics.effective_codes_ratio < COLLAPSED_EFFECTIVE_RATIO
        || metrics.utilization_ratio < COLLAPSED_UTILIZATION_RATIO
    {
        let reason = format!(
            "{name}: effective codes {:.2} and sampled codes {:.2} of the targets'",
            metrics.effective_codes_ratio, metrics.utilization_ratio
        );
        return (Verdict::Collapsed, reason);
    }
    if metrics.marginal_kl > strayed {
        let reason = format!(
            "{name}: its predictions lie {:.2} nats from the targets' frequencies, {strayed:.2} are allowed",
            metrics.marginal_kl
        );
        return (Verdict::Collapsed, reason);
    }
    if metrics.effective_codes_ratio > SPREAD_EFFECTIVE_RATIO {
        let reason = format!(
            "{name}: it spreads over {:.1} times the targets' effective codes",
            metrics.effective_codes_ratio
        );
        return (Verdict::Undertrained, reason);
    }
    if gain < TRAINED_GAIN_NATS {
        let reason = format!(
            "{name}: cross-entropy {:.2} is {gain:.2} nats under the targets' entropy {:.2}, {TRAINED_GAIN_NATS} are needed",
            metrics.cross_entropy, metrics.target_entropy
        );
        return (Verdict::Undertrained, reason);
    }
    let reason = format!(
        "{name}: cross-entropy {gain:.2} nats under the targets' entropy, effective codes {:.2} of the targets'",
        metrics.effective_codes_ratio
    );
    (Verdict::Healthy, reason)
}

/// Judges a model by all its codebooks: the worst one decides.
pub fn verdict(codebooks: &[CodebookMetrics]) -> VerdictRecord {
    let judged: Vec<(Verdict, String)> = codebooks.iter().map(judge).collect();
    let worst = [Verdict::Collapsed, Verdict::Undertrained]
        .into_iter()
        .find(|v| judged.iter().any(|(j, _)| j == v))
        .unwrap_or(Verdict::Healthy);
    let reasons = judged.into_iter().filter(|(j, _)| *j == worst).map(|(_, reason)| reason).collect();
    VerdictRecord { verdict: worst.name().into(), reasons }
}

/// Likeliest class of each row, for the record of the predecessor's rule.
pub fn argmax(logits: &[f32], n_classes: usize) -> Vec<usize> {
    let greedy = LogitFilter { temperature: 0.0, ..LogitFilter::PLAIN };
    logits
        .chunks_exact(n_classes)
        .map(|row| greedy.distribution(row).iter().position(|p| *p > 0.0).unwrap_or(0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSES: usize = 256;

    /// Targets of a Zipf-like marginal and logits that favour them by `strength`.
    fn window(
        n: usize,
        seed: u64,
        logits: impl Fn(&mut RandomStream, usize, usize) -> f32,
    ) -> CodebookMetrics {
        let weights: Vec<f64> = (0..CLASSES).map(|i| 1.0 / (i as f64 + 3.0)).collect();
        let total: f64 = weights.iter().sum();
        let mut health = CodebookHealth::new(CodebookIndex::FIRST, CLASSES);
        for t in 0..n {
            let mut stream = RandomStream::new(seed, "window", &[t as u64]);
            let mut left = stream.uniform() * total;
            let target = (0..CLASSES).find(|i| {
                left -= weights[*i];
                left <= 0.0
            });
            let target = target.unwrap_or(0);
            let row: Vec<f32> = (0..CLASSES).map(|i| logits(&mut stream, i, target)).collect();
            health.observe(&row, &[target]);
        }
        health.metrics()
    }

    #[test]
    fn planted_models_get_their_verdict_in_every_window() {
        let prior = |i: usize| -((i as f32 + 3.0).ln());
        for seed in 1..=3 {
            for n in [256, 1024, 4096] {
                let verdict = |m: CodebookMetrics| super::judge(&m).0;
                let trained = window(n, seed, |s, i, t| {
                    prior(i) + if i == t { 4.0 } else { 0.0 } + s.normal() as f32 * 0.3
                });
                assert_eq!(verdict(trained), Verdict::Healthy, "trained {n}");
                let by_frequency = window(n, seed, |_, i, _| prior(i));
                assert_eq!(verdict(by_frequency), Verdict::Undertrained, "by frequency {n}");
                let uniform = window(n, seed, |_, _, _| 0.0);
                assert_eq!(verdict(uniform), Verdict::Undertrained, "uniform {n}");
                let constant = window(n, seed, |_, i, _| if i == 7 { 12.0 } else { 0.0 });
                assert_eq!(verdict(constant), Verdict::Collapsed, "constant {n}");
                let two = window(n, seed, |_, i, t| if i == 7 + t % 2 { 12.0 } else { 0.0 });
                assert_eq!(verdict(two), Verdict::Collapsed, "two codes {n}");
            }
        }
    }
}
