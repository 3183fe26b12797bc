//! What the heads of a model look at, in figures: how wide each one looks, and how different they are from each other.
//!
//! In: queries and keys of each attention of a forward pass. Out: entropies in nats, summed over frames, and an accumulator
//! over batches. Invariant: only real frames ask; padding and symbols of the text never do.

use crate::kernels::{AttentionMask, attention_weights};
use burn::tensor::{Tensor, TensorData};
use harmonica_config_schema::record::{AttentionMetrics, AttentionOf};
use std::cell::RefCell;
use std::sync::Arc;

/// One attention of a model over a batch; entropies are sums over the frames that asked, in nats.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadFigures {
    /// Layer, counted from 1.
    pub layer: usize,
    /// What is looked at.
    pub reads: AttentionOf,
    /// Frames that asked.
    pub n_queries: usize,
    /// Entropy of each head.
    pub entropies: Vec<f64>,
    /// Entropy of what all heads together look at.
    pub together: f64,
    /// Entropy of looking at every key alike.
    pub uniform: f64,
}

struct Seen {
    /// `[H + 1]`: each head, and all together.
    entropies: Tensor<1>,
    figures: HeadFigures,
}

/// Watches the attentions of one forward pass.
#[derive(Default)]
pub(crate) struct HeadWatch {
    seen: RefCell<Vec<Seen>>,
}

/// Entropies `[B, N, Tq]` of weights `[B, N, Tq, Tk]`.
fn entropies(weights: Tensor<4>) -> Tensor<3> {
    let logarithms = (weights.clone() + 1e-30).log();
    -(weights * logarithms).sum_dim(3).squeeze_dim::<3>(3)
}

impl HeadWatch {
    /// Takes in one attention: queries `[B, Tq, D]` of the positions that `asks` tells of, keys `[B, Tk, D]`. A layer's
    /// attention to itself comes first.
    pub(crate) fn observe(
        &self,
        reads: AttentionOf,
        (queries, asks): (Tensor<3>, &AttentionMask),
        (keys, sees): (Tensor<3>, &Arc<AttentionMask>),
        n_heads: usize,
    ) {
        let [n_items, n_positions, _] = queries.dims();
        let (mut uniform, mut real) = (0.0, vec![0.0_f32; n_items * n_positions]);
        for b in 0..n_items {
            for i in asks.n_prefix..asks.n_prefix + asks.rest_lengths[b] {
                real[b * n_positions + i] = 1.0;
                let (first, second) = sees.visible(b, i);
                uniform += ((first + second - sees.n_prefix) as f64).ln();
            }
        }
        let n_queries = asks.rest_lengths.iter().sum();
        let real =
            Tensor::<3>::from_data(TensorData::new(real, [n_items, 1, n_positions]), &queries.device());
        let weights = attention_weights(queries, keys, n_heads, sees);
        let together = entropies(weights.clone().mean_dim(1));
        let each = Tensor::cat(vec![entropies(weights), together], 1) * real;
        let entropies = each.sum_dim(2).sum_dim(0).reshape([n_heads + 1]);
        let mut seen = self.seen.borrow_mut();
        let before = seen.iter().filter(|s| s.figures.reads == AttentionOf::Frames).count();
        let layer = before + usize::from(reads == AttentionOf::Frames);
        let figures = HeadFigures { layer, reads, n_queries, entropies: Vec::new(), together: 0.0, uniform };
        seen.push(Seen { entropies, figures });
    }

    /// What was seen, in one transfer from the device.
    pub(crate) fn figures(self) -> Vec<HeadFigures> {
        let seen = self.seen.into_inner();
        if seen.is_empty() {
            return Vec::new();
        }
        let all = Tensor::cat(seen.iter().map(|s| s.entropies.clone()).collect::<Vec<_>>(), 0);
        let mut values = all.into_data().iter::<f32>().map(f64::from).collect::<Vec<_>>().into_iter();
        seen.into_iter()
            .map(|s| {
                let n_heads = s.entropies.dims()[0] - 1;
                let entropies = values.by_ref().take(n_heads).collect();
                HeadFigures { entropies, together: values.next().unwrap_or_default(), ..s.figures }
            })
            .collect()
    }
}

/// Figures of every attention over batches.
#[derive(Debug, Default)]
pub struct AttentionHealth {
    attentions: Vec<HeadFigures>,
}

impl AttentionHealth {
    /// Takes in the figures of a batch.
    pub fn observe(&mut self, batch: Vec<HeadFigures>) {
        for one in batch {
            let known = self.attentions.iter_mut().find(|a| (a.layer, a.reads) == (one.layer, one.reads));
            let Some(sum) = known else {
                self.attentions.push(one);
                continue;
            };
            sum.entropies.iter_mut().zip(&one.entropies).for_each(|(sum, more)| *sum += more);
            sum.n_queries += one.n_queries;
            sum.together += one.together;
            sum.uniform += one.uniform;
        }
    }

    /// Means over the frames that asked.
    pub fn metrics(&self) -> Vec<AttentionMetrics> {
        let of = |a: &HeadFigures| {
            let n = a.n_queries.max(1) as f64;
            let head_entropies: Vec<f64> = a.entropies.iter().map(|sum| sum / n).collect();
            let mean = head_entropies.iter().sum::<f64>() / head_entropies.len().max(1) as f64;
            AttentionMetrics {
                layer: a.layer,
                reads: a.reads,
                n_queries: a.n_queries,
                head_entropies,
                uniform_entropy: a.uniform / n,
                // Rounding may leave a little less than nothing.
                diversity: (a.together / n - mean).max(0.0),
            }
        };
        self.attentions.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use harmonica_config_schema::RandomStream;

    const HEADS: usize = 3;
    const WIDTH: usize = 12;

    fn random(name: &str, n_items: usize, n: usize, scale: f64) -> (Vec<f64>, Tensor<3>) {
        let mut stream = RandomStream::new(5, name, &[]);
        let values: Vec<f64> = (0..n_items * n * WIDTH).map(|_| scale * stream.normal()).collect();
        let single: Vec<f32> = values.iter().map(|v| *v as f32).collect();
        (values, Tensor::from_data(TensorData::new(single, [n_items, n, WIDTH]), &Device::flex()))
    }

    fn entropy(weights: &[f64]) -> f64 {
        -weights.iter().filter(|w| **w > 0.0).map(|w| w * w.ln()).sum::<f64>()
    }

    /// Weights of one head and query over all keys, in double precision.
    fn weights(query: &[f64], keys: &[f64], head: usize, sees: impl Fn(usize) -> bool) -> Vec<f64> {
        let width = WIDTH / HEADS;
        let scores: Vec<f64> = keys
            .chunks_exact(WIDTH)
            .map(|key| {
                let range = head * width..(head + 1) * width;
                query[range.clone()].iter().zip(&key[range]).map(|(q, k)| q * k).sum::<f64>()
                    / (width as f64).sqrt()
            })
            .enumerate()
            .map(|(j, score)| if sees(j) { score.exp() } else { 0.0 })
            .collect();
        let sum: f64 = scores.iter().sum();
        scores.iter().map(|s| s / sum).collect()
    }

    #[test]
    fn entropies_and_diversity_are_those_of_double_precision() {
        // Two symbols of prefix (one of them padding for the second item), then frames, causal.
        let mask = Arc::new(AttentionMask {
            n_prefix: 2,
            prefix_lengths: vec![2, 1],
            rest_lengths: vec![5, 3],
            causal: true,
        });
        let (q, queries) = random("queries", 2, 7, 1.5);
        let (k, keys) = random("keys", 2, 7, 1.5);
        let watch = HeadWatch::default();
        watch.observe(AttentionOf::Frames, (queries, &mask), (keys, &mask), HEADS);
        let mut health = AttentionHealth::default();
        health.observe(watch.figures());
        let found = &health.metrics()[0];
        let (mut each, mut together, mut uniform) = ([0.0; HEADS], 0.0, 0.0);
        for (b, n_prefix, n_frames) in [(0, 2, 5), (1, 1, 3)] {
            for i in 0..n_frames {
                let at = (b * 7 + 2 + i) * WIDTH;
                let sees = |j: usize| if j < 2 { j < n_prefix } else { j - 2 <= i };
                let row =
                    |h: usize| weights(&q[at..at + WIDTH], &k[b * 7 * WIDTH..(b + 1) * 7 * WIDTH], h, sees);
                let rows: Vec<Vec<f64>> = (0..HEADS).map(row).collect();
                each.iter_mut().zip(&rows).for_each(|(sum, row)| *sum += entropy(row));
                let mean: Vec<f64> =
                    (0..7).map(|j| rows.iter().map(|r| r[j]).sum::<f64>() / HEADS as f64).collect();
                together += entropy(&mean);
                uniform += ((n_prefix + i + 1) as f64).ln();
            }
        }
        assert_eq!((found.layer, found.n_queries), (1, 8));
        for (found, wanted) in found.head_entropies.iter().zip(each) {
            assert!((found - wanted / 8.0).abs() < 1e-5, "{found} is not {}", wanted / 8.0);
        }
        assert!((found.uniform_entropy - uniform / 8.0).abs() < 1e-9);
        let diversity = (together - each.iter().sum::<f64>() / HEADS as f64) / 8.0;
        assert!((found.diversity - diversity).abs() < 1e-5, "{} is not {diversity}", found.diversity);
        assert!(diversity > 0.1);
    }

    #[test]
    fn heads_that_look_everywhere_are_uniform_and_all_alike() {
        let asks =
            AttentionMask { n_prefix: 0, prefix_lengths: vec![0; 2], rest_lengths: vec![4, 2], causal: true };
        let sees = Arc::new(AttentionMask::padded(6, vec![6, 3]));
        let watch = HeadWatch::default();
        let (_, keys) = random("keys", 2, 6, 1.0);
        let blind = Tensor::zeros([2, 4, WIDTH], &Device::flex());
        watch.observe(AttentionOf::Frames, (blind.clone(), &asks), (keys.clone(), &sees), HEADS);
        watch.observe(AttentionOf::Text, (blind, &asks), (keys, &sees), HEADS);
        let mut health = AttentionHealth::default();
        let figures = watch.figures();
        health.observe(figures.clone());
        health.observe(figures);
        let all = health.metrics();
        assert_eq!(
            all.iter().map(|a| (a.layer, a.reads.name())).collect::<Vec<_>>(),
            [(1, "frames"), (1, "text")]
        );
        for found in all {
            assert_eq!(found.n_queries, 12);
            assert!((found.relative_entropy() - 1.0).abs() < 1e-6, "{found:?}");
            assert!((found.uniform_entropy - (4.0 * 6_f64.ln() + 2.0 * 3_f64.ln()) / 6.0).abs() < 1e-12);
            assert!(found.diversity < 1e-6, "{found:?}");
        }
    }

    #[test]
    fn heads_that_look_at_different_keys_are_as_diverse_as_can_be() {
        // Each head's query points at another key, far.
        let mut values = vec![0.0_f32; 4 * WIDTH];
        (0..HEADS).for_each(|h| values[h * WIDTH + h * WIDTH / HEADS] = 100.0);
        let keys = Tensor::from_data(TensorData::new(values, [1, 4, WIDTH]), &Device::flex());
        let queries = Tensor::ones([1, 2, WIDTH], &Device::flex());
        let mask = Arc::new(AttentionMask {
            n_prefix: 0,
            prefix_lengths: vec![0],
            rest_lengths: vec![2],
            causal: false,
        });
        let asks = mask.clone();
        let sees = Arc::new(AttentionMask::padded(4, vec![4]));
        let watch = HeadWatch::default();
        watch.observe(AttentionOf::Text, (queries, &asks), (keys, &sees), HEADS);
        let mut health = AttentionHealth::default();
        health.observe(watch.figures());
        let found = &health.metrics()[0];
        assert!(found.mean_entropy() < 1e-6 && found.lowest_entropy() < 1e-6, "{found:?}");
        assert!((found.diversity - (HEADS as f64).ln()).abs() < 1e-6, "{found:?}");
    }
}
