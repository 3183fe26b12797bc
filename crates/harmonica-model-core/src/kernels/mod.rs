//! Fused operations of the transformer: one pass over memory each, with hand-written backward passes on the CPU backend.
//!
//! In and out: burn tensors on any device. On the CPU backend in f32 the kernels of `cpu` run; anywhere else the same
//! mathematics is composed of burn's own operations, which the tests hold against each other.
//! Invariant: rows of a batch never mix, so an item's values do not depend on its batch mates.

mod composed;
#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "flex")]
mod flex;
#[cfg(all(feature = "flex", feature = "autodiff"))]
mod grad;
#[cfg(feature = "flex")]
use burn::tensor::{Int, Tensor};
use std::sync::Arc;

/// Which keys each query may see: a prefix that everyone sees (text) and a rest (audio), causal or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttentionMask {
    /// Keys before this position form the prefix.
    pub n_prefix: usize,
    /// Real prefix keys of each item; the others are padding.
    pub prefix_lengths: Vec<usize>,
    /// Real keys after the prefix of each item.
    pub rest_lengths: Vec<usize>,
    /// Whether a query after the prefix sees only itself and what is before it, and a prefix query the prefix alone.
    pub causal: bool,
}

impl AttentionMask {
    /// Keys `0..length` of each item for every query.
    pub fn padded(n_keys: usize, lengths: Vec<usize>) -> Self {
        let rest_lengths = vec![0; lengths.len()];
        Self { n_prefix: n_keys, prefix_lengths: lengths, rest_lengths, causal: false }
    }

    /// Visible keys of query `i` of item `b`: `0..first` and `n_prefix..second`.
    pub fn visible(&self, b: usize, i: usize) -> (usize, usize) {
        let rest = match (self.causal, i < self.n_prefix) {
            (true, true) => 0,
            (true, false) => i - self.n_prefix + 1,
            (false, _) => self.rest_lengths[b],
        };
        (self.prefix_lengths[b], self.n_prefix + rest)
    }
}

/// Angles of rotary positions (Su et al. 2021), one row a position.
#[derive(Debug, Clone)]
pub struct RotaryTable {
    pub(crate) n_heads: usize,
    /// Cosines and sines, each `[T, head_width / 2]`.
    pub(crate) cos: Arc<Vec<f32>>,
    pub(crate) sin: Arc<Vec<f32>>,
}

impl RotaryTable {
    /// Angles of the given positions for heads of `head_width` (even).
    pub fn new(positions: impl IntoIterator<Item = usize>, n_heads: usize, head_width: usize) -> Self {
        let half = head_width / 2;
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for position in positions {
            for pair in 0..half {
                let angle = position as f64 / 10_000_f64.powf(pair as f64 / half as f64);
                cos.push(angle.cos() as f32);
                sin.push(angle.sin() as f32);
            }
        }
        Self { n_heads, cos: Arc::new(cos), sin: Arc::new(sin) }
    }
}

/// Dropout of one place in one micro-step: a pure function of its key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropoutKey {
    /// Share of units dropped.
    pub rate: f64,
    /// Key of the draws.
    pub key: u64,
}

/// Layer normalization over the last axis (Ba et al. 2016).
///
/// # Shapes
/// - `x`: `[.., D]`
/// - `gamma`, `beta`: `[D]`
/// - returns `[.., D]`
pub fn layer_norm<const N: usize>(x: Tensor<N>, gamma: Tensor<1>, beta: Tensor<1>) -> Tensor<N> {
    #[cfg(feature = "flex")]
    if flex::applies(&x) {
        return flex::layer_norm(x, gamma, beta);
    }
    composed::layer_norm(x, gamma, beta)
}

/// Gaussian error linear unit in its tanh form (Hendrycks & Gimpel 2016).
///
/// # Shapes
/// - `x`, and the result: any
pub fn gelu<const N: usize>(x: Tensor<N>) -> Tensor<N> {
    #[cfg(feature = "flex")]
    if flex::applies(&x) {
        return flex::gelu(x);
    }
    composed::gelu(x)
}

/// Turns each head's halves by the angles of their positions.
///
/// # Shapes
/// - `x`: `[B, T, D]` with heads side by side in `D`; `table` has `T` rows
/// - returns `[B, T, D]`
pub fn rotary(x: Tensor<3>, table: &RotaryTable) -> Tensor<3> {
    #[cfg(feature = "flex")]
    if flex::applies(&x) {
        return flex::rotary(x, table.clone());
    }
    composed::rotary(x, table)
}

/// Scaled dot-product attention of several heads (Vaswani et al. 2017).
///
/// # Shapes
/// - `q`: `[B, Tq, D]`; `k`, `v`: `[B, Tk, D]`, heads side by side in `D`
/// - returns `[B, Tq, D]`
pub fn attention(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    n_heads: usize,
    mask: &Arc<AttentionMask>,
) -> Tensor<3> {
    #[cfg(feature = "flex")]
    if flex::applies(&q) {
        return flex::attention(q, k, v, n_heads, mask.clone());
    }
    composed::attention(q, k, v, n_heads, mask)
}

/// What each head looks at; composed of plain operations.
///
/// # Shapes
/// - `q`: `[B, Tq, D]`; `k`: `[B, Tk, D]`
/// - returns `[B, H, Tq, Tk]`
pub fn attention_weights(q: Tensor<3>, k: Tensor<3>, n_heads: usize, mask: &Arc<AttentionMask>) -> Tensor<4> {
    composed::attention_weights(q, k, n_heads, mask)
}

/// `x` plus `y` with a share of its units dropped and the others scaled up.
///
/// # Shapes
/// - `x`, `y`, and the result: the same
pub fn add_dropped<const N: usize>(x: Tensor<N>, y: Tensor<N>, dropout: Option<DropoutKey>) -> Tensor<N> {
    let Some(dropout) = dropout.filter(|d| d.rate > 0.0) else {
        return x + y;
    };
    #[cfg(feature = "flex")]
    if flex::applies(&x) {
        return flex::add_dropped(x, y, dropout);
    }
    composed::add_dropped(x, y, dropout)
}

/// Cross-entropy of each row, in nats, against targets smoothed by `smoothing` (Szegedy et al. 2016).
///
/// # Shapes
/// - `logits`: `[N, V]`; `targets`: `[N]`, each below `V`
/// - returns `[N]`
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>, smoothing: f64) -> Tensor<1> {
    #[cfg(feature = "flex")]
    if flex::applies(&logits) {
        return flex::cross_entropy(logits, targets, smoothing);
    }
    composed::cross_entropy(logits, targets, smoothing)
}

#[cfg(test)]
#[cfg(all(feature = "flex", feature = "autodiff"))]
mod tests;
