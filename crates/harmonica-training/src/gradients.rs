//! Global gradient norm, before clipping, and clipping by it.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// What the gradients of one update look like, before clipping.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GradHealth {
    /// Global norm.
    pub norm: f64,
}

impl GradHealth {
    /// Whether every gradient is a number.
    pub fn is_finite(&self) -> bool {
        self.norm.is_finite()
    }
}

struct SquareSum<'a> {
    grads: &'a GradientsParams,
    sum: f64,
}

impl ModuleVisitor for SquareSum<'_> {
    fn visit_float<const N: usize>(&mut self, param: &Param<Tensor<N>>) {
        if let Some(grad) = self.grads.get::<N>(param.id) {
            // On the host, in one order: a parallel sum would make the norm depend on the threads.
            self.sum += grad.into_data().iter::<f32>().map(|g| f64::from(g).powi(2)).sum::<f64>();
        }
    }
}

struct Scale<'a> {
    grads: &'a mut GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const N: usize>(&mut self, param: &Param<Tensor<N>>) {
        if let Some(grad) = self.grads.remove::<N>(param.id) {
            self.grads.register::<N>(param.id, grad.mul_scalar(self.factor));
        }
    }
}

/// Measures the gradients and scales them down to `max_norm` where they are larger.
pub(crate) fn clip<M: Module>(model: &M, grads: &mut GradientsParams, max_norm: f64) -> GradHealth {
    let mut visitor = SquareSum { grads, sum: 0.0 };
    model.visit(&mut visitor);
    let norm = visitor.sum.sqrt();
    if norm.is_finite() && norm > max_norm {
        model.visit(&mut Scale { grads, factor: max_norm / norm });
    }
    GradHealth { norm }
}
