//! What one value demands of another: the checks that no single key's range can express.
//!
//! In: a configuration; out: each broken relation with the keys that take part in it. Ranges of single keys stand as
//! attributes on the fields (see `schema.rs`). Invariant: a relation names every key that could repair it.

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;

/// A configuration that can be loaded from layers and checked.
pub(crate) trait Checked: Default + Serialize + DeserializeOwned + JsonSchema + 'static {
    /// Reports every broken relation; `at` is the dotted place of this configuration in the whole, empty for the root.
    fn relations(&self, at: &str, relations: &mut Relations);
}

/// A value that does not fit the values of other keys.
#[derive(Debug)]
pub(crate) struct BrokenRelation {
    /// The key that the message is about.
    pub(crate) key: String,
    /// Its value.
    pub(crate) value: String,
    /// What would fit.
    pub(crate) allowed: String,
    /// The keys it must fit.
    pub(crate) others: Vec<String>,
}

/// Collects broken relations, so that all of them are reported together.
#[derive(Debug, Default)]
pub(crate) struct Relations {
    /// What was found.
    pub(crate) broken: Vec<BrokenRelation>,
}

impl Relations {
    /// Requires that `name` in table `at` fits the `others` of the same table.
    pub(crate) fn require(
        &mut self,
        holds: bool,
        at: &str,
        name: &str,
        value: impl Display,
        allowed: String,
        others: &[&str],
    ) {
        if !holds {
            let key = |name: &str| format!("{at}.{name}");
            self.broken.push(BrokenRelation {
                key: key(name),
                value: value.to_string(),
                allowed,
                others: others.iter().map(|name| key(name)).collect(),
            });
        }
    }
}
