//! Parameters drawn from (seed, path): the same model has the same first weights on every device, in any order.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use harmonica_config_schema::RandomStream;

/// Makes parameters for one model.
#[derive(Debug, Clone)]
pub(crate) struct ParameterFactory {
    seed: u64,
    device: Device,
}

impl ParameterFactory {
    pub(crate) fn new(seed: u64, device: &Device) -> Self {
        Self { seed, device: device.clone() }
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Normal values of the given deviation; `path` must be unique in the model.
    pub(crate) fn normal<const N: usize>(
        &self,
        path: &str,
        shape: [usize; N],
        deviation: f64,
    ) -> Param<Tensor<N>> {
        let mut stream = RandomStream::new(self.seed, path, &[]);
        let values =
            (0..shape.iter().product()).map(|_| (stream.normal() * deviation) as f32).collect::<Vec<_>>();
        self.parameter(values, shape)
    }

    pub(crate) fn constant<const N: usize>(&self, value: f32, shape: [usize; N]) -> Param<Tensor<N>> {
        self.parameter(vec![value; shape.iter().product()], shape)
    }

    fn parameter<const N: usize>(&self, values: Vec<f32>, shape: [usize; N]) -> Param<Tensor<N>> {
        Param::from_data(TensorData::new(values, shape), &self.device)
    }
}

#[derive(Default)]
struct Names {
    path: Vec<String>,
    names: Vec<(String, usize)>,
}

impl ModuleVisitor for Names {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const N: usize>(&mut self, param: &Param<Tensor<N>>) {
        self.names.push((self.path.join("."), param.lazy_shape().num_elements()));
    }
}

/// Dotted path and number of values of every parameter, in the model's order.
pub fn parameter_names<M: Module>(model: &M) -> Vec<(String, usize)> {
    let mut names = Names::default();
    model.visit(&mut names);
    names.names
}

#[derive(Default)]
struct NameIds {
    path: Vec<String>,
}

impl ModuleMapper for NameIds {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const N: usize>(&mut self, param: Param<Tensor<N>>) -> Param<Tensor<N>> {
        let (_, value, mapper) = param.consume();
        let id = RandomStream::new(0, &self.path.join("."), &[]).next_u64();
        Param::from_mapped_value(ParamId::from(id), value, mapper)
    }
}

/// Gives every parameter an id that is a function of its path, so that an optimizer's state finds it again after a
/// restart.
pub fn with_stable_ids<M: Module>(model: M) -> M {
    model.map(&mut NameIds::default())
}
