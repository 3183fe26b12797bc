//! Places where a test ends the process, or where the disk fills up, to see what is left behind.
//!
//! In: the environment.
//! - `HARMONICA_FAILPOINT=<name>:<count>` aborts once `name` has been done for the `count`-th time.
//! - `HARMONICA_FAILPOINT_TRACE=<file>` writes the name of everything that is done.
//! - `HARMONICA_DISK=full:<n>` or `read-only:<n>` lets the `n`-th operation and every later one fail, as such a disk does.
//!
//! A name is `<operation>@<file>`, such as `fsync@model.safetensors`. Invariant: without the feature `failpoints`, which only
//! tests switch on, nothing of this is compiled in.

use std::io::Result;
use std::path::Path;

#[cfg(not(feature = "failpoints"))]
pub(crate) fn before(_operation: &str, _path: &Path) -> Result<()> {
    Ok(())
}

#[cfg(not(feature = "failpoints"))]
pub(crate) fn done(_operation: &str, _path: &Path) {}

#[cfg(feature = "failpoints")]
pub(crate) use with_feature::{before, done};

#[cfg(feature = "failpoints")]
mod with_feature {
    use super::{Path, Result};
    use std::collections::BTreeMap;
    use std::io::{Error, ErrorKind, Write};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Mutex, PoisonError};

    fn name(operation: &str, path: &Path) -> String {
        let file = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        format!("{operation}@{}", crate::scratch::purpose(&file).unwrap_or(&file))
    }

    /// Says that `operation` on `path` is about to be done; an error is what the disk answers.
    pub(crate) fn before(operation: &str, _path: &Path) -> Result<()> {
        static OPERATIONS: AtomicU64 = AtomicU64::new(0);
        let now = OPERATIONS.fetch_add(1, Ordering::SeqCst) + 1;
        let Ok(disk) = std::env::var("HARMONICA_DISK") else { return Ok(()) };
        let Some((state, from)) = disk.split_once(':') else { return Ok(()) };
        if from.parse().is_ok_and(|from: u64| now < from) {
            return Ok(());
        }
        match state {
            "read-only" => Err(Error::from(ErrorKind::ReadOnlyFilesystem)),
            // What only takes away still works on a full disk.
            _ if operation == "remove" => Ok(()),
            _ => Err(Error::from(ErrorKind::StorageFull)),
        }
    }

    /// Says that `operation` on `path` has just been done.
    pub(crate) fn done(operation: &str, path: &Path) {
        static DONE: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());
        let name = name(operation, path);
        let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
        let count = done.entry(name.clone()).or_default();
        *count += 1;
        if let Some(trace) = std::env::var_os("HARMONICA_FAILPOINT_TRACE") {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(trace);
            // A trace that cannot be written is empty, and the test that reads it says so.
            let _ = file.and_then(|mut file| writeln!(file, "{name}"));
        }
        if std::env::var("HARMONICA_FAILPOINT").is_ok_and(|wanted| wanted == format!("{name}:{count}")) {
            std::process::abort();
        }
    }
}
