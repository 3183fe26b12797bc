//! Model files that `torch.save` wrote: pickles, of which only tensors in dictionaries are taken.
//!
//! In: a `.bin` or `.th` file. Out: the same tensors as safetensors. Nothing that a pickle asks for is ever executed.
//! Invariant: weights that hold anything beside tensors and dictionaries are refused, because they may mean more than their tensors say.
//! What a training program keeps beside its weights is passed over, and so are the versions of layers that torch notes with every state dictionary.

use std::path::{Path, PathBuf};

/// What the Hugging Face libraries call such a file.
pub(crate) const NAME: &str = "pytorch_model.bin";
/// Key under which training programs of the first implementation keep their weights.
#[cfg(feature = "pytorch")]
const NESTED: &str = "best_state";
/// Attribute of a state dictionary with the versions of its layers, which the reader puts among the tensors.
#[cfg(feature = "pytorch")]
const VERSIONS: &str = "_metadata";

/// The PyTorch file of a directory: `pytorch_model.bin`, or the only `.th` file.
pub(crate) fn find(dir: &Path) -> Option<PathBuf> {
    let named = dir.join(NAME);
    if named.is_file() {
        return Some(named);
    }
    let entries = std::fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
    let mut files = entries.filter(|path| path.extension().is_some_and(|ending| ending == "th"));
    files.next().filter(|_| files.next().is_none())
}

/// Tensors of a PyTorch file as safetensors.
///
/// # Errors
/// A program without the feature, a damaged file, or one that holds other things than tensors.
#[cfg(not(feature = "pytorch"))]
pub(crate) fn to_safetensors(_: &Path) -> Result<Vec<u8>, String> {
    Err("this program was built without the feature `pytorch`; build it with `--features pytorch`, or save the tensors with \
         safetensors.torch.save_file as `model.safetensors`"
        .into())
}

/// Tensors of a PyTorch file as safetensors.
///
/// # Errors
/// A program without the feature, a damaged file, or one that holds other things than tensors.
#[cfg(feature = "pytorch")]
pub(crate) fn to_safetensors(path: &Path) -> Result<Vec<u8>, String> {
    use pytorch_reader::{DType, PickleValue, PytorchReader};
    use safetensors::tensor::{Dtype, TensorView};
    use std::collections::BTreeMap;

    let content = PytorchReader::read_pickle_data(path, None).map_err(|e| e.to_string())?;
    let (weights, reader) = match &content {
        PickleValue::Dict(entries) => match entries.get(NESTED) {
            Some(nested @ PickleValue::Dict(_)) => (nested, PytorchReader::with_top_level_key(path, NESTED)),
            _ => (&content, PytorchReader::new(path)),
        },
        _ => (&content, PytorchReader::new(path)),
    };
    only_tensors(weights, "")?;
    if !matches!(weights, PickleValue::Dict(_)) {
        return Err("it holds one tensor, not a dictionary of them".into());
    }
    let dtype = |dtype: DType| match dtype {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::I64 => Dtype::I64,
        DType::I32 => Dtype::I32,
        DType::I16 => Dtype::I16,
        DType::I8 => Dtype::I8,
        DType::U64 => Dtype::U64,
        DType::U32 => Dtype::U32,
        DType::U16 => Dtype::U16,
        DType::U8 => Dtype::U8,
        DType::Bool => Dtype::BOOL,
    };
    let mut tensors = BTreeMap::new();
    for (name, tensor) in reader.map_err(|e| e.to_string())?.into_tensors() {
        let data = tensor.read().map_err(|e| e.to_string())?;
        tensors.insert(name, (dtype(tensor.dtype()), tensor.shape().to_vec(), data));
    }
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, data))| Ok((name, TensorView::new(*dtype, shape.clone(), data)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>();
    views.and_then(|views| safetensors::serialize(views, None)).map_err(|e| e.to_string())
}

/// Checks that a pickle holds dictionaries and tensors and nothing else; `place` is where it stands in the file.
#[cfg(feature = "pytorch")]
fn only_tensors(value: &pytorch_reader::PickleValue, place: &str) -> Result<(), String> {
    use pytorch_reader::PickleValue;
    let kind = match value {
        PickleValue::Dict(entries) => {
            let mut keys: Vec<&String> = entries.keys().filter(|key| *key != VERSIONS).collect();
            keys.sort();
            return keys.into_iter().try_for_each(|key| {
                let inner = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
                only_tensors(&entries[key], &inner)
            });
        }
        PickleValue::Unsupported(class) if class == "torch.Tensor" => return Ok(()),
        PickleValue::Unsupported(class) => class.as_str(),
        PickleValue::None => "None",
        PickleValue::Bool(_) => "a truth value",
        PickleValue::Int(_) | PickleValue::Float(_) => "a number",
        PickleValue::String(_) => "a text",
        PickleValue::List(_) => "a list",
        PickleValue::Bytes(_) => "bytes",
    };
    let place = if place.is_empty() { "its content" } else { &format!("`{place}`") };
    Err(format!(
        "{place} is {kind}, and only tensors in dictionaries are read; save the state dictionary alone with torch.save, or as `model.safetensors`"
    ))
}
