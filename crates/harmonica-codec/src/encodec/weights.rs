//! The tensors of a model file, whichever library wrote it, under one set of names and with weight norm folded.
//!
//! In: safetensors with `conv.weight_g` and `conv.weight_v`, with `parametrizations`, with plain weights, with the names of the first
//! implementation (`encoder.model.0.conv.conv`), or as a part of another model (`codec_model.`, `audio_encoder.`). Out: f32
//! tensors by name and shape.
//! Invariant: a tensor is taken once and in the shape that the configuration says; none may be missing or left over.

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::BTreeMap;

/// Prefixes of the codec inside of other models.
const PREFIXES: [&str; 4] = ["", "codec_model.", "audio_encoder.", "encodec."];
/// What training keeps in a codebook beside its vectors.
const TRAINING_ONLY: [&str; 3] = [".codebook.inited", ".codebook.cluster_size", ".codebook.embed_avg"];

#[derive(Debug, Clone)]
struct Tensor {
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// Tensors of a model that nobody has taken yet.
#[derive(Debug)]
pub(crate) struct Weights {
    tensors: BTreeMap<String, Tensor>,
}

/// The name that this crate uses.
fn canonical(name: &str) -> String {
    let name = name
        .replacen("encoder.model.", "encoder.layers.", 1)
        .replacen("decoder.model.", "decoder.layers.", 1)
        .replacen("quantizer.vq.layers.", "quantizer.layers.", 1)
        .replace("._codebook.", ".codebook.")
        .replace(".convtr.convtr.", ".conv.")
        .replace(".conv.conv.", ".conv.")
        .replace(".convtr.norm.", ".norm.")
        .replace(".conv.norm.", ".norm.");
    name.replace(".parametrizations.weight.original0", ".weight_g")
        .replace(".parametrizations.weight.original1", ".weight_v")
}

fn values_of(name: &str, view: &TensorView) -> Result<Vec<f32>, String> {
    let data = view.data();
    Ok(match view.dtype() {
        Dtype::F32 => data.as_chunks::<4>().0.iter().map(|w| f32::from_le_bytes(*w)).collect(),
        Dtype::F16 => data.as_chunks::<2>().0.iter().map(|w| f16::from_le_bytes(*w).to_f32()).collect(),
        Dtype::BF16 => data.as_chunks::<2>().0.iter().map(|w| bf16::from_le_bytes(*w).to_f32()).collect(),
        other => return Err(format!("tensor `{name}` holds {other:?}, not f32, f16 or bf16")),
    })
}

impl Weights {
    /// Reads a safetensors file.
    ///
    /// # Errors
    /// What is wrong with it, naming the tensor.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        let names = file.names();
        let starts = |prefix: &str| {
            let starts = ["encoder.layers.0.", "encoder.model.0."].map(|start| format!("{prefix}{start}"));
            names.iter().any(|name| starts.iter().any(|start| name.starts_with(start)))
        };
        let prefix = PREFIXES
            .into_iter()
            .find(|prefix| starts(prefix))
            .ok_or("no tensor's name starts with `encoder.layers.0.` or `encoder.model.0.`")?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let Some(inner) = name.strip_prefix(prefix) else { continue };
            let inner = canonical(inner);
            if TRAINING_ONLY.iter().any(|ending| inner.ends_with(ending)) {
                continue;
            }
            let values = values_of(name, &view)?;
            if let Some(at) = values.iter().position(|v| !v.is_finite()) {
                return Err(format!("tensor `{name}` holds {} at element {at}", values[at]));
            }
            if tensors.insert(inner.clone(), Tensor { shape: view.shape().to_vec(), values }).is_some() {
                return Err(format!("`{inner}` stands there under two names, one of them `{name}`"));
            }
        }
        let mut weights = Self { tensors };
        weights.fold()?;
        Ok(weights)
    }

    /// Weight norm: each direction `v` (all but its first axis) at the length `g`.
    fn fold(&mut self) -> Result<(), String> {
        let directions: Vec<String> = self
            .tensors
            .keys()
            .filter_map(|name| name.strip_suffix(".weight_v"))
            .map(str::to_owned)
            .collect();
        for layer in directions {
            let plain = format!("{layer}.weight");
            if self.tensors.contains_key(&plain) {
                return Err(format!("`{plain}` stands beside `{plain}_v`"));
            }
            let Some(Tensor { shape, mut values }) = self.tensors.remove(&format!("{plain}_v")) else {
                continue;
            };
            let rows = shape.first().copied().unwrap_or(0);
            let lengths = self.take(&format!("{plain}_g"), &[rows, 1, 1])?;
            let width = (values.len() / rows.max(1)).max(1);
            for (row, length) in values.chunks_exact_mut(width).zip(lengths) {
                let norm = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
                if norm == 0.0 {
                    return Err(format!("`{plain}_v` holds a direction of length zero"));
                }
                row.iter_mut().for_each(|v| *v = (f64::from(*v) * f64::from(length) / norm) as f32);
            }
            if values.iter().any(|v| !v.is_finite()) {
                return Err(format!("`{plain}` is beyond f32 once `{plain}_g` is applied"));
            }
            self.tensors.insert(plain, Tensor { shape, values });
        }
        Ok(())
    }

    /// Removes a tensor, which must have this shape.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let tensor = self.tensors.remove(name).ok_or_else(|| format!("tensor `{name}` is missing"))?;
        if tensor.shape != shape {
            return Err(format!("tensor `{name}` has shape {:?}, not {shape:?}", tensor.shape));
        }
        Ok(tensor.values)
    }

    /// Every tensor by name, for a file of its own and a fingerprint.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &[usize], &[f32])> {
        self.tensors.iter().map(|(name, t)| (name.as_str(), t.shape.as_slice(), t.values.as_slice()))
    }

    /// Checks that every tensor has been taken.
    ///
    /// # Errors
    /// Tensors that no layer has use for.
    pub(crate) fn finish(self) -> Result<(), String> {
        let left: Vec<_> = self.tensors.keys().take(3).map(|name| format!("`{name}`")).collect();
        match self.tensors.len() {
            0 => Ok(()),
            n => Err(format!("{n} tensors have no place in the model, such as {}", left.join(", "))),
        }
    }
}
