//! One directory that speaks: weights of both models, codec, vocabulary, contracts, voices.
//!
//! Written beside and renamed. Invariant: what opens is hashed, complete and belongs together.

use crate::InferenceError;
use harmonica_codec::{AudioCodec, MelRvq};
use harmonica_config_schema::{ArModelConfig, DecodeConfig, Fingerprint, NarModelConfig};
use harmonica_model_core::{InterfaceContract, WeightStore};
use harmonica_text::{NORMALIZER_VERSION, Vocab};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `bundle.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleManifest {
    /// Version of this record.
    pub format_version: u32,
    /// Experiment that it comes from.
    pub name: String,
    /// Fingerprint of its configuration.
    pub config: Fingerprint,
    /// Shape of the AR model.
    pub ar: ArModelConfig,
    /// Shape of the NAR model.
    pub nar: NarModelConfig,
    /// Contract of the AR model.
    pub ar_contract: InterfaceContract,
    /// Contract of the NAR model.
    pub nar_contract: InterfaceContract,
    /// Text symbols.
    pub vocab: Vocab,
    /// Voices, in the order of their speaker ids.
    pub voices: Vec<String>,
    /// The only words that it was trained on, if they are few; other words warn.
    pub known_words: Option<Vec<String>>,
    /// Decode settings, chosen on validation.
    pub decode: DecodeConfig,
    /// Updates of the AR and the NAR model.
    pub updates: [u64; 2],
    /// BLAKE3 of every other file.
    pub files: BTreeMap<String, String>,
}

/// What a bundle is made of.
#[derive(Debug, Clone)]
pub struct BundleParts {
    /// Everything but `files`, which is computed.
    pub manifest: BundleManifest,
    /// Averaged AR weights.
    pub ar: WeightStore,
    /// Averaged NAR weights.
    pub nar: WeightStore,
    /// Codec directory.
    pub codec_dir: PathBuf,
}

/// Where a bundle was opened, and which one it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleOrigin {
    /// Its directory as given.
    pub path: String,
    /// Its directory from the root.
    pub absolute_path: String,
    /// BLAKE3 of `bundle.json`, which holds the hash of every other file.
    pub blake3: String,
}

impl BundleOrigin {
    fn new(dir: &Path, manifest: &[u8]) -> Self {
        let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        Self {
            path: dir.display().to_string(),
            absolute_path: absolute.display().to_string(),
            blake3: blake3::hash(manifest).to_string(),
        }
    }
}

/// An open bundle.
#[derive(Clone)]
pub struct Bundle {
    /// Where it was opened.
    pub origin: BundleOrigin,
    /// What it is.
    pub manifest: BundleManifest,
    /// AR weights.
    pub ar: WeightStore,
    /// NAR weights.
    pub nar: WeightStore,
    /// Codec.
    pub codec: Arc<MelRvq>,
}

const CODEC_FILES: [&str; 2] = ["codec.json", "codec.safetensors"];

impl Bundle {
    /// Writes a bundle with f16 weights, replacing what was at `dir`.
    ///
    /// # Errors
    /// A directory that cannot be written to, or a codec that cannot be read.
    pub fn write(parts: &BundleParts, dir: &Path) -> Result<(), InferenceError> {
        let failed = |path: &Path, source| InferenceError::Write { path: path.to_owned(), source };
        if dir.exists() && !dir.join("bundle.json").exists() {
            let mut entries = std::fs::read_dir(dir).map_err(|e| failed(dir, e))?;
            if entries.next().is_some() {
                let reason = "it holds files that are no bundle; choose another directory".to_owned();
                return Err(InferenceError::Bundle { path: dir.to_owned(), reason });
            }
        }
        let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).map_err(|e| failed(parent, e))?;
        let beside =
            tempfile::Builder::new().prefix(".bundle-").tempdir_in(parent).map_err(|e| failed(parent, e))?;
        let codec_dir = beside.path().join("codec");
        std::fs::create_dir(&codec_dir).map_err(|e| failed(&codec_dir, e))?;
        for name in CODEC_FILES {
            let from = parts.codec_dir.join(name);
            std::fs::copy(&from, codec_dir.join(name)).map_err(|e| InferenceError::Bundle {
                path: from.clone(),
                reason: format!("the codec file cannot be copied: {e}"),
            })?;
        }
        parts.ar.save(&beside.path().join("ar.safetensors"), true)?;
        parts.nar.save(&beside.path().join("nar.safetensors"), true)?;
        let mut manifest = parts.manifest.clone();
        for name in files() {
            let path = beside.path().join(&name);
            let bytes = std::fs::read(&path).map_err(|e| failed(&path, e))?;
            manifest.files.insert(name, blake3::hash(&bytes).to_string());
        }
        let json = serde_json::to_vec_pretty(&manifest).map_err(|e| failed(dir, e.into()))?;
        std::fs::write(beside.path().join("bundle.json"), json).map_err(|e| failed(dir, e))?;
        if dir.exists() {
            std::fs::remove_dir_all(dir).map_err(|e| failed(dir, e))?;
        }
        std::fs::rename(beside.keep(), dir).map_err(|e| failed(dir, e))
    }

    /// Opens a bundle and checks that its parts are whole and belong together.
    ///
    /// # Errors
    /// Files that are missing or damaged, or parts that do not belong together, with every violated field.
    pub fn open(dir: &Path) -> Result<Self, InferenceError> {
        let refuse = |name: &str, reason: String| InferenceError::Bundle { path: dir.join(name), reason };
        let bytes =
            std::fs::read(dir.join("bundle.json")).map_err(|e| refuse("bundle.json", e.to_string()))?;
        let manifest: BundleManifest =
            serde_json::from_slice(&bytes).map_err(|e| refuse("bundle.json", e.to_string()))?;
        if manifest.format_version != 1 {
            return Err(refuse(
                "bundle.json",
                format!("format version {} is not 1", manifest.format_version),
            ));
        }
        for name in files() {
            let bytes = std::fs::read(dir.join(&name)).map_err(|e| refuse(&name, e.to_string()))?;
            let wanted = manifest.files.get(&name);
            if wanted != Some(&blake3::hash(&bytes).to_string()) {
                return Err(refuse(&name, "it does not match the hash in bundle.json".into()));
            }
        }
        let codec = harmonica_codec::open(&dir.join("codec"))?;
        manifest.ar_contract.check_nar(&manifest.nar_contract)?;
        manifest.ar_contract.check_codec(codec.spec(), codec.fingerprint())?;
        manifest.ar_contract.check_text(&manifest.vocab.fingerprint(), NORMALIZER_VERSION)?;
        Ok(Self {
            origin: BundleOrigin::new(dir, &bytes),
            ar: WeightStore::read(&dir.join("ar.safetensors"))?,
            nar: WeightStore::read(&dir.join("nar.safetensors"))?,
            codec,
            manifest,
        })
    }
}

fn files() -> Vec<String> {
    let codec = CODEC_FILES.iter().map(|name| format!("codec/{name}"));
    codec.chain(["ar.safetensors".into(), "nar.safetensors".into()]).collect()
}
