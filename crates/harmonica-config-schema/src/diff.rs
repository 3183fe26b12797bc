//! What differs between two configurations, key by key.

use crate::ExperimentConfig;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// One key whose value differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiffEntry {
    /// Dotted key.
    pub key: String,
    /// Value on the left side.
    pub left: Value,
    /// Value on the right side.
    pub right: Value,
}

/// All differing keys, sorted by name.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConfigDiff {
    /// The differing keys.
    pub entries: Vec<DiffEntry>,
}

impl ConfigDiff {
    /// Compares two resolved configurations.
    pub fn between(left: &ExperimentConfig, right: &ExperimentConfig) -> Self {
        let flatten = |config| flat_keys(&serde_json::to_value(config).unwrap_or(Value::Null));
        Self::between_maps(&flatten(left), &flatten(right))
    }

    /// Compares two flat key/value maps.
    pub fn between_maps(left: &BTreeMap<String, Value>, right: &BTreeMap<String, Value>) -> Self {
        let keys: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
        let value =
            |map: &BTreeMap<String, Value>, key: &String| map.get(key).cloned().unwrap_or(Value::Null);
        let entries = keys
            .into_iter()
            .map(|key| DiffEntry { key: key.clone(), left: value(left, key), right: value(right, key) })
            .filter(|entry| entry.left != entry.right)
            .collect();
        Self { entries }
    }
}

/// Every value of nested tables by its dotted key.
pub fn flat_keys(value: &Value) -> BTreeMap<String, Value> {
    let mut flat = BTreeMap::new();
    flatten_into(value, String::new(), &mut flat);
    flat
}

fn flatten_into(value: &Value, path: String, out: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten_into(inner, path, out);
            }
        }
        leaf => {
            out.insert(path, leaf.clone());
        }
    }
}
