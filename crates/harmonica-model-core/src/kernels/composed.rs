//! The same operations from burn's own: for every other backend, and to hold the kernels against.

use super::{AttentionMask, DropoutKey, RotaryTable};
use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Bool, Int, Tensor, TensorData};
use harmonica_config_schema::RandomStream;

pub(crate) fn layer_norm<const N: usize>(x: Tensor<N>, gamma: Tensor<1>, beta: Tensor<1>) -> Tensor<N> {
    let mean = x.clone().mean_dim(N - 1);
    let centred = x - mean;
    let variance = centred.clone().square().mean_dim(N - 1);
    centred / (variance + 1e-5).sqrt() * gamma.unsqueeze() + beta.unsqueeze()
}

pub(crate) fn gelu<const N: usize>(x: Tensor<N>) -> Tensor<N> {
    let cube = x.clone() * x.clone() * x.clone();
    let inner = (x.clone() + cube * 0.044_715) * 0.797_884_6;
    x * 0.5 * (inner.tanh() + 1.0)
}

pub(crate) fn rotary(x: Tensor<3>, table: &RotaryTable) -> Tensor<3> {
    let [n_items, n_positions, width] = x.dims();
    let head = width / table.n_heads;
    let half = head / 2;
    let device = x.device();
    let angles = |values: &[f32]| {
        Tensor::<4>::from_data(TensorData::new(values.to_vec(), [1, n_positions, 1, half]), &device)
    };
    let (cos, sin) = (angles(&table.cos), angles(&table.sin));
    let x = x.reshape([n_items, n_positions, table.n_heads, head]);
    let (a, b) = (x.clone().narrow(3, 0, half), x.narrow(3, half, half));
    let first = a.clone() * cos.clone() - b.clone() * sin.clone();
    let second = a * sin + b * cos;
    Tensor::cat(vec![first, second], 3).reshape([n_items, n_positions, width])
}

/// What each head looks at `[B, H, Tq, Tk]`.
pub(crate) fn attention_weights(
    q: Tensor<3>,
    k: Tensor<3>,
    n_heads: usize,
    mask: &AttentionMask,
) -> Tensor<4> {
    let ([n_items, n_queries, width], n_keys) = (q.dims(), k.dims()[1]);
    let head = width / n_heads;
    let split = |x: Tensor<3>, n: usize| x.reshape([n_items, n, n_heads, head]).swap_dims(1, 2);
    let mut hidden = vec![true; n_items * n_queries * n_keys];
    for b in 0..n_items {
        for i in 0..n_queries {
            let row = &mut hidden[(b * n_queries + i) * n_keys..][..n_keys];
            let (first, second) = mask.visible(b, i);
            row[..first].fill(false);
            row[mask.n_prefix..second].fill(false);
        }
    }
    let hidden =
        Tensor::<4, Bool>::from_data(TensorData::new(hidden, [n_items, 1, n_queries, n_keys]), &q.device());
    let scores = split(q, n_queries).matmul(split(k, n_keys).swap_dims(2, 3)) / (head as f64).sqrt();
    softmax(scores.mask_fill(hidden, -1e9), 3)
}

pub(crate) fn attention(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    n_heads: usize,
    mask: &AttentionMask,
) -> Tensor<3> {
    let ([n_items, n_queries, width], n_keys) = (q.dims(), k.dims()[1]);
    let v = v.reshape([n_items, n_keys, n_heads, width / n_heads]).swap_dims(1, 2);
    let out = attention_weights(q, k, n_heads, mask).matmul(v);
    out.swap_dims(1, 2).reshape([n_items, n_queries, width])
}

pub(crate) fn add_dropped<const N: usize>(x: Tensor<N>, y: Tensor<N>, dropout: DropoutKey) -> Tensor<N> {
    let mut stream = RandomStream::new(dropout.key, "dropout", &[]);
    let shape = y.shape();
    let scale = (1.0 / (1.0 - dropout.rate)) as f32;
    let mask: Vec<f32> = (0..shape.num_elements())
        .map(|_| if stream.uniform() < dropout.rate { 0.0 } else { scale })
        .collect();
    let mask = Tensor::from_data(TensorData::new(mask, shape), &y.device());
    x + y * mask
}

pub(crate) fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>, smoothing: f64) -> Tensor<1> {
    let log_probabilities = log_softmax(logits, 1);
    let picked = log_probabilities.clone().gather(1, targets.unsqueeze_dim(1)).squeeze_dim::<1>(1);
    let spread = log_probabilities.mean_dim(1).squeeze_dim::<1>(1);
    -(picked * (1.0 - smoothing) + spread * smoothing)
}
