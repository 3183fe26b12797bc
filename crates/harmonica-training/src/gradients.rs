//! Gradients of one update: their norms before clipping, global and by module, clipping by the global one, and how far the
//! update moved each module.
//!
//! Invariant: norms are summed on the host in one order, so that they never depend on threads.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use harmonica_config_schema::record::ModuleMetrics;
use std::collections::BTreeMap;

/// What the gradients of one update look like, before clipping.
#[derive(Debug, Clone, PartialEq)]
pub struct GradHealth {
    /// Global norm.
    pub norm: f64,
    /// Norm of each module.
    pub modules: BTreeMap<String, f64>,
}

impl GradHealth {
    /// Whether every gradient is a number.
    pub fn is_finite(&self) -> bool {
        self.norm.is_finite()
    }

    /// The record of these modules, with what [`update_ratios`] found.
    pub(crate) fn record(&self, ratios: &BTreeMap<String, f64>) -> Vec<ModuleMetrics> {
        let record = |(module, norm): (&String, &f64)| ModuleMetrics {
            module: module.clone(),
            grad_norm: *norm,
            update_ratio: ratios.get(module).copied(),
        };
        self.modules.iter().map(record).collect()
    }
}

/// The module of a parameter's path: a block of a transformer, or the first part of the path.
fn module_of(path: &[String]) -> String {
    let is_block = path.get(1).is_some_and(|part| part == "blocks");
    path[..path.len().min(if is_block { 3 } else { 1 })].join(".")
}

struct SquareSums<'a> {
    grads: &'a GradientsParams,
    path: Vec<String>,
    sum: f64,
    modules: BTreeMap<String, f64>,
}

impl ModuleVisitor for SquareSums<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const N: usize>(&mut self, param: &Param<Tensor<N>>) {
        if let Some(grad) = self.grads.get::<N>(param.id) {
            let sum = grad.into_data().iter::<f32>().map(|g| f64::from(g).powi(2)).sum::<f64>();
            self.sum += sum;
            *self.modules.entry(module_of(&self.path)).or_default() += sum;
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

/// Measures the gradients.
pub(crate) fn measure<M: Module>(model: &M, grads: &GradientsParams) -> GradHealth {
    let mut sums = SquareSums { grads, path: Vec::new(), sum: 0.0, modules: BTreeMap::new() };
    model.visit(&mut sums);
    let modules = sums.modules.into_iter().map(|(module, sum)| (module, sum.sqrt())).collect();
    GradHealth { norm: sums.sum.sqrt(), modules }
}

/// Scales gradients of a known norm down to `max_norm` where they are larger.
pub(crate) fn clip<M: Module>(model: &M, grads: &mut GradientsParams, norm: f64, max_norm: f64) {
    if norm.is_finite() && norm > max_norm {
        model.visit(&mut Scale { grads, factor: max_norm / norm });
    }
}

/// Values of every parameter, in the model's order, by module.
#[derive(Default)]
struct Values {
    path: Vec<String>,
    values: Vec<(String, Vec<f32>)>,
}

impl ModuleVisitor for Values {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const N: usize>(&mut self, param: &Param<Tensor<N>>) {
        let values = param.val().into_data().iter::<f32>().collect();
        self.values.push((module_of(&self.path), values));
    }
}

/// Norm of what an update changed over the norm of the weights, by module.
pub(crate) fn update_ratios<M: Module>(before: &M, after: &M) -> BTreeMap<String, f64> {
    let collect = |model: &M| {
        let mut values = Values::default();
        model.visit(&mut values);
        values.values
    };
    let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for ((module, old), (_, new)) in collect(before).into_iter().zip(collect(after)) {
        let (moved, weights) = sums.entry(module).or_default();
        for (old, new) in old.iter().zip(&new) {
            *moved += f64::from(new - old).powi(2);
            *weights += f64::from(*old).powi(2);
        }
    }
    sums.into_iter()
        .map(|(module, (moved, weights))| (module, (moved / weights.max(f64::MIN_POSITIVE)).sqrt()))
        .collect()
}
