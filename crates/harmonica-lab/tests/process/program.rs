//! The program, run as a process.

use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Runs a command with `--json` in a directory: its exit code, the one JSON value that it prints, what it says beside.
pub(crate) fn lab(dir: &Path, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harmonica-lab"));
    let output = command.current_dir(dir).args(arguments).arg("--json").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{arguments:?}: {e}\n{said}"));
    (output.status.code(), value, said)
}
