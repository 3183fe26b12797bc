//! A codec as a sealed directory: `codec.json` (kind, settings, fingerprint) and `codec.safetensors` (weights).

use crate::encodec_files::{self, open_encodec};
use crate::linear_maps::CONTEXT;
use crate::mel_rvq::MelRvqWeights;
use crate::{AudioCodec, CodecError, CodecTokens, MelRvq};
use half::f16;
use harmonica_config_schema::{CodecKind, CodecSpec, Fingerprint, MelRvqConfig};
use harmonica_storage::{FileCheck, Sealed, Staged, StorageError, publish};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

pub(crate) const DESCRIPTION: &str = "codec.json";
/// 2: weights in f16, synthesis in context.
pub(crate) const FORMAT_VERSION: u32 = 2;
const WEIGHTS: &str = "codec.safetensors";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format_version: u32,
    kind: CodecKind,
    fingerprint: Fingerprint,
    mel_rvq: MelRvqConfig,
}

/// What every kind of codec says of itself.
#[derive(Debug, Deserialize)]
struct Kind {
    kind: CodecKind,
}

/// Writes a codec to a directory, in the place of a codec that stood there.
///
/// # Errors
/// A directory that cannot be written to or that holds something else.
pub fn save(codec: &MelRvq, dir: &Path) -> Result<(), CodecError> {
    let config = codec.config();
    let stacked = config.stack * config.n_mels;
    let weights = codec.weights();
    // A fit rounds to f16, so nothing is lost here.
    let bytes =
        |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect() };
    let tensors = [
        ("mean", vec![stacked], bytes(&weights.mean)),
        ("analysis", vec![config.n_components, stacked], bytes(&weights.analysis)),
        ("synthesis", vec![CONTEXT * config.n_components, stacked], bytes(&weights.synthesis)),
        (
            "codebooks",
            vec![config.n_codebooks, config.codebook_size, config.n_components],
            bytes(&weights.codebooks.concat()),
        ),
    ];
    let serialized = tensors
        .iter()
        .map(|(name, shape, data)| Ok((*name, TensorView::new(Dtype::F16, shape.clone(), data)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .and_then(|views| safetensors::serialize(views, None))
        .map_err(|e| StorageError::encode(&dir.join(WEIGHTS), e))?;
    let description = Description {
        format_version: FORMAT_VERSION,
        kind: CodecKind::MelRvq,
        fingerprint: codec.fingerprint().clone(),
        mel_rvq: config.clone(),
    };
    let json = serde_json::to_vec_pretty(&description)
        .map_err(|e| StorageError::encode(&dir.join(DESCRIPTION), e))?;
    let mut staged = Staged::begin_in_place_of(dir, DESCRIPTION, "codec")?;
    staged.file(WEIGHTS, &serialized)?;
    staged.file(DESCRIPTION, &json)?;
    Ok(staged.commit()?)
}

/// Opens the codec in a directory, of whatever kind: one of this crate's own, of which every byte is checked, or an EnCodec model as it
/// was published, also by the name of its repository.
///
/// # Errors
/// Files that are missing, damaged or of another version.
pub fn open(dir: &Path) -> Result<Arc<dyn AudioCodec>, CodecError> {
    match kind(dir)? {
        CodecKind::MelRvq => Ok(open_mel_rvq(dir)?),
        CodecKind::EnCodec => Ok(open_encodec(dir, None)?),
    }
}

/// The kind of codec that stands in a directory.
pub(crate) fn kind(dir: &Path) -> Result<CodecKind, CodecError> {
    if encodec_files::is_published(dir) || encodec_files::is_repository(dir)? {
        return Ok(CodecKind::EnCodec);
    }
    let description: Kind = serde_json::from_slice(&read_sealed(dir, DESCRIPTION)?)
        .map_err(|e| CodecError::Read { path: dir.join(DESCRIPTION), reason: e.to_string() })?;
    Ok(description.kind)
}

/// A file of a sealed codec.
pub(crate) fn read_sealed(dir: &Path, file: &str) -> Result<Vec<u8>, CodecError> {
    let damaged = |check: FileCheck| CodecError::Read { path: dir.to_owned(), reason: check.to_string() };
    Sealed::open(dir).map_err(damaged)?.read(file).map_err(damaged)
}

/// Opens a fitted codec and checks every byte of it.
///
/// # Errors
/// Files that are missing, damaged or of another version, or a codec of another kind.
pub fn open_mel_rvq(dir: &Path) -> Result<Arc<MelRvq>, CodecError> {
    let found = kind(dir)?;
    if found != CodecKind::MelRvq {
        let (found, asked) = (found.name().to_owned(), CodecKind::MelRvq.name().to_owned());
        return Err(CodecError::Kind { path: dir.to_owned(), found, asked });
    }
    open_bytes(dir, &read_sealed(dir, DESCRIPTION)?, &read_sealed(dir, WEIGHTS)?)
}

/// As [`open_mel_rvq`], of the bytes of `codec.json` and `codec.safetensors`; `dir` stands for them in errors.
///
/// # Errors
/// Files that are damaged or of another version.
pub fn open_bytes(dir: &Path, description: &[u8], weights: &[u8]) -> Result<Arc<MelRvq>, CodecError> {
    let refuse = |file: &str, reason: String| CodecError::Read { path: dir.join(file), reason };
    let description: Description =
        serde_json::from_slice(description).map_err(|e| refuse(DESCRIPTION, e.to_string()))?;
    if description.format_version != FORMAT_VERSION {
        let reason = format!("format version {} is not {FORMAT_VERSION}", description.format_version);
        return Err(refuse(DESCRIPTION, reason));
    }
    let config = description.mel_rvq;
    config.validate().map_err(|e| {
        let problems: Vec<String> =
            e.problems.iter().map(harmonica_config_schema::Problem::message).collect();
        refuse(DESCRIPTION, problems.join("; "))
    })?;
    let tensors = SafeTensors::deserialize(weights).map_err(|e| refuse(WEIGHTS, e.to_string()))?;
    let values = |name: &str, shape: &[usize]| -> Result<Vec<f32>, CodecError> {
        let tensor = tensors.tensor(name).map_err(|e| refuse(WEIGHTS, e.to_string()))?;
        if tensor.dtype() != Dtype::F16 || tensor.shape() != shape {
            let found = (tensor.dtype(), tensor.shape());
            return Err(refuse(WEIGHTS, format!("tensor `{name}` is {found:?}, not f16 of shape {shape:?}")));
        }
        let (words, _) = tensor.data().as_chunks::<2>();
        Ok(words.iter().map(|w| f16::from_le_bytes(*w).to_f32()).collect())
    };
    let (stacked, width) = (config.stack * config.n_mels, config.n_components);
    let shape = [config.n_codebooks, config.codebook_size, width];
    let codebooks =
        values("codebooks", &shape)?.chunks_exact(shape[1] * width).map(<[f32]>::to_vec).collect();
    let weights = MelRvqWeights {
        mean: values("mean", &[stacked])?,
        analysis: values("analysis", &[width, stacked])?,
        synthesis: values("synthesis", &[CONTEXT * width, stacked])?,
        codebooks,
    };
    let codec = MelRvq::from_weights(config, weights).map_err(|e| refuse(WEIGHTS, e.to_string()))?;
    if *codec.fingerprint() != description.fingerprint {
        let reason = format!("its fingerprint is {}, not {}", codec.fingerprint(), description.fingerprint);
        return Err(refuse(WEIGHTS, reason));
    }
    Ok(Arc::new(codec))
}

/// Writes tokens as safetensors: `codes`, int32 `[Q, T]`, and `n_samples`, int32 `[1]`.
///
/// # Errors
/// A path that cannot be written to.
pub fn write_tokens(tokens: &CodecTokens, path: &Path) -> Result<(), CodecError> {
    let codes: Vec<u8> = tokens.codes().iter().flat_map(|c| i32::from(*c).to_le_bytes()).collect();
    let n_samples = (tokens.n_samples() as i32).to_le_bytes();
    let shape = vec![tokens.n_codebooks(), tokens.n_frames()];
    let views = TensorView::new(Dtype::I32, shape, &codes).and_then(|codes| {
        Ok([("codes", codes), ("n_samples", TensorView::new(Dtype::I32, vec![1], &n_samples)?)])
    });
    let bytes = views
        .and_then(|views| safetensors::serialize(views, None))
        .map_err(|e| StorageError::encode(path, e))?;
    Ok(publish(path, &bytes)?)
}

/// Reads tokens that [`write_tokens`] wrote; without `n_samples` they stand for whole frames.
///
/// # Errors
/// A file that is missing, damaged or holds codes of another codec.
pub fn read_tokens(path: &Path, spec: &CodecSpec) -> Result<CodecTokens, CodecError> {
    let bytes =
        std::fs::read(path).map_err(|e| CodecError::Read { path: path.to_owned(), reason: e.to_string() })?;
    parse_tokens(path, &bytes, spec)
}

/// As [`read_tokens`], of a file's bytes; `path` stands for them in errors.
///
/// # Errors
/// Bytes that are damaged or hold codes of another codec.
pub fn parse_tokens(path: &Path, bytes: &[u8], spec: &CodecSpec) -> Result<CodecTokens, CodecError> {
    let refuse = |reason: String| CodecError::Read { path: path.to_owned(), reason };
    let file = SafeTensors::deserialize(bytes).map_err(|e| refuse(e.to_string()))?;
    let ints = |name: &str| -> Result<(Vec<i32>, Vec<usize>), CodecError> {
        let tensor = file.tensor(name).map_err(|e| refuse(e.to_string()))?;
        if tensor.dtype() != Dtype::I32 {
            return Err(refuse(format!("tensor `{name}` is not int32")));
        }
        let values = tensor.data().as_chunks::<4>().0.iter().map(|w| i32::from_le_bytes(*w)).collect();
        Ok((values, tensor.shape().to_vec()))
    };
    let (codes, shape) = ints("codes")?;
    let [n_codebooks, _] = shape[..] else {
        return Err(refuse(format!("`codes` has shape {shape:?}, not [Q, T]")));
    };
    let codes = codes
        .into_iter()
        .map(|c| u16::try_from(c).map_err(|_| refuse(format!("code {c} is out of range"))))
        .collect::<Result<_, _>>()?;
    let n_samples = ints("n_samples").ok().and_then(|(n, _)| usize::try_from(*n.first()?).ok());
    // Without a length they stand for whole frames: the most that there can be.
    CodecTokens::new(codes, n_codebooks, n_samples.unwrap_or(usize::MAX), spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest codec that the settings allow, as its two files.
    fn files() -> (String, Vec<u8>) {
        let config = MelRvqConfig {
            fft_samples: 256,
            window_samples: 256,
            step_samples: 64,
            stack: 1,
            n_mels: 20,
            n_components: 4,
            n_codebooks: 2,
            codebook_size: 2,
            ..Default::default()
        };
        let weights = MelRvqWeights {
            mean: vec![0.0; 20],
            analysis: vec![0.5; 80],
            synthesis: vec![0.5; 240],
            codebooks: vec![vec![0.5; 8]; 2],
        };
        let dir = tempfile::tempdir().unwrap();
        save(&MelRvq::from_weights(config, weights).unwrap(), dir.path()).unwrap();
        let description = std::fs::read_to_string(dir.path().join(DESCRIPTION)).unwrap();
        (description, std::fs::read(dir.path().join(WEIGHTS)).unwrap())
    }

    #[test]
    fn settings_that_no_configuration_may_have_are_refused_by_name() {
        let (description, weights) = files();
        open_bytes(Path::new("codec"), description.as_bytes(), &weights).unwrap();
        for (key, right, wrong) in [
            ("window_samples", "256", "4096"),
            ("step_samples", "64", "0"),
            ("stack", "1", "0"),
            ("n_codebooks", "2", "0"),
            ("sample_rate_hz", "16000", "0"),
        ] {
            let pair = |value: &str| format!("\"{key}\": {value},");
            let changed = description.replace(&pair(right), &pair(wrong));
            assert_ne!(changed, description, "{key}");
            let error = open_bytes(Path::new("codec"), changed.as_bytes(), &weights).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains("codec.json"), "{error}");
        }
    }

    #[test]
    fn tensors_of_another_shape_are_refused_by_name() {
        let (description, weights) = files();
        // As many elements, so that only the shape is wrong; the header keeps its length.
        let header = String::from_utf8_lossy(&weights[8..]).into_owned();
        let at = 8 + header.find("[4,20]").unwrap();
        let mut changed = weights.clone();
        changed[at..at + 6].copy_from_slice(b"[20,4]");
        let error = open_bytes(Path::new("codec"), description.as_bytes(), &changed).unwrap_err().to_string();
        assert!(error.contains("`analysis`") && error.contains("[20, 4]"), "{error}");
    }

    #[test]
    fn tokens_of_no_codebook_and_countless_frames_are_refused() {
        let shape = vec![0, 1 << 62];
        let view = TensorView::new(Dtype::I32, shape, &[]).unwrap();
        let bytes = safetensors::serialize([("codes", view)], None).unwrap();
        let spec = MelRvqConfig::default().spec();
        let error = parse_tokens(Path::new("tokens"), &bytes, &spec).unwrap_err().to_string();
        assert!(error.contains("0 codebooks"), "{error}");
    }
}
