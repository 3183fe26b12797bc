//! Runs below a directory.
//!
//! In: a directory; out: every run in it, and what looks like one and cannot be read. Symbolic links, hidden directories and
//! the inside of runs are not searched. Invariant: one damaged run never hides another.

use crate::{RunReading, TrainingError};
use harmonica_config_schema::record::{RunSummary, UnreadableRun};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// How deep runs are sought: the directory that is named is 0.
const MAX_DEPTH: usize = 8;

/// What a search found, each list by path.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct FoundRuns {
    /// Runs.
    pub runs: Vec<RunSummary>,
    /// Directories that cannot be read, and runs without a readable `run.json`.
    pub unreadable: Vec<UnreadableRun>,
}

/// Finds the runs in a directory, itself included, down to eight levels below it.
///
/// # Errors
/// A directory that is not there or cannot be read.
pub fn find_runs(root: &Path) -> Result<FoundRuns, TrainingError> {
    std::fs::read_dir(root).map_err(|source| TrainingError::Search { path: root.to_owned(), source })?;
    let mut found = FoundRuns::default();
    let mut dirs = vec![(root.to_owned(), 0)];
    while let Some((dir, depth)) = dirs.pop() {
        if is_run(&dir) {
            match RunReading::open(&dir) {
                Ok(run) => found.runs.push(run.summary),
                Err(unreadable) => found.unreadable.push(unreadable),
            }
        } else if depth < MAX_DEPTH {
            match directories(&dir) {
                Ok(inner) => dirs.extend(inner.into_iter().map(|dir| (dir, depth + 1))),
                Err(e) => {
                    let reason = format!("cannot be searched: {e}");
                    found.unreadable.push(UnreadableRun { path: dir, reason });
                }
            }
        }
    }
    found.runs.sort_by(|a, b| a.path.cmp(&b.path));
    found.unreadable.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// A run, or what is left of one.
fn is_run(dir: &Path) -> bool {
    ["run.json", "metrics.jsonl"].iter().any(|name| dir.join(name).is_file())
}

fn directories(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && !entry.file_name().to_string_lossy().starts_with('.') {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = r#"{"format_version": 1, "name": "n", "model": "ar", "n_parameters": 1, "config": "c", "cache": "d",
        "program": "0", "device": "cpu", "stopped": ""}"#;

    #[test]
    fn runs_are_found_side_by_side_and_damaged_ones_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for run in ["b/ar", "b/nar", "a", "a/step-00000001", ".hidden/ar", "c/d/e/ar"] {
            std::fs::create_dir_all(root.join(run)).unwrap();
            std::fs::write(root.join(run).join("run.json"), RUN).unwrap();
        }
        std::fs::create_dir_all(root.join("half")).unwrap();
        std::fs::write(root.join("half/run.json"), "{").unwrap();
        std::fs::create_dir_all(root.join("none")).unwrap();
        std::fs::write(root.join("none/metrics.jsonl"), "").unwrap();
        let deep = root.join("1/2/3/4/5/6/7/8/9");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("run.json"), RUN).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(root, root.join("b/again")).unwrap();
        let found = find_runs(root).unwrap();
        let shown = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
        let runs: Vec<String> = found.runs.iter().map(|run| shown(&run.path)).collect();
        assert_eq!(runs, ["a", "b/ar", "b/nar", "c/d/e/ar"]);
        let unreadable: Vec<String> = found.unreadable.iter().map(|run| shown(&run.path)).collect();
        assert_eq!(unreadable, ["half", "none"]);
        assert!(found.unreadable[1].reason.contains("run.json is missing"));
        let itself = find_runs(&root.join("a")).unwrap();
        assert_eq!(itself.runs.len(), 1);
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error_with_its_name() {
        let error = find_runs(Path::new("no/such/runs")).unwrap_err().to_string();
        assert!(error.contains("no/such/runs"), "{error}");
    }
}
