//! What a token cache was made from, key by key, so that a stale one can be refused by name.

use harmonica_codec::AudioCodec;
use harmonica_config_schema::{ConfigDiff, DataConfig, ExperimentConfig, Fingerprint};
use harmonica_text::{NORMALIZER_VERSION, Vocab};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Every key that decides a cache's bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CacheFingerprint {
    /// Key to value.
    pub keys: BTreeMap<String, Value>,
}

impl CacheFingerprint {
    /// Fingerprint of the cache that this configuration, codec, vocabulary and corpus would make.
    pub fn new(
        config: &ExperimentConfig,
        codec: &dyn AudioCodec,
        vocab: &Vocab,
        manifest: &Fingerprint,
    ) -> Self {
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
        keys.insert("codec.fingerprint".into(), codec.fingerprint().as_str().into());
        keys.insert("codec.sample_rate_hz".into(), codec.spec().sample_rate_hz.into());
        keys.insert("text.normalizer".into(), NORMALIZER_VERSION.into());
        keys.insert("text.vocabulary".into(), vocab.fingerprint().as_str().into());
        let (ar, nar) = (&config.model.ar, &config.model.nar);
        keys.insert("model.max_frames".into(), ar.max_frames.min(nar.max_frames).into());
        keys.insert("model.max_text_symbols".into(), ar.max_text_symbols.min(nar.max_text_symbols).into());
        keys.insert("corpus.manifest".into(), manifest.as_str().into());
        Self { keys }
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
