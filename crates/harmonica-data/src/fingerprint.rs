//! What a token cache was made from, key by key, so that a stale one can be refused by name.

use crate::DataError;
use crate::cache::FINGERPRINT;
use harmonica_codec::AudioCodec;
use harmonica_config_schema::{ConfigDiff, DataConfig, ExperimentConfig, Fingerprint};
use harmonica_text::{NORMALIZER_VERSION, Vocab};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Every key that decides a cache's bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CacheFingerprint {
    /// Key to value.
    pub keys: BTreeMap<String, Value>,
}

impl CacheFingerprint {
    /// Fingerprint of the cache that this configuration, codec, vocabulary and corpus would make.
    ///
    /// # Errors
    /// A file that the settings name and that cannot be read.
    pub fn new(
        config: &ExperimentConfig,
        codec: &dyn AudioCodec,
        vocab: &Vocab,
        manifest: &Fingerprint,
    ) -> Result<Self, DataError> {
        let DataConfig { audio, quality, split, .. } = &config.data;
        let json = |value: Result<Value, serde_json::Error>| value.unwrap_or(Value::Null);
        let mut keys = BTreeMap::new();
        let groups = [
            ("audio", json(serde_json::to_value(audio))),
            ("quality", json(serde_json::to_value(quality))),
            ("split", json(serde_json::to_value(split))),
        ];
        for (group, value) in groups {
            if let Value::Object(map) = value {
                keys.extend(map.into_iter().map(|(key, value)| (format!("{group}.{key}"), value)));
            }
        }
        // What the files say counts, not where they are.
        for (key, path) in [
            ("quality.overrides", &quality.overrides),
            ("split.valid_list", &split.valid_list),
            ("split.test_list", &split.test_list),
        ] {
            keys.insert(key.into(), content_hash(path)?.into());
        }
        keys.insert("codec.fingerprint".into(), codec.fingerprint().as_str().into());
        keys.insert("codec.sample_rate_hz".into(), codec.spec().sample_rate_hz.into());
        keys.insert("text.normalizer".into(), NORMALIZER_VERSION.into());
        keys.insert("text.vocabulary".into(), vocab.fingerprint().as_str().into());
        let (ar, nar) = (&config.model.ar, &config.model.nar);
        keys.insert("model.max_frames".into(), ar.max_frames.min(nar.max_frames).into());
        keys.insert("model.max_text_symbols".into(), ar.max_text_symbols.min(nar.max_text_symbols).into());
        keys.insert("corpus.manifest".into(), manifest.as_str().into());
        Ok(Self { keys })
    }

    /// The fingerprint of the cache at a place, if one can be read there.
    pub fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(dir.join(FINGERPRINT)).ok()?).ok()
    }

    /// Each key that differs, with both values, in words.
    pub fn differences(&self, wanted: &Self) -> Vec<String> {
        ConfigDiff::between_maps(&self.keys, &wanted.keys)
            .entries
            .into_iter()
            .map(|entry| {
                format!("it was built with {} = {}, this run wants {}", entry.key, entry.left, entry.right)
            })
            .collect()
    }

    /// One hash over all keys.
    pub fn digest(&self) -> Fingerprint {
        Fingerprint::of(self)
    }
}

/// Hash of a file that a setting names; empty where it names none.
fn content_hash(path: &str) -> Result<String, DataError> {
    if path.is_empty() {
        return Ok(String::new());
    }
    let bytes = std::fs::read(path).map_err(|source| DataError::Read { path: path.into(), source })?;
    Ok(Fingerprint::of_bytes(&bytes).as_str().to_owned())
}
