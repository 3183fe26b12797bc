//! Places where a test ends the process, to see what a crash leaves behind.
//!
//! In: the environment. `HARMONICA_FAILPOINT=<name>:<count>` aborts at the `count`-th time that `name` is reached;
//! `HARMONICA_FAILPOINT_TRACE=<file>` writes the name of every one that is reached. A name is `<operation>@<file>`,
//! such as `fsync@model.safetensors`. Invariant: without the feature `failpoints`, which only tests switch on, nothing of
//! this is compiled in.

use std::path::Path;

#[cfg(not(feature = "failpoints"))]
pub(crate) fn reached(_operation: &str, _path: &Path) {}

/// Says that `operation` on `path` has just been done.
#[cfg(feature = "failpoints")]
pub(crate) fn reached(operation: &str, path: &Path) {
    use std::collections::BTreeMap;
    use std::io::Write;
    use std::sync::{Mutex, PoisonError};

    static REACHED: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());
    let file = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let name = format!("{operation}@{}", crate::scratch::purpose(&file).unwrap_or(&file));
    let mut reached = REACHED.lock().unwrap_or_else(PoisonError::into_inner);
    let count = reached.entry(name.clone()).or_default();
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
