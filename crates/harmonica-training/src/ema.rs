//! Exponential moving average of the weights; evaluated and shipped instead of the raw ones.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use burn::tensor::container::TensorContainer;

/// Averaged weights, without gradients.
#[derive(Debug)]
pub struct Ema<M: Module> {
    model: M,
    decay: f64,
}

struct Take {
    values: TensorContainer<ParamId>,
}

impl ModuleVisitor for Take {
    fn visit_float<const N: usize>(&mut self, param: &Param<Tensor<N>>) {
        self.values.register(param.id, param.val().without_autodiff());
    }
}

struct Blend<'a> {
    source: &'a TensorContainer<ParamId>,
    decay: f64,
}

impl ModuleMapper for Blend<'_> {
    fn map_float<const N: usize>(&mut self, param: Param<Tensor<N>>) -> Param<Tensor<N>> {
        let Some(new) = self.source.get::<Tensor<N>>(&param.id) else { return param };
        let decay = self.decay;
        param.map(|old| old * decay + new * (1.0 - decay))
    }
}

impl<M: Module> Ema<M> {
    /// Starts from a model's weights.
    pub fn new(model: &M, decay: f64) -> Self {
        Self { model: model.valid(), decay }
    }

    /// Goes on from stored averages.
    pub(crate) fn restored(average: M, decay: f64) -> Self {
        Self { model: average, decay }
    }

    /// Takes in the weights after `update` updates. Early on the average is short, so that it forgets the first weights.
    pub fn update(&mut self, model: &M, update: u64) {
        let mut take = Take { values: TensorContainer::new() };
        model.visit(&mut take);
        let decay = self.decay.min((1 + update) as f64 / (10 + update) as f64);
        self.model = self.model.clone().map(&mut Blend { source: &take.values, decay });
    }

    /// The averaged model.
    pub fn model(&self) -> &M {
        &self.model
    }
}
