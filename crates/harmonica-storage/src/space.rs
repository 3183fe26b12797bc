//! Room on the disk, asked for before work begins rather than missed at its end.

use crate::{StorageError, scratch};
use std::path::Path;

/// Bytes that an unprivileged process may still write below `path`, which need not exist yet; `None` where the system does
/// not say.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let existing = path.ancestors().find(|path| path.exists()).unwrap_or_else(|| scratch::parent(path));
    #[cfg(unix)]
    {
        let status = rustix::fs::statvfs(existing).ok()?;
        Some(status.f_bavail.saturating_mul(status.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = existing;
        None
    }
}

/// Refuses to begin what the disk cannot hold. Where the system does not say how much is free, it passes.
///
/// # Errors
/// Less room than `needed_bytes`.
pub fn require_space(path: &Path, needed_bytes: u64) -> Result<(), StorageError> {
    match free_bytes(path) {
        Some(free_bytes) if free_bytes < needed_bytes => {
            Err(StorageError::NoSpace { path: path.to_owned(), needed_bytes, free_bytes })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_there_is_is_refused_with_both_figures() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c");
        require_space(&path, 1).unwrap();
        if free_bytes(&path).is_some() {
            let words = require_space(&path, u64::MAX).unwrap_err().to_string();
            assert!(words.contains(&u64::MAX.to_string()) && words.contains("are free"), "{words}");
        }
    }
}
