//! A short name for a content: BLAKE3 of its canonical JSON.

use serde::{Deserialize, Serialize};

/// Hash of a value's canonical JSON (sorted keys), or of bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Fingerprint of a serializable value. Two values with equal JSON have equal fingerprints.
    pub fn of<T: Serialize>(value: &T) -> Self {
        // A value that serde cannot represent (a map with non-string keys) has no canonical form; the types of
        // this project have none, so that their JSON is always an object, a list or a scalar.
        let json = serde_json::to_value(value).unwrap_or(serde_json::Value::Null);
        Self::of_bytes(json.to_string().as_bytes())
    }

    /// Fingerprint of raw bytes.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).to_hex()[..32].to_owned())
    }

    /// The hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
