//! A codec as a directory: `codec.json` (kind, settings, fingerprint) and `codec.safetensors` (weights).

use crate::mel_rvq::MelRvqWeights;
use crate::{AudioCodec, CodecError, MelRvq};
use harmonica_config_schema::{CodecKind, Fingerprint, MelRvqConfig};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

const DESCRIPTION: &str = "codec.json";
const WEIGHTS: &str = "codec.safetensors";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format_version: u32,
    kind: CodecKind,
    fingerprint: Fingerprint,
    mel_rvq: MelRvqConfig,
}

/// Writes a codec to a directory, which is made if it is missing.
///
/// # Errors
/// A directory that cannot be written to.
pub fn save(codec: &MelRvq, dir: &Path) -> Result<(), CodecError> {
    let write_error = |path: &Path, source| CodecError::Write { path: path.to_owned(), source };
    std::fs::create_dir_all(dir).map_err(|e| write_error(dir, e))?;
    let config = codec.config();
    let stacked = config.stack * config.n_mels;
    let weights = codec.weights();
    let bytes = |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
    let tensors = [
        ("mean", vec![stacked], bytes(&weights.mean)),
        ("components", vec![config.n_components, stacked], bytes(&weights.components)),
        (
            "codebooks",
            vec![config.n_codebooks, config.codebook_size, config.n_components],
            bytes(&weights.codebooks.concat()),
        ),
    ];
    let invalid = |e: safetensors::SafeTensorError| std::io::Error::other(e.to_string());
    let path = dir.join(WEIGHTS);
    let serialized = tensors
        .iter()
        .map(|(name, shape, data)| Ok((*name, TensorView::new(Dtype::F32, shape.clone(), data)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .and_then(|views| safetensors::serialize(views, None))
        .map_err(|e| write_error(&path, invalid(e)))?;
    std::fs::write(&path, serialized).map_err(|e| write_error(&path, e))?;
    let description = Description {
        format_version: 1,
        kind: CodecKind::MelRvq,
        fingerprint: codec.fingerprint().clone(),
        mel_rvq: config.clone(),
    };
    let path = dir.join(DESCRIPTION);
    let json = serde_json::to_vec_pretty(&description).map_err(|e| write_error(&path, e.into()))?;
    std::fs::write(&path, json).map_err(|e| write_error(&path, e))
}

/// Opens the codec in a directory and checks its fingerprint.
///
/// # Errors
/// Files that are missing, damaged or of another version.
pub fn open(dir: &Path) -> Result<Arc<MelRvq>, CodecError> {
    let refuse = |file: &str, reason: String| CodecError::Read { path: dir.join(file), reason };
    let read = |file: &str| std::fs::read(dir.join(file)).map_err(|e| refuse(file, e.to_string()));
    let description: Description =
        serde_json::from_slice(&read(DESCRIPTION)?).map_err(|e| refuse(DESCRIPTION, e.to_string()))?;
    if description.format_version != 1 {
        let reason = format!("format version {} is not 1", description.format_version);
        return Err(refuse(DESCRIPTION, reason));
    }
    let bytes = read(WEIGHTS)?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| refuse(WEIGHTS, e.to_string()))?;
    let values = |name: &str| -> Result<Vec<f32>, CodecError> {
        let tensor = tensors.tensor(name).map_err(|e| refuse(WEIGHTS, e.to_string()))?;
        if tensor.dtype() != Dtype::F32 {
            return Err(refuse(WEIGHTS, format!("tensor `{name}` is not f32")));
        }
        let (words, _) = tensor.data().as_chunks::<4>();
        Ok(words.iter().map(|w| f32::from_le_bytes(*w)).collect())
    };
    let config = description.mel_rvq;
    let entry = config.codebook_size * config.n_components;
    let codebooks = values("codebooks")?.chunks(entry.max(1)).map(<[f32]>::to_vec).collect();
    let weights = MelRvqWeights { mean: values("mean")?, components: values("components")?, codebooks };
    let codec = MelRvq::from_weights(config, weights).map_err(|e| refuse(WEIGHTS, e.to_string()))?;
    if *codec.fingerprint() != description.fingerprint {
        let reason = format!("its fingerprint is {}, not {}", codec.fingerprint(), description.fingerprint);
        return Err(refuse(WEIGHTS, reason));
    }
    Ok(Arc::new(codec))
}
