//! EnCodec models as directories: as they were published (`config.json` and weights), or sealed with a `codec.json` that says how many codebooks are
//! used. `hf://org/name` stands for the directory of that repository in the cache of the Hugging Face hub.
//!
//! Invariant: the sealed form holds the published files byte by byte, or what a PyTorch file holds as safetensors, so that both have the same
//! fingerprint.

use crate::storage::{DESCRIPTION, FORMAT_VERSION, read_sealed};
use crate::{CodecError, EnCodec, EnCodecConfig, pytorch_file};
use harmonica_config_schema::{CodecKind, Fingerprint};
use harmonica_storage::{Hub, Repository, Staged, StorageError};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
/// Bandwidth where nobody names one.
const DEFAULT_KBPS: f64 = 6.0;

/// `codec.json` of a sealed EnCodec model.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format_version: u32,
    kind: CodecKind,
    fingerprint: Fingerprint,
    n_codebooks: usize,
}

/// How many codebooks are used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bandwidth {
    /// As many as fit.
    Kbps(f64),
    /// So many.
    Codebooks(usize),
}

/// The directory of a model: it itself, or that of a repository.
fn located(place: &Path) -> Result<PathBuf, CodecError> {
    Ok(Hub::from_environment().locate(place, &[&[CONFIG], &[WEIGHTS, pytorch_file::NAME]])?)
}

/// Whether a place is a repository by its name.
pub(crate) fn is_repository(place: &Path) -> Result<bool, CodecError> {
    Ok(Repository::parse(place)?.is_some())
}

/// The published weights as safetensors, and the file that they stand in.
fn published_weights(dir: &Path) -> Result<(Vec<u8>, PathBuf), CodecError> {
    let weights = dir.join(WEIGHTS);
    if !weights.exists()
        && let Some(file) = pytorch_file::find(dir)
    {
        let bytes = pytorch_file::to_safetensors(&file)
            .map_err(|e| refused(dir, format!("`{}`: {e}", file.display())))?;
        return Ok((bytes, file));
    }
    let bytes = std::fs::read(&weights).map_err(|e| refused(dir, format!("cannot read `{WEIGHTS}`: {e}")))?;
    Ok((bytes, weights))
}

/// Whether a directory holds a model as it was published.
pub(crate) fn is_published(dir: &Path) -> bool {
    dir.join(CONFIG).is_file() && !dir.join(DESCRIPTION).exists()
}

struct Files {
    config: Vec<u8>,
    weights: Vec<u8>,
    /// Where the weights stand.
    weights_file: PathBuf,
    /// What the sealed form says of itself.
    description: Option<Description>,
}

fn read(dir: &Path) -> Result<Files, CodecError> {
    if is_published(dir) {
        let config = std::fs::read(dir.join(CONFIG))
            .map_err(|e| refused(dir, format!("cannot read `{CONFIG}`: {e}")))?;
        let (weights, weights_file) = published_weights(dir)?;
        return Ok(Files { config, weights, weights_file, description: None });
    }
    let description: Description = serde_json::from_slice(&read_sealed(dir, DESCRIPTION)?)
        .map_err(|e| refused(dir, format!("`{DESCRIPTION}`: {e}")))?;
    if description.format_version != FORMAT_VERSION {
        let reason = format!("format version {} is not {FORMAT_VERSION}", description.format_version);
        return Err(refused(dir, reason));
    }
    let (config, weights) = (read_sealed(dir, CONFIG)?, read_sealed(dir, WEIGHTS)?);
    Ok(Files { config, weights, weights_file: dir.join(WEIGHTS), description: Some(description) })
}

fn refused(dir: &Path, reason: String) -> CodecError {
    CodecError::EnCodecModel { path: dir.to_owned(), reason }
}

fn build(dir: &Path, files: &Files, bandwidth: Option<Bandwidth>) -> Result<EnCodec, CodecError> {
    let config = EnCodecConfig::parse(&files.config).map_err(|e| refused(dir, format!("`{CONFIG}`: {e}")))?;
    if config.audio_channels != 1 || config.normalize || config.chunk_length_s.is_some() {
        return Err(refused(
            dir,
            "its chunks carry scales beside their codes, and tokens have no place for them".into(),
        ));
    }
    let n_codebooks = match (bandwidth, &files.description) {
        (Some(Bandwidth::Codebooks(n)), _) => n,
        (Some(Bandwidth::Kbps(kbps)), _) => config.codebooks_within(kbps),
        (None, Some(description)) => description.n_codebooks,
        (None, None) => config.codebooks_within(DEFAULT_KBPS),
    };
    let codec = EnCodec::from_bytes(config, &files.weights)
        .map_err(|e| refused(dir, format!("`{}`: {e}", files.weights_file.display())))?;
    codec.with_codebooks(n_codebooks)
}

/// Opens an EnCodec model, as it was published, as `hf://org/name[@revision]`, or sealed; without a bandwidth, in the one that was sealed with it, or 6 kbit/s.
///
/// # Errors
/// Files that are missing or damaged, naming the key or the tensor, or a model whose chunks carry scales.
pub fn open_encodec(dir: &Path, bandwidth: Option<Bandwidth>) -> Result<Arc<EnCodec>, CodecError> {
    let dir = &located(dir)?;
    let found = crate::storage::kind(dir)?;
    if found != CodecKind::EnCodec {
        let (found, asked) = (found.name().to_owned(), CodecKind::EnCodec.name().to_owned());
        return Err(CodecError::Kind { path: dir.to_owned(), found, asked });
    }
    let files = read(dir)?;
    let codec = build(dir, &files, bandwidth)?;
    if bandwidth.is_none()
        && let Some(description) = &files.description
        && description.fingerprint != codec.fingerprint
    {
        let reason = format!("its fingerprint is {}, not {}", codec.fingerprint, description.fingerprint);
        return Err(refused(dir, reason));
    }
    Ok(Arc::new(codec))
}

/// Seals an EnCodec model with its number of codebooks, in the place of a codec that stood at `output`.
///
/// # Errors
/// A model that cannot be opened, or a directory that cannot be written to or holds something else.
pub fn import_encodec(
    dir: &Path,
    bandwidth: Option<Bandwidth>,
    output: &Path,
) -> Result<Arc<EnCodec>, CodecError> {
    let dir = &located(dir)?;
    let files = read(dir)?;
    let codec = build(dir, &files, bandwidth)?;
    let description = Description {
        format_version: FORMAT_VERSION,
        kind: CodecKind::EnCodec,
        fingerprint: codec.fingerprint.clone(),
        n_codebooks: codec.spec.n_codebooks,
    };
    let json = serde_json::to_vec_pretty(&description)
        .map_err(|e| StorageError::encode(&output.join(DESCRIPTION), e))?;
    let mut staged = Staged::begin_in_place_of(output, DESCRIPTION, "codec")?;
    staged.file(CONFIG, &files.config)?;
    staged.file(WEIGHTS, &files.weights)?;
    staged.file(DESCRIPTION, &json)?;
    staged.commit()?;
    Ok(Arc::new(codec))
}
