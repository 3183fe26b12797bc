//! A short name for a content: BLAKE3 of its canonical JSON.

use serde::{Deserialize, Serialize};

/// Hash of a value's canonical JSON (sorted keys), or of bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Fingerprint of a serializable value. Two values with equal JSON have equal fingerprints.
    pub fn of<T: Serialize>(value: &T) -> Self {
        Self::of_bytes(canonical(value).as_bytes())
    }

    /// What [`Self::of`] gives for a pair of lists, without holding more than one row of them as JSON at a time.
    pub fn of_lists<A: Serialize, B: Serialize>(first: &[A], second: &[B]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"[");
        update_list(&mut hasher, first);
        hasher.update(b",");
        update_list(&mut hasher, second);
        hasher.update(b"]");
        Self(hasher.finalize().to_hex()[..32].to_owned())
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

fn canonical<T: Serialize>(value: &T) -> String {
    // A value that serde cannot represent (a map with non-string keys) has no canonical form; the types of
    // this project have none, so that their JSON is always an object, a list or a scalar.
    serde_json::to_value(value).unwrap_or(serde_json::Value::Null).to_string()
}

fn update_list<T: Serialize>(hasher: &mut blake3::Hasher, rows: &[T]) {
    hasher.update(b"[");
    for (i, row) in rows.iter().enumerate() {
        if i > 0 {
            hasher.update(b",");
        }
        hasher.update(canonical(row).as_bytes());
    }
    hasher.update(b"]");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_hashed_row_by_row_have_the_fingerprint_of_the_pair() {
        #[derive(Serialize)]
        struct Row {
            text: String,
            at: Option<f64>,
            a: u8,
        }
        let row = |a: u8| Row { text: format!("\"{a}\" [,]"), at: (a > 1).then_some(0.5), a };
        for n in 0..4 {
            let (rows, names): (Vec<Row>, Vec<String>) = (0..n).map(|a| (row(a), a.to_string())).unzip();
            assert_eq!(Fingerprint::of_lists(&rows, &names), Fingerprint::of(&(&rows, &names)), "{n}");
            assert_eq!(Fingerprint::of_lists(&names, &rows[..0]), Fingerprint::of(&(&names, [0; 0])), "{n}");
        }
    }
}
