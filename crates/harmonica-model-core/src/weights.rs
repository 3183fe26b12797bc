//! Weights as safetensors, named by their path in the model, in f32 or f16.
//!
//! Invariant: loading gives exactly the tensors of the model or an error that lists each one that is missing, unknown,
//! misshapen or not finite; nothing is half loaded.

use crate::ModelError;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::BTreeMap;
use std::path::Path;

/// Values and shape of one tensor.
type Entry = (Vec<f32>, Vec<usize>);

/// Named tensors of a model, on the host.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WeightStore {
    tensors: BTreeMap<String, Entry>,
}

#[derive(Default)]
struct Collect {
    path: Vec<String>,
    tensors: BTreeMap<String, Entry>,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const N: usize>(&mut self, param: &Param<Tensor<N>>) {
        let value = param.val();
        let shape = value.dims().to_vec();
        let values = value.into_data().iter::<f32>().collect();
        self.tensors.insert(self.path.join("."), (values, shape));
    }
}

struct Fill<'a> {
    path: Vec<String>,
    tensors: &'a BTreeMap<String, Entry>,
}

impl ModuleMapper for Fill<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const N: usize>(&mut self, param: Param<Tensor<N>>) -> Param<Tensor<N>> {
        // Checked against the model before the first tensor is filled.
        let Some((values, shape)) = self.tensors.get(&self.path.join(".")) else { return param };
        let data = TensorData::new(values.clone(), shape.clone());
        param.map(|old| {
            let new = Tensor::<N>::from_data(data, &old.device());
            let new = if old.is_autodiff() { new.autodiff() } else { new };
            new.set_require_grad(old.is_require_grad())
        })
    }
}

impl WeightStore {
    /// The weights of a model.
    pub fn of<M: Module>(model: &M) -> Self {
        let mut collect = Collect::default();
        model.visit(&mut collect);
        Self { tensors: collect.tensors }
    }

    /// Names and values, sorted by name.
    pub fn tensors(&self) -> &BTreeMap<String, (Vec<f32>, Vec<usize>)> {
        &self.tensors
    }

    /// Puts these weights into a model of the same shape.
    ///
    /// # Errors
    /// Tensors that are missing, unknown, misshapen or not finite, all of them.
    pub fn load_into<M: Module>(&self, model: M) -> Result<M, ModelError> {
        let wanted = Self::of(&model);
        let mut problems = Vec::new();
        for (name, (_, shape)) in &wanted.tensors {
            match self.tensors.get(name) {
                None => problems.push(format!("`{name}` is missing")),
                Some((_, found)) if found != shape => {
                    problems.push(format!("`{name}` has shape {found:?}, the model wants {shape:?}"));
                }
                Some((values, _)) if values.iter().any(|v| !v.is_finite()) => {
                    problems.push(format!("`{name}` holds values that are not finite"));
                }
                Some(_) => {}
            }
        }
        problems.extend(
            self.tensors
                .keys()
                .filter(|n| !wanted.tensors.contains_key(*n))
                .map(|n| format!("`{n}` is unknown")),
        );
        if !problems.is_empty() {
            return Err(ModelError::WeightsMismatch { problems });
        }
        Ok(model.map(&mut Fill { path: Vec::new(), tensors: &self.tensors }))
    }

    /// The mean of weights of one model; sums are taken in double precision, in the order given.
    ///
    /// # Errors
    /// No weights at all, or tensors that are not in all of them or not of one shape, all of these.
    pub fn mean(stores: &[Self]) -> Result<Self, ModelError> {
        let Some((first, others)) = stores.split_first() else {
            return Err(ModelError::WeightsMismatch { problems: vec!["there are no weights".into()] });
        };
        let shapes = |store: &Self| -> BTreeMap<String, Vec<usize>> {
            store.tensors.iter().map(|(name, (_, shape))| (name.clone(), shape.clone())).collect()
        };
        let wanted = shapes(first);
        let mut problems = Vec::new();
        for found in others.iter().map(shapes) {
            let names: std::collections::BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
            problems.extend(names.into_iter().filter(|name| wanted.get(*name) != found.get(*name)).map(
                |name| {
                    let (a, b) = (wanted.get(name), found.get(name));
                    let shape =
                        |s: Option<&Vec<usize>>| s.map_or_else(|| "none".into(), |s| format!("{s:?}"));
                    format!("`{name}` has shape {} in one and {} in another", shape(a), shape(b))
                },
            ));
        }
        if !problems.is_empty() {
            return Err(ModelError::WeightsMismatch { problems });
        }
        let mut tensors = BTreeMap::new();
        for (name, (values, shape)) in &first.tensors {
            let mut sums: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
            for (values, _) in others.iter().filter_map(|other| other.tensors.get(name)) {
                sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += f64::from(*value));
            }
            let means = sums.iter().map(|sum| (sum / stores.len() as f64) as f32).collect();
            tensors.insert(name.clone(), (means, shape.clone()));
        }
        Ok(Self { tensors })
    }

    /// The safetensors bytes, with `half` as f16: the same weights always give the same bytes.
    ///
    /// # Errors
    /// None for weights of a model.
    pub fn to_bytes(&self, half: bool) -> Result<Vec<u8>, safetensors::SafeTensorError> {
        let encode = |values: &[f32]| -> Vec<u8> {
            if half {
                values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect()
            } else {
                values.iter().flat_map(|v| v.to_le_bytes()).collect()
            }
        };
        let dtype = if half { Dtype::F16 } else { Dtype::F32 };
        let encoded: Vec<(&str, &[usize], Vec<u8>)> =
            self.tensors.iter().map(|(n, (v, s))| (n.as_str(), s.as_slice(), encode(v))).collect();
        let views = encoded
            .iter()
            .map(|(name, shape, bytes)| Ok((*name, TensorView::new(dtype, shape.to_vec(), bytes)?)))
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
        safetensors::serialize(views, None)
    }

    /// Changes the values of every tensor; `change` gets its name and its values.
    pub fn map(&mut self, mut change: impl FnMut(&str, &mut [f32])) {
        for (name, (values, _)) in &mut self.tensors {
            change(name, values);
        }
    }

    /// Names of the tensors that hold a value that is not finite.
    pub fn not_finite(&self) -> Vec<String> {
        let is_broken = |(_, (values, _)): &(&String, &Entry)| values.iter().any(|value| !value.is_finite());
        self.tensors.iter().filter(is_broken).map(|(name, _)| name.clone()).collect()
    }

    /// Reads safetensors of f32 or f16.
    ///
    /// # Errors
    /// A file that is missing, damaged or of another type.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        Ok(Self { tensors: Tensors::read(path)?.tensors })
    }

    /// Weights from the bytes of a safetensors file; `path` is where they are from.
    ///
    /// # Errors
    /// Bytes that are damaged or of another type.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, ModelError> {
        Ok(Self { tensors: Tensors::from_bytes(bytes, path)?.tensors })
    }
}

/// Any safetensors file, every number type as f32.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tensors {
    tensors: BTreeMap<String, Entry>,
}

impl Tensors {
    /// Reads a file of f32, f16, i32, i64 or boolean tensors.
    ///
    /// # Errors
    /// A file that is missing, damaged or of another type.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let bytes = std::fs::read(path)
            .map_err(|e| ModelError::ReadWeights { path: path.to_owned(), reason: e.to_string() })?;
        Self::from_bytes(&bytes, path)
    }

    fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, ModelError> {
        let refuse = |reason: String| ModelError::ReadWeights { path: path.to_owned(), reason };
        let file = SafeTensors::deserialize(bytes).map_err(|e| refuse(e.to_string()))?;
        let mut tensors = BTreeMap::new();
        for (name, tensor) in file.iter() {
            let data = tensor.data();
            let (halves, _) = data.as_chunks::<2>();
            let (words, _) = data.as_chunks::<4>();
            let (longs, _) = data.as_chunks::<8>();
            let values: Vec<f32> = match tensor.dtype() {
                Dtype::F32 => words.iter().map(|w| f32::from_le_bytes(*w)).collect(),
                Dtype::F16 => halves.iter().map(|w| half::f16::from_le_bytes(*w).to_f32()).collect(),
                Dtype::I32 => words.iter().map(|w| i32::from_le_bytes(*w) as f32).collect(),
                Dtype::I64 => longs.iter().map(|w| i64::from_le_bytes(*w) as f32).collect(),
                Dtype::BOOL | Dtype::U8 => data.iter().map(|b| f32::from(*b)).collect(),
                other => {
                    return Err(refuse(format!(
                        "tensor `{name}` has type {other:?}; use f32, f16, i32, i64 or bool"
                    )));
                }
            };
            tensors.insert(name.to_owned(), (values, tensor.shape().to_vec()));
        }
        Ok(Self { tensors })
    }

    /// Values and shape of one tensor.
    pub fn get(&self, name: &str) -> Option<(&[f32], &[usize])> {
        self.tensors.get(name).map(|(values, shape)| (values.as_slice(), shape.as_slice()))
    }
}
