//! Binds the kernels to burn's CPU backend.

use super::cpu::{self, AttentionShape};
use super::{AttentionMask, DropoutKey, RotaryTable};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, DispatchTensorKind, Flex, backend_extension};
use burn::tensor::{DType, Int, Shape, Tensor, TensorData};
use std::sync::Arc;

/// The fused operations as burn dispatches them: with or without gradients.
#[backend_extension(Flex, Autodiff: cfg(feature = "autodiff"))]
pub(crate) trait FusedOps: Backend {
    fn fused_layer_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
    fn fused_gelu(x: FloatTensor<Self>) -> FloatTensor<Self>;
    fn fused_rotary(x: FloatTensor<Self>, table: RotaryTable) -> FloatTensor<Self>;
    fn fused_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        n_heads: usize,
        mask: Arc<AttentionMask>,
    ) -> FloatTensor<Self>;
    fn fused_add_dropped(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        dropout: DropoutKey,
    ) -> FloatTensor<Self>;
    fn fused_cross_entropy(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        smoothing: f32,
    ) -> FloatTensor<Self>;
}

/// Row-major from the first element on, without copying where it already is.
pub(crate) fn packed(tensor: FlexTensor) -> FlexTensor {
    tensor.to_contiguous()
}

pub(crate) fn wrap(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

pub(crate) fn shape_of(tensor: &FlexTensor) -> Shape {
    tensor.layout().shape().clone()
}

pub(crate) fn indices(tensor: FlexTensor) -> Vec<usize> {
    let tensor = packed(tensor);
    match tensor.dtype() {
        DType::I64 => tensor.storage::<i64>().iter().map(|i| *i as usize).collect(),
        _ => tensor.storage::<i32>().iter().map(|i| *i as usize).collect(),
    }
}

pub(crate) fn attention_shape(q: &FlexTensor, k: &FlexTensor, n_heads: usize) -> AttentionShape {
    let (q, k) = (q.layout().shape(), k.layout().shape());
    AttentionShape { n_queries: q[1], n_keys: k[1], width: q[2], n_heads }
}

pub(crate) fn rotated(x: FlexTensor, table: &RotaryTable, direction: f32) -> FlexTensor {
    let mut x = packed(x);
    let width = x.layout().shape()[2];
    cpu::rotary(x.storage_mut::<f32>(), &table.cos, &table.sin, table.n_heads, width, direction);
    x
}

impl FusedOps for Flex {
    fn fused_layer_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (x, gamma, beta) = (packed(x), packed(gamma), packed(beta));
        wrap(cpu::layer_norm(x.storage(), gamma.storage(), beta.storage()).0, shape_of(&x))
    }

    fn fused_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let x = packed(x);
        wrap(cpu::gelu(x.storage()), shape_of(&x))
    }

    fn fused_rotary(x: FloatTensor<Self>, table: RotaryTable) -> FloatTensor<Self> {
        rotated(x, &table, 1.0)
    }

    fn fused_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        n_heads: usize,
        mask: Arc<AttentionMask>,
    ) -> FloatTensor<Self> {
        let (q, k, v) = (packed(q), packed(k), packed(v));
        let shape = attention_shape(&q, &k, n_heads);
        wrap(cpu::attention(q.storage(), k.storage(), v.storage(), shape, &mask).0, shape_of(&q))
    }

    fn fused_add_dropped(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        dropout: DropoutKey,
    ) -> FloatTensor<Self> {
        let (mut x, y) = (packed(x), packed(y));
        cpu::add_dropped(x.storage_mut(), y.storage(), dropout);
        x
    }

    fn fused_cross_entropy(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        smoothing: f32,
    ) -> FloatTensor<Self> {
        let (logits, targets) = (packed(logits), indices(targets));
        let shape = Shape::new([targets.len()]);
        wrap(cpu::cross_entropy(logits.storage(), &targets, smoothing).0, shape)
    }
}

/// Whether the kernels run for this tensor: the CPU backend, in f32.
pub(crate) fn applies<const N: usize>(tensor: &Tensor<N>) -> bool {
    if tensor.dtype() != DType::F32 {
        return false;
    }
    let dispatch = tensor.clone().into_dispatch();
    #[cfg_attr(
        not(feature = "autodiff"),
        expect(clippy::match_single_binding, reason = "other arms need autodiff")
    )]
    let kind = match &dispatch.kind {
        #[cfg(feature = "autodiff")]
        DispatchTensorKind::Autodiff(inner) => &**inner,
        kind => kind,
    };
    matches!(kind, DispatchTensorKind::Flex(_))
}

pub(crate) fn layer_norm<const N: usize>(x: Tensor<N>, gamma: Tensor<1>, beta: Tensor<1>) -> Tensor<N> {
    let (x, gamma, beta) = (x.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch());
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_layer_norm(x, gamma, beta))
}

pub(crate) fn gelu<const N: usize>(x: Tensor<N>) -> Tensor<N> {
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_gelu(x.into_dispatch()))
}

pub(crate) fn rotary(x: Tensor<3>, table: RotaryTable) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_rotary(x.into_dispatch(), table))
}

pub(crate) fn attention(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    n_heads: usize,
    mask: Arc<AttentionMask>,
) -> Tensor<3> {
    let (q, k, v) = (q.into_dispatch(), k.into_dispatch(), v.into_dispatch());
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_attention(q, k, v, n_heads, mask))
}

pub(crate) fn add_dropped<const N: usize>(x: Tensor<N>, y: Tensor<N>, dropout: DropoutKey) -> Tensor<N> {
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_add_dropped(
        x.into_dispatch(),
        y.into_dispatch(),
        dropout,
    ))
}

pub(crate) fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>, smoothing: f64) -> Tensor<1> {
    let (logits, targets) = (logits.into_dispatch(), targets.into_dispatch());
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_cross_entropy(logits, targets, smoothing as f32))
}
