//! Names from outside that become names of files.
//!
//! Invariant: a name that passes leads to its own directory's content and nowhere else, on every system.

use std::path::{Component, Path};

/// Whether a name is a plain file name: letters, digits, `-`, `_` and `.`, not hidden, at most 200 bytes.
pub fn is_plain_name(name: &str) -> bool {
    let is_safe = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.len() <= 200 && !name.starts_with('.') && name.chars().all(is_safe)
}

/// Whether a relative path names something within its directory: it has parts, and none leads up or to a root.
pub fn stays_inside(path: &Path) -> bool {
    path.file_name().is_some() && path.components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_do_not_pass() {
        for name in ["a", "slt-train-0001", "\u{e9}t\u{e9}.wav", "a..b"] {
            assert!(is_plain_name(name) && stays_inside(Path::new(name)), "{name}");
        }
        for name in ["", ".", "..", ".hidden", "a/b", "a\\b", "a b", "a\0", &"x".repeat(201)] {
            assert!(!is_plain_name(name), "{name:?}");
        }
        assert!(stays_inside(Path::new("wavs/a.wav")));
        for path in ["", "..", "../a", "/etc/hostname", "a/../../b"] {
            assert!(!stays_inside(Path::new(path)), "{path:?}");
        }
    }
}
