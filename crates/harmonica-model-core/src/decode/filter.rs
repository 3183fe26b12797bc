//! Scores to a distribution to a draw.
//!
//! Invariant: greedy is temperature 0, exactly; a class that is filtered out has probability 0, exactly.

use harmonica_config_schema::{CodebookIndex, NarDecodeConfig, RandomStream};

/// Shapes scores into a distribution: temperature, top-k, top-p.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogitFilter {
    /// Softmax temperature; 0 keeps the likeliest alone.
    pub temperature: f64,
    /// Keep this many; 0 keeps all.
    pub top_k: usize,
    /// Keep the smallest set with this total probability.
    pub top_p: f64,
}

impl LogitFilter {
    /// Nothing filtered, temperature 1.
    pub const PLAIN: Self = Self { temperature: 1.0, top_k: 0, top_p: 1.0 };

    /// The filter that a configuration means for one of the codebooks 2..Q. A codebook that it does not name is not filtered.
    pub fn of_codebook(config: &NarDecodeConfig, codebook: CodebookIndex) -> Self {
        Self {
            temperature: config.temperature.at(codebook).unwrap_or(1.0),
            top_k: config.top_k.at(codebook).unwrap_or(0.0) as usize,
            top_p: config.top_p.at(codebook).unwrap_or(1.0),
        }
    }

    /// Probability of every class; classes filtered out have exactly 0. Ties break towards the lower id.
    pub fn distribution(&self, scores: &[f32]) -> Vec<f64> {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
        let mut probabilities = vec![0.0; scores.len()];
        let Some(&best) = order.first() else { return probabilities };
        if self.temperature <= 0.0 {
            probabilities[best] = 1.0;
            return probabilities;
        }
        if self.top_k > 0 {
            order.truncate(self.top_k);
        }
        let weight = |i: usize| (f64::from(scores[i] - scores[best]) / self.temperature).exp();
        let total: f64 = order.iter().map(|i| weight(*i)).sum();
        if self.top_p < 1.0 {
            let mut mass = 0.0;
            let kept = order.iter().take_while(|i| {
                let before = mass;
                mass += weight(**i) / total;
                before < self.top_p
            });
            let kept = kept.count().max(1);
            order.truncate(kept);
        }
        let total: f64 = order.iter().map(|i| weight(*i)).sum();
        for i in order {
            probabilities[i] = weight(i) / total;
        }
        probabilities
    }
}

/// Logarithm of the sum of the exponentials.
pub(crate) fn log_sum_exp(scores: &[f32]) -> f64 {
    let best = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = scores.iter().map(|s| f64::from(s - best).exp()).sum();
    f64::from(best) + total.ln()
}

/// Makes `recent` classes less likely: their log-probabilities are multiplied by `penalty`. Log-probabilities are never above 0,
/// so that the sign of a score, which means nothing, plays no part (unlike in CTRL, Keskar et al. 2019).
pub(crate) fn penalise(scores: &mut [f32], recent: &[i32], penalty: f64) {
    if penalty <= 1.0 || recent.is_empty() {
        return;
    }
    let log_total = log_sum_exp(scores);
    let mut seen = recent.to_vec();
    seen.sort_unstable();
    seen.dedup();
    for code in seen {
        let score = &mut scores[code as usize];
        *score = (log_total + (f64::from(*score) - log_total) * penalty) as f32;
    }
}

/// A class, drawn.
pub(crate) fn draw(distribution: &[f64], stream: &mut RandomStream) -> usize {
    let mut left = stream.uniform();
    let mut last = 0;
    for (i, p) in distribution.iter().enumerate().filter(|(_, p)| **p > 0.0) {
        last = i;
        left -= p;
        if left <= 0.0 {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use harmonica_config_schema::PerCodebook;

    #[test]
    fn filters_keep_what_they_say() {
        let scores = [1.0, 3.0, 2.0, 3.0];
        let greedy = LogitFilter { temperature: 0.0, ..LogitFilter::PLAIN }.distribution(&scores);
        assert_eq!(greedy, [0.0, 1.0, 0.0, 0.0]);
        let top_2 = LogitFilter { top_k: 2, ..LogitFilter::PLAIN }.distribution(&scores);
        assert_eq!(top_2, [0.0, 0.5, 0.0, 0.5]);
        let nucleus = LogitFilter { top_p: 0.6, ..LogitFilter::PLAIN }.distribution(&scores);
        assert_eq!(nucleus, [0.0, 0.5, 0.0, 0.5]);
        let plain = LogitFilter::PLAIN.distribution(&scores);
        assert!((plain.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((plain[1] / plain[2] - 1.0_f64.exp()).abs() < 1e-9);
    }

    #[test]
    fn the_penalty_lowers_every_recent_class_whatever_the_sign_of_its_score() {
        for shift in [-50.0, 0.0, 50.0] {
            let mut scores: Vec<f32> = [1.0, -2.0, 0.5, -0.1].map(|s| s + shift).to_vec();
            let before = LogitFilter::PLAIN.distribution(&scores);
            penalise(&mut scores, &[0, 1, 0], 1.5);
            let after = LogitFilter::PLAIN.distribution(&scores);
            assert!(after[0] < before[0] && after[1] < before[1], "{shift}: {before:?} {after:?}");
            assert!(after[2] > before[2] && after[3] > before[3], "{shift}");
            // p^1.5 for the recent ones, renormalised.
            let weights = [before[0].powf(1.5), before[1].powf(1.5), before[2], before[3]];
            let total: f64 = weights.iter().sum();
            for (a, w) in after.iter().zip(weights) {
                assert!((a - w / total).abs() < 1e-5, "{shift}: {a} {}", w / total);
            }
        }
    }

    #[test]
    fn a_setting_reaches_its_codebook_alone() {
        let values = |text: &str| PerCodebook::parse(text).unwrap();
        let config = NarDecodeConfig {
            temperature: values("2=0.5,3..=0"),
            top_k: values("3=7"),
            top_p: values("2..=3=0.9"),
            ..NarDecodeConfig::default()
        };
        let at = |n: usize| LogitFilter::of_codebook(&config, CodebookIndex::from_zero_based(n - 1));
        assert_eq!(at(2), LogitFilter { temperature: 0.5, top_k: 0, top_p: 0.9 });
        assert_eq!(at(3), LogitFilter { temperature: 0.0, top_k: 7, top_p: 0.9 });
        assert_eq!(at(4), LogitFilter { temperature: 0.0, top_k: 0, top_p: 1.0 });
    }

    #[test]
    fn sampled_frequencies_match_the_distribution_of_every_control() {
        let scores: Vec<f32> = (0..8).map(|i| (i as f32 * 1.7).sin() * 2.0).collect();
        let mut penalised = scores.clone();
        penalise(&mut penalised, &[1, 5], 2.0);
        let of = |temperature, top_k, top_p| LogitFilter { temperature, top_k, top_p };
        for (scores, filter) in [
            (&scores, of(0.7, 6, 0.95)),
            (&scores, of(0.4, 0, 1.0)),
            (&scores, of(1.3, 3, 1.0)),
            (&scores, of(1.0, 0, 0.6)),
            (&scores, of(0.0, 0, 1.0)),
            (&penalised, LogitFilter::PLAIN),
        ] {
            let expected = filter.distribution(scores);
            let n = 20_000;
            let mut counts = [0.0; 8];
            for i in 0..n {
                counts[draw(&expected, &mut RandomStream::new(3, "chi", &[i]))] += 1.0;
            }
            let squares = expected.iter().zip(&counts).filter(|(p, _)| **p > 0.0);
            let chi_square: f64 = squares.map(|(p, c)| (c - p * n as f64).powi(2) / (p * n as f64)).sum();
            // The 99.9th percentile for 7 degrees of freedom is 24.3.
            assert!(chi_square < 24.3, "{filter:?}: {chi_square}");
            assert!(expected.iter().zip(&counts).all(|(p, c)| *p > 0.0 || *c == 0.0));
        }
    }
}
