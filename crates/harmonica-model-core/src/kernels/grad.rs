//! Backward passes of the fused operations on the CPU backend.

use super::cpu::{self, AttentionShape};
use super::flex::{FusedOps, attention_shape, indices, packed, rotated, shape_of, wrap};
use super::{AttentionMask, DropoutKey, RotaryTable};
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Flex};
use burn::tensor::Shape;
use std::sync::Arc;

/// Hands each parent that asks for one its gradient.
macro_rules! register {
    ($parents:expr, $values:expr, $grads:expr) => {
        for (parent, value) in $parents.into_iter().zip($values) {
            if let Some(node) = parent {
                $grads.register::<Flex>(node.id, value);
            }
        }
    };
}

#[derive(Debug)]
struct LayerNorm;
#[derive(Debug)]
struct Gelu;
#[derive(Debug)]
struct Rotary;
#[derive(Debug)]
struct Attention;
#[derive(Debug)]
struct AddDropped;
#[derive(Debug)]
struct CrossEntropy;

impl Backward<Flex, 3> for LayerNorm {
    type State = (FlexTensor, FlexTensor, Vec<[f32; 2]>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let mut grad = packed(grads.consume::<Flex>(&ops.node));
        let (x, gamma, stats) = ops.state;
        let (d_gamma, d_beta) =
            cpu::layer_norm_backward(x.storage(), gamma.storage(), &stats, grad.storage_mut());
        let width = Shape::new([d_gamma.len()]);
        let all = [grad, wrap(d_gamma, width.clone()), wrap(d_beta, width)];
        register!(ops.parents, all, grads);
    }
}

impl Backward<Flex, 1> for Gelu {
    type State = FlexTensor;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let x = ops.state;
        unary::<Flex, _>(ops.parents, ops.node, grads, |grad| {
            let mut grad = packed(grad);
            cpu::gelu_backward(x.storage(), grad.storage_mut());
            grad
        });
    }
}

impl Backward<Flex, 1> for Rotary {
    type State = RotaryTable;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let table = ops.state;
        unary::<Flex, _>(ops.parents, ops.node, grads, |grad| rotated(grad, &table, -1.0));
    }
}

impl Backward<Flex, 3> for Attention {
    type State = ([FlexTensor; 3], Arc<Vec<f32>>, AttentionShape);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = packed(grads.consume::<Flex>(&ops.node));
        let ([q, k, v], probabilities, shape) = ops.state;
        let (dq, dk, dv) = cpu::attention_backward(
            q.storage(),
            k.storage(),
            v.storage(),
            &probabilities,
            grad.storage(),
            shape,
        );
        let all = [wrap(dq, shape_of(&q)), wrap(dk, shape_of(&k)), wrap(dv, shape_of(&v))];
        register!(ops.parents, all, grads);
    }
}

impl Backward<Flex, 2> for AddDropped {
    type State = DropoutKey;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = packed(grads.consume::<Flex>(&ops.node));
        let mut dropped = vec![0.0; grad.storage::<f32>().len()];
        cpu::add_dropped(&mut dropped, grad.storage(), ops.state);
        let shape = shape_of(&grad);
        register!(ops.parents, [grad, wrap(dropped, shape)], grads);
    }
}

impl Backward<Flex, 1> for CrossEntropy {
    type State = (FlexTensor, Arc<Vec<usize>>, Vec<f32>, f32);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (logits, targets, normalizers, smoothing) = ops.state;
        unary::<Flex, _>(ops.parents, ops.node, grads, |grad| {
            let grad = packed(grad);
            let values = cpu::cross_entropy_backward(
                logits.storage(),
                &targets,
                &normalizers,
                grad.storage(),
                smoothing,
            );
            wrap(values, shape_of(&logits))
        });
    }
}

impl<C: CheckpointStrategy> FusedOps for Autodiff<Flex, C> {
    fn fused_layer_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), gamma.node(), beta.node()];
        let (x, gamma) = (packed(x.into_primitive()), packed(gamma.into_primitive()));
        let beta = packed(beta.into_primitive());
        let (y, stats) = cpu::layer_norm(x.storage(), gamma.storage(), beta.storage());
        let y = wrap(y, shape_of(&x));
        match LayerNorm.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, gamma, stats), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn fused_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [x.node()];
        let x = packed(x.into_primitive());
        let y = wrap(cpu::gelu(x.storage()), shape_of(&x));
        match Gelu.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(x, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn fused_rotary(x: FloatTensor<Self>, table: RotaryTable) -> FloatTensor<Self> {
        let nodes = [x.node()];
        let y = rotated(x.into_primitive(), &table, 1.0);
        match Rotary.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(table, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn fused_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        n_heads: usize,
        mask: Arc<AttentionMask>,
    ) -> FloatTensor<Self> {
        let nodes = [q.node(), k.node(), v.node()];
        let (q, k, v) = (packed(q.into_primitive()), packed(k.into_primitive()), packed(v.into_primitive()));
        let shape = attention_shape(&q, &k, n_heads);
        let (out, probabilities) = cpu::attention(q.storage(), k.storage(), v.storage(), shape, &mask);
        let out = wrap(out, shape_of(&q));
        match Attention.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(([q, k, v], Arc::new(probabilities), shape), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    fn fused_add_dropped(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        dropout: DropoutKey,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), y.node()];
        let (mut x, y) = (packed(x.into_primitive()), packed(y.into_primitive()));
        cpu::add_dropped(x.storage_mut(), y.storage(), dropout);
        match AddDropped.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(dropout, x),
            OpsKind::UnTracked(prep) => prep.finish(x),
        }
    }

    fn fused_cross_entropy(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        smoothing: f32,
    ) -> FloatTensor<Self> {
        let nodes = [logits.node()];
        let (logits, targets) = (packed(logits.into_primitive()), Arc::new(indices(targets)));
        let (loss, normalizers) = cpu::cross_entropy(logits.storage(), &targets, smoothing);
        let loss = wrap(loss, Shape::new([targets.len()]));
        match CrossEntropy.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((logits, targets, normalizers, smoothing), loss),
            OpsKind::UnTracked(prep) => prep.finish(loss),
        }
    }
}
