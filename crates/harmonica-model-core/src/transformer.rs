//! The transformer that both models are made of: pre-norm blocks, rotary self-attention, optional cross-attention.
//!
//! Norms take scale and shift as arguments where a stage modulates them (AdaLN). Invariant: padding is never attended to.

use crate::diagnosis::HeadWatch;
use crate::kernels::{
    AttentionMask, DropoutKey, RotaryTable, add_dropped, attention, gelu, layer_norm, rotary,
};
use crate::parameters::ParameterFactory;
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use harmonica_config_schema::ModelDims;
use harmonica_config_schema::record::AttentionOf;
use std::sync::Arc;

/// Where dropout draws from; none when a model is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dropout {
    pub(crate) rate: f64,
    pub(crate) key: u64,
}

impl Dropout {
    /// The key of one place in the model.
    pub(crate) fn at(dropout: Option<Self>, place: u64) -> Option<DropoutKey> {
        dropout.map(|d| DropoutKey {
            rate: d.rate,
            key: (d.key ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9),
        })
    }
}

/// A linear map with bias.
#[derive(Module, Debug)]
pub(crate) struct Linear {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Linear {
    pub(crate) fn new(
        make: &ParameterFactory,
        path: &str,
        input: usize,
        output: usize,
        deviation: f64,
    ) -> Self {
        Self {
            weight: make.normal(&format!("{path}.weight"), [input, output], deviation),
            bias: make.constant(0.0, [output]),
        }
    }

    pub(crate) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        burn::tensor::module::linear(x, self.weight.val(), Some(self.bias.val()))
    }
}

/// Layer normalization, optionally one for each stage.
#[derive(Module, Debug)]
pub(crate) struct Norm {
    gamma: Param<Tensor<2>>,
    beta: Param<Tensor<2>>,
}

impl Norm {
    pub(crate) fn new(make: &ParameterFactory, n_stages: usize, width: usize) -> Self {
        Self { gamma: make.constant(1.0, [n_stages, width]), beta: make.constant(0.0, [n_stages, width]) }
    }

    pub(crate) fn forward(&self, x: Tensor<3>, stage: usize) -> Tensor<3> {
        let row = |p: &Param<Tensor<2>>| p.val().narrow(0, stage, 1).squeeze_dim::<1>(0);
        layer_norm(x, row(&self.gamma), row(&self.beta))
    }
}

/// Keys and values of a sequence, rotated already.
#[derive(Debug, Clone)]
pub(crate) struct KeyValue {
    pub(crate) keys: Tensor<3>,
    pub(crate) values: Tensor<3>,
}

/// Multi-head attention with its projections.
#[derive(Module, Debug)]
pub(crate) struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    n_heads: usize,
}

impl Attention {
    fn new(make: &ParameterFactory, path: &str, width: usize, n_heads: usize, out_deviation: f64) -> Self {
        let deviation = 1.0 / (width as f64).sqrt();
        let linear = |name: &str, d: f64| Linear::new(make, &format!("{path}.{name}"), width, width, d);
        Self {
            query: linear("query", deviation),
            key: linear("key", deviation),
            value: linear("value", deviation),
            output: linear("output", out_deviation),
            n_heads,
        }
    }

    pub(crate) fn key_value(&self, x: Tensor<3>, table: Option<&RotaryTable>) -> KeyValue {
        let keys = self.key.forward(x.clone());
        KeyValue { keys: table.map_or(keys.clone(), |t| rotary(keys, t)), values: self.value.forward(x) }
    }

    fn queries(&self, x: Tensor<3>, table: Option<&RotaryTable>) -> Tensor<3> {
        let queries = self.query.forward(x);
        table.map_or(queries.clone(), |t| rotary(queries, t))
    }

    fn attend(&self, queries: Tensor<3>, kv: KeyValue, mask: &Arc<AttentionMask>) -> Tensor<3> {
        self.output.forward(attention(queries, kv.keys, kv.values, self.n_heads, mask))
    }

    /// One query `[1, 1, D]` over all given keys: plain products on views, no copies. `weights` receives what it looked at.
    fn attend_one(&self, query: Tensor<3>, kv: &KeyValue, weights: Option<&mut Vec<Tensor<4>>>) -> Tensor<3> {
        let [_, n_keys, width] = kv.keys.dims();
        let head = width / self.n_heads;
        let split = |x: Tensor<3>, n: usize| x.reshape([1, n, self.n_heads, head]).swap_dims(1, 2);
        let scores =
            split(query, 1).matmul(split(kv.keys.clone(), n_keys).swap_dims(2, 3)) / (head as f64).sqrt();
        let shares = burn::tensor::activation::softmax(scores, 3);
        weights.into_iter().for_each(|all| all.push(shares.clone()));
        let out = shares.matmul(split(kv.values.clone(), n_keys));
        self.output.forward(out.swap_dims(1, 2).reshape([1, 1, width]))
    }
}

/// One pre-norm block.
#[derive(Module, Debug)]
pub(crate) struct Block {
    norm_self: Norm,
    self_attention: Attention,
    norm_cross: Option<Norm>,
    cross_attention: Option<Attention>,
    norm_feed_forward: Norm,
    expand: Linear,
    contract: Linear,
}

/// What a block needs beside its input.
pub(crate) struct BlockContext<'a> {
    pub(crate) mask: &'a Arc<AttentionMask>,
    pub(crate) table: &'a RotaryTable,
    /// Text states and their mask, for cross-attention.
    pub(crate) text: Option<(&'a Tensor<3>, &'a Arc<AttentionMask>)>,
    pub(crate) stage: usize,
    pub(crate) dropout: Option<Dropout>,
    /// Who is told of what the heads look at.
    pub(crate) watch: Option<&'a HeadWatch>,
}

impl Block {
    fn new(make: &ParameterFactory, path: &str, dims: &ModelDims, n_stages: usize, cross: bool) -> Self {
        let width = dims.width;
        let deviation = 1.0 / (width as f64).sqrt();
        // Residual branches start small, so that depth does not blow the states up (Radford et al. 2019).
        let residual = 1.0 / (2.0 * dims.n_layers as f64).sqrt();
        let attention = |name: &str| {
            Attention::new(make, &format!("{path}.{name}"), width, dims.n_heads, deviation * residual)
        };
        Self {
            norm_self: Norm::new(make, n_stages, width),
            self_attention: attention("self_attention"),
            norm_cross: cross.then(|| Norm::new(make, n_stages, width)),
            cross_attention: cross.then(|| attention("cross_attention")),
            norm_feed_forward: Norm::new(make, n_stages, width),
            expand: Linear::new(make, &format!("{path}.expand"), width, dims.ffn_width, deviation),
            contract: Linear::new(
                make,
                &format!("{path}.contract"),
                dims.ffn_width,
                width,
                residual / (dims.ffn_width as f64).sqrt(),
            ),
        }
    }

    /// Whole sequences `[B, T, D]`; also returns the self-attention's keys and values.
    fn forward(&self, x: Tensor<3>, at: &BlockContext<'_>, place: u64) -> (Tensor<3>, KeyValue) {
        let normed = self.norm_self.forward(x.clone(), at.stage);
        let kv = self.self_attention.key_value(normed.clone(), Some(at.table));
        let queries = self.self_attention.queries(normed, Some(at.table));
        if let Some(watch) = at.watch {
            let (asking, read) = ((queries.clone(), at.mask.as_ref()), (kv.keys.clone(), at.mask));
            watch.observe(AttentionOf::Frames, asking, read, self.self_attention.n_heads);
        }
        let x = add_dropped(
            x,
            self.self_attention.attend(queries, kv.clone(), at.mask),
            Dropout::at(at.dropout, place),
        );
        let x = match (&self.norm_cross, &self.cross_attention, at.text) {
            (Some(norm), Some(cross), Some((text, mask))) => {
                let queries = cross.queries(norm.forward(x.clone(), at.stage), None);
                let kv = cross.key_value(text.clone(), None);
                if let Some(watch) = at.watch {
                    let (asking, read) = ((queries.clone(), at.mask.as_ref()), (kv.keys.clone(), mask));
                    watch.observe(AttentionOf::Text, asking, read, cross.n_heads);
                }
                let out = cross.attend(queries, kv, mask);
                add_dropped(x, out, Dropout::at(at.dropout, place + 1))
            }
            _ => x,
        };
        (self.feed_forward(x, at.stage, Dropout::at(at.dropout, place + 2)), kv)
    }

    fn feed_forward(&self, x: Tensor<3>, stage: usize, dropout: Option<DropoutKey>) -> Tensor<3> {
        let inner = gelu(self.expand.forward(self.norm_feed_forward.forward(x.clone(), stage)));
        add_dropped(x, self.contract.forward(inner), dropout)
    }

    /// One new position of one item; appends to its keys and values. `weights` receives the weights `[1, H, 1, N]` of the
    /// attention that reads text: over the text alone, or over all positions where the text stands before the frames.
    fn step(
        &self,
        x: Tensor<3>,
        table: &RotaryTable,
        cache: &mut StepCache,
        mut weights: Option<&mut Vec<Tensor<4>>>,
    ) -> Tensor<3> {
        let normed = self.norm_self.forward(x.clone(), 0);
        let queries = self.self_attention.queries(normed.clone(), Some(table));
        cache.append(self.self_attention.key_value(normed, Some(table)));
        let of_self = if cache.cross.is_none() { weights.take() } else { None };
        let x = x + self.self_attention.attend_one(queries, &cache.filled(), of_self);
        let x = match (&self.norm_cross, &self.cross_attention, &cache.cross) {
            (Some(norm), Some(cross), Some(text)) => {
                let queries = cross.queries(norm.forward(x.clone(), 0), None);
                x + cross.attend_one(queries, text, weights)
            }
            _ => x,
        };
        self.feed_forward(x, 0, None)
    }
}

/// Keys and values of one item in one block, preallocated, and the static ones of its text.
#[derive(Debug, Clone)]
pub(crate) struct StepCache {
    keys: Tensor<3>,
    values: Tensor<3>,
    n_filled: usize,
    cross: Option<KeyValue>,
}

impl StepCache {
    fn new(prefill: KeyValue, capacity: usize, cross: Option<KeyValue>) -> Self {
        let [_, n, width] = prefill.keys.dims();
        let empty = Tensor::zeros([1, capacity.max(n), width], &prefill.keys.device());
        Self {
            keys: empty.clone().slice_assign([0..1, 0..n, 0..width], prefill.keys),
            values: empty.slice_assign([0..1, 0..n, 0..width], prefill.values),
            n_filled: n,
            cross,
        }
    }

    fn append(&mut self, kv: KeyValue) {
        let width = self.keys.dims()[2];
        let at = self.n_filled;
        self.keys.inplace(|keys| keys.slice_assign([0..1, at..at + 1, 0..width], kv.keys));
        self.values.inplace(|values| values.slice_assign([0..1, at..at + 1, 0..width], kv.values));
        self.n_filled += 1;
    }

    /// Forgets the last `n` positions; what is written next takes their place.
    pub(crate) fn forget(&mut self, n: usize) {
        self.n_filled -= n.min(self.n_filled);
    }

    fn filled(&self) -> KeyValue {
        KeyValue {
            keys: self.keys.clone().narrow(1, 0, self.n_filled),
            values: self.values.clone().narrow(1, 0, self.n_filled),
        }
    }
}

/// Blocks and the norm after them.
#[derive(Module, Debug)]
pub(crate) struct Transformer {
    blocks: Vec<Block>,
    norm: Norm,
}

impl Transformer {
    pub(crate) fn new(
        make: &ParameterFactory,
        path: &str,
        dims: &ModelDims,
        n_stages: usize,
        cross: bool,
    ) -> Self {
        let blocks = (0..dims.n_layers)
            .map(|i| Block::new(make, &format!("{path}.{i}"), dims, n_stages, cross))
            .collect();
        Self { blocks, norm: Norm::new(make, n_stages, dims.width) }
    }

    pub(crate) fn n_blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Whole sequences `[B, T, D]` to normalized states `[B, T, D]`.
    pub(crate) fn forward(&self, x: Tensor<3>, at: &BlockContext<'_>) -> Tensor<3> {
        let x =
            self.blocks.iter().enumerate().fold(x, |x, (i, block)| block.forward(x, at, 8 * i as u64 + 1).0);
        self.norm.forward(x, at.stage)
    }

    /// Fills caches with the sequence of one item that is known from the start.
    pub(crate) fn prefill(&self, x: Tensor<3>, at: &BlockContext<'_>, capacity: usize) -> Vec<StepCache> {
        let mut x = x;
        self.blocks
            .iter()
            .map(|block| {
                let (next, kv) = block.forward(x.clone(), at, 0);
                x = next;
                let cross = match (&block.cross_attention, at.text) {
                    (Some(cross), Some((text, _))) => Some(cross.key_value(text.clone(), None)),
                    _ => None,
                };
                StepCache::new(kv, capacity, cross)
            })
            .collect()
    }

    /// Caches without any position, for models whose text stands outside of the sequence.
    pub(crate) fn empty_caches(
        &self,
        text: Option<&Tensor<3>>,
        capacity: usize,
        width: usize,
        device: &burn::tensor::Device,
    ) -> Vec<StepCache> {
        self.blocks
            .iter()
            .map(|block| {
                let zeros = Tensor::zeros([1, capacity, width], device);
                let cross = match (&block.cross_attention, text) {
                    (Some(cross), Some(text)) => Some(cross.key_value(text.clone(), None)),
                    _ => None,
                };
                StepCache { keys: zeros.clone(), values: zeros, n_filled: 0, cross }
            })
            .collect()
    }

    /// One new position of one item `[1, 1, D]` to its normalized state; `weights` as in [`Block::step`], a block each.
    pub(crate) fn step(
        &self,
        x: Tensor<3>,
        table: &RotaryTable,
        caches: &mut [StepCache],
        mut weights: Option<&mut Vec<Tensor<4>>>,
    ) -> Tensor<3> {
        let blocks = self.blocks.iter().zip(caches);
        let x = blocks.fold(x, |x, (block, cache)| block.step(x, table, cache, weights.as_deref_mut()));
        self.norm.forward(x, 0)
    }
}
