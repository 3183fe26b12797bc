//! The fused operations on slices, vectorised by `pulp` for the processor at hand, parallel over rows with rayon.
//!
//! Invariant: every sum has one order, whatever the number of threads.

use super::{AttentionMask, DropoutKey};
use harmonica_numerics::{View, exp, multiply};
use pulp::Arch;
use rayon::prelude::*;

/// Elements below which one thread is quicker than several.
const PARALLEL_ELEMENTS: usize = 1 << 16;
/// Elements handled by one task.
const TASK_ELEMENTS: usize = 1 << 14;
const EPSILON: f32 = 1e-5;

#[inline(always)]
fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

const GELU_SCALE: f32 = 0.797_884_6;
const GELU_CUBE: f32 = 0.044_715;

#[inline(always)]
fn gelu_at(x: f32) -> f32 {
    0.5 * x * (1.0 + tanh(GELU_SCALE * (x + GELU_CUBE * x * x * x)))
}

#[inline(always)]
#[cfg(feature = "autodiff")]
fn gelu_slope(x: f32) -> f32 {
    let t = tanh(GELU_SCALE * (x + GELU_CUBE * x * x * x));
    0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * GELU_SCALE * (1.0 + 3.0 * GELU_CUBE * x * x)
}

/// Runs `task(index of the first row, rows)` over chunks of whole rows.
fn by_rows(out: &mut [f32], width: usize, task: impl Fn(usize, &mut [f32]) + Sync) {
    let rows = (TASK_ELEMENTS / width).max(1);
    if out.len() < PARALLEL_ELEMENTS {
        task(0, out);
    } else {
        out.par_chunks_mut(rows * width).enumerate().for_each(|(i, chunk)| task(i * rows, chunk));
    }
}

pub(crate) fn gelu(x: &[f32]) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    by_rows(&mut y, 1, |first, y| {
        let x = &x[first..first + y.len()];
        Arch::new().dispatch(
            #[inline(always)]
            || y.iter_mut().zip(x).for_each(|(y, x)| *y = gelu_at(*x)),
        );
    });
    y
}

/// Replaces the gradient of the output by that of the input.
#[cfg(feature = "autodiff")]
pub(crate) fn gelu_backward(x: &[f32], grad: &mut [f32]) {
    by_rows(grad, 1, |first, grad| {
        let x = &x[first..first + grad.len()];
        Arch::new().dispatch(
            #[inline(always)]
            || grad.iter_mut().zip(x).for_each(|(g, x)| *g *= gelu_slope(*x)),
        );
    });
}

/// Sum in 16 lanes: one order on every machine.
#[inline(always)]
fn sum(values: impl ExactSizeIterator<Item = f32>) -> f32 {
    let mut lanes = [0.0_f32; 16];
    for (i, value) in values.enumerate() {
        lanes[i % 16] += value;
    }
    lanes.iter().sum()
}

#[inline(always)]
fn row_sum(row: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 16];
    let (chunks, rest) = row.as_chunks::<16>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

#[inline(always)]
fn row_dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 16];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    for (a, b) in a.iter().zip(b) {
        for i in 0..16 {
            lanes[i] = a[i].mul_add(b[i], lanes[i]);
        }
    }
    lanes.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// Returns the normalized rows and each row's mean and inverse deviation.
pub(crate) fn layer_norm(x: &[f32], gamma: &[f32], beta: &[f32]) -> (Vec<f32>, Vec<[f32; 2]>) {
    let width = gamma.len();
    let mut y = vec![0.0; x.len()];
    let mut stats = vec![[0.0; 2]; x.len() / width];
    let rows = (TASK_ELEMENTS / width).max(1);
    let task = |(i, (y, stats)): (usize, (&mut [f32], &mut [[f32; 2]]))| {
        let x = &x[i * rows * width..][..y.len()];
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for ((y, x), stats) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(stats) {
                    let mean = row_sum(x) / width as f32;
                    let square = row_dot(x, x) / width as f32;
                    // The two-moment form cancels for large means; states here are centred near zero.
                    let deviation = (square - mean * mean).max(0.0);
                    let inverse = 1.0 / (deviation + EPSILON).sqrt();
                    for i in 0..width {
                        y[i] = (x[i] - mean) * inverse * gamma[i] + beta[i];
                    }
                    *stats = [mean, inverse];
                }
            },
        );
    };
    if x.len() < PARALLEL_ELEMENTS {
        y.chunks_mut(rows * width).zip(stats.chunks_mut(rows)).enumerate().for_each(task);
    } else {
        y.par_chunks_mut(rows * width).zip(stats.par_chunks_mut(rows)).enumerate().for_each(task);
    }
    (y, stats)
}

/// Replaces the gradient of the output by that of the input; returns the gradients of gamma and beta.
#[cfg(feature = "autodiff")]
pub(crate) fn layer_norm_backward(
    x: &[f32],
    gamma: &[f32],
    stats: &[[f32; 2]],
    grad: &mut [f32],
) -> (Vec<f32>, Vec<f32>) {
    let width = gamma.len();
    let rows = (TASK_ELEMENTS / width).max(1);
    let task = |(i, grad): (usize, &mut [f32])| {
        let x = &x[i * rows * width..][..grad.len()];
        let stats = &stats[i * rows..];
        let (mut d_gamma, mut d_beta) = (vec![0.0_f32; width], vec![0.0_f32; width]);
        let mut normal = vec![0.0_f32; width];
        let mut scaled = vec![0.0_f32; width];
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for ((g, x), [mean, inverse]) in
                    grad.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(stats)
                {
                    for i in 0..width {
                        normal[i] = (x[i] - mean) * inverse;
                        scaled[i] = g[i] * gamma[i];
                        d_gamma[i] += g[i] * normal[i];
                        d_beta[i] += g[i];
                    }
                    let mean_scaled = row_sum(&scaled) / width as f32;
                    let mean_product = row_dot(&scaled, &normal) / width as f32;
                    for i in 0..width {
                        g[i] = inverse * (scaled[i] - mean_scaled - normal[i] * mean_product);
                    }
                }
            },
        );
        (d_gamma, d_beta)
    };
    let parts: Vec<(Vec<f32>, Vec<f32>)> = if grad.len() < PARALLEL_ELEMENTS {
        grad.chunks_mut(rows * width).enumerate().map(task).collect()
    } else {
        grad.par_chunks_mut(rows * width).enumerate().map(task).collect()
    };
    let mut total = (vec![0.0; width], vec![0.0; width]);
    for (d_gamma, d_beta) in parts {
        total.0.iter_mut().zip(d_gamma).for_each(|(t, g)| *t += g);
        total.1.iter_mut().zip(d_beta).for_each(|(t, g)| *t += g);
    }
    total
}

/// Rotates in place; `direction` -1 undoes it.
pub(crate) fn rotary(x: &mut [f32], cos: &[f32], sin: &[f32], n_heads: usize, width: usize, direction: f32) {
    let head = width / n_heads;
    let half = head / 2;
    let n_positions = cos.len() / half;
    by_rows(x, n_positions * width, |_, x| {
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for (row, frame) in x.chunks_exact_mut(width).enumerate() {
                    let at = (row % n_positions) * half;
                    let (cos, sin) = (&cos[at..at + half], &sin[at..at + half]);
                    for head in frame.chunks_exact_mut(head) {
                        let (first, second) = head.split_at_mut(half);
                        for i in 0..half {
                            let (a, b) = (first[i], second[i]);
                            let s = sin[i] * direction;
                            first[i] = a * cos[i] - b * s;
                            second[i] = a * s + b * cos[i];
                        }
                    }
                }
            },
        );
    });
}

/// Shape of one attention.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttentionShape {
    pub(crate) n_queries: usize,
    pub(crate) n_keys: usize,
    pub(crate) width: usize,
    pub(crate) n_heads: usize,
}

impl AttentionShape {
    fn head(&self) -> usize {
        self.width / self.n_heads
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head() as f32).sqrt()
    }

    fn queries(&self, h: usize) -> View {
        View::rows(h * self.head(), self.n_queries, self.head(), self.width)
    }

    fn keys(&self, h: usize) -> View {
        View::rows(h * self.head(), self.n_keys, self.head(), self.width)
    }

    fn scores(&self, h: usize) -> View {
        View::rows(h * self.n_queries * self.n_keys, self.n_queries, self.n_keys, self.n_keys)
    }
}

#[inline(always)]
fn softmax_ranges(row: &mut [f32], visible: (usize, usize), n_prefix: usize) {
    let (first_end, second_end) = visible;
    let mut highest = f32::NEG_INFINITY;
    for value in row[..first_end].iter().chain(&row[n_prefix..second_end]) {
        highest = highest.max(*value);
    }
    for range in [0..first_end, n_prefix..second_end] {
        row[range].iter_mut().for_each(|v| *v = exp(*v - highest));
    }
    row[first_end..n_prefix].fill(0.0);
    row[second_end..].fill(0.0);
    let inverse = 1.0 / row_sum(row);
    row.iter_mut().for_each(|v| *v *= inverse);
}

/// Returns the output `[B, Tq, D]` and the probabilities `[B, H, Tq, Tk]`.
pub(crate) fn attention(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    shape: AttentionShape,
    mask: &AttentionMask,
) -> (Vec<f32>, Vec<f32>) {
    let (per_q, per_k) = (shape.n_queries * shape.width, shape.n_keys * shape.width);
    let per_p = shape.n_heads * shape.n_queries * shape.n_keys;
    let n_items = q.len() / per_q;
    let mut out = vec![0.0; q.len()];
    let mut probabilities = vec![0.0; n_items * per_p];
    let task = |(b, (out, p)): (usize, (&mut [f32], &mut [f32]))| {
        let (q, k, v) = (&q[b * per_q..][..per_q], &k[b * per_k..][..per_k], &v[b * per_k..][..per_k]);
        for h in 0..shape.n_heads {
            multiply(
                shape.scale(),
                (q, shape.queries(h)),
                (k, shape.keys(h).transposed()),
                (p, shape.scores(h)),
            );
            let rows = &mut p[h * shape.n_queries * shape.n_keys..][..shape.n_queries * shape.n_keys];
            Arch::new().dispatch(
                #[inline(always)]
                || {
                    for (i, row) in rows.chunks_exact_mut(shape.n_keys).enumerate() {
                        softmax_ranges(row, mask.visible(b, i), mask.n_prefix);
                    }
                },
            );
            multiply(1.0, (p, shape.scores(h)), (v, shape.keys(h)), (out, shape.queries(h)));
        }
    };
    let items = out.par_chunks_mut(per_q).zip(probabilities.par_chunks_mut(per_p));
    items.enumerate().for_each(task);
    (out, probabilities)
}

/// Gradients of queries, keys and values.
#[cfg(feature = "autodiff")]
pub(crate) fn attention_backward(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    probabilities: &[f32],
    grad: &[f32],
    shape: AttentionShape,
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let (per_q, per_k) = (shape.n_queries * shape.width, shape.n_keys * shape.width);
    let per_p = shape.n_heads * shape.n_queries * shape.n_keys;
    let (mut dq, mut dk, mut dv) = (vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]);
    let items = dq.par_chunks_mut(per_q).zip(dk.par_chunks_mut(per_k)).zip(dv.par_chunks_mut(per_k));
    items.enumerate().for_each(|(b, ((dq, dk), dv))| {
        let (q, k, v) = (&q[b * per_q..][..per_q], &k[b * per_k..][..per_k], &v[b * per_k..][..per_k]);
        let (p, grad) = (&probabilities[b * per_p..][..per_p], &grad[b * per_q..][..per_q]);
        let mut ds = vec![0.0; shape.n_queries * shape.n_keys];
        for h in 0..shape.n_heads {
            let scores = shape.scores(0);
            multiply(1.0, (p, shape.scores(h).transposed()), (grad, shape.queries(h)), (dv, shape.keys(h)));
            multiply(1.0, (grad, shape.queries(h)), (v, shape.keys(h).transposed()), (&mut ds, scores));
            let p = &p[h * shape.n_queries * shape.n_keys..][..shape.n_queries * shape.n_keys];
            Arch::new().dispatch(
                #[inline(always)]
                || {
                    for (ds, p) in ds.chunks_exact_mut(shape.n_keys).zip(p.chunks_exact(shape.n_keys)) {
                        let mean = row_dot(ds, p);
                        ds.iter_mut().zip(p).for_each(|(d, p)| *d = p * (*d - mean));
                    }
                },
            );
            multiply(shape.scale(), (&ds, scores), (k, shape.keys(h)), (dq, shape.queries(h)));
            multiply(shape.scale(), (&ds, scores.transposed()), (q, shape.queries(h)), (dk, shape.keys(h)));
        }
    });
    (dq, dk, dv)
}

/// One pseudo-random bit pattern an element: a hash of the key and the position.
#[inline(always)]
fn hash(key: u32, position: u32) -> u32 {
    let mut h = position.wrapping_mul(0x9e37_79b1) ^ key;
    h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b);
    h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

/// Adds `y`, with dropped units, to `x` in place. With `x` zero this also is the backward pass.
pub(crate) fn add_dropped(x: &mut [f32], y: &[f32], dropout: DropoutKey) {
    let limit = (dropout.rate * f64::from(u32::MAX)) as u32;
    let scale = (1.0 / (1.0 - dropout.rate)) as f32;
    let key = (dropout.key ^ (dropout.key >> 32)) as u32;
    by_rows(x, 1, |first, x| {
        let y = &y[first..first + x.len()];
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for (i, (x, y)) in x.iter_mut().zip(y).enumerate() {
                    let kept = hash(key, (first + i) as u32) >= limit;
                    *x += if kept { y * scale } else { 0.0 };
                }
            },
        );
    });
}

/// Cross-entropy of each row and the log of its normalizer.
pub(crate) fn cross_entropy(logits: &[f32], targets: &[usize], smoothing: f32) -> (Vec<f32>, Vec<f32>) {
    let width = logits.len() / targets.len().max(1);
    let row = |(row, target): (&[f32], &usize)| {
        Arch::new().dispatch(
            #[inline(always)]
            || {
                let highest = row.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
                let total = sum(row.iter().map(|v| exp(*v - highest)));
                let normalizer = highest + total.ln();
                let mut loss = (1.0 - smoothing) * (normalizer - row[*target]);
                if smoothing > 0.0 {
                    loss += smoothing * (normalizer - row_sum(row) / width as f32);
                }
                (loss, normalizer)
            },
        )
    };
    logits.par_chunks_exact(width).zip(targets).with_min_len(16).map(row).unzip()
}

/// Gradient of the logits; `grad` is that of each row's loss.
#[cfg(feature = "autodiff")]
pub(crate) fn cross_entropy_backward(
    logits: &[f32],
    targets: &[usize],
    normalizers: &[f32],
    grad: &[f32],
    smoothing: f32,
) -> Vec<f32> {
    let width = logits.len() / targets.len().max(1);
    let mut out = vec![0.0; logits.len()];
    by_rows(&mut out, width, |first, out| {
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for (i, out) in out.chunks_exact_mut(width).enumerate() {
                    let row = first + i;
                    let (scale, normalizer) = (grad[row], normalizers[row]);
                    let spread = smoothing / width as f32;
                    for (o, v) in out.iter_mut().zip(&logits[row * width..][..width]) {
                        *o = scale * (exp(*v - normalizer) - spread);
                    }
                    out[targets[row]] -= scale * (1.0 - smoothing);
                }
            },
        );
    });
    out
}
