//! Other programs: cargo and the workspace's own binaries.

use crate::{Result, root, say};
use signal_hook::consts::SIGINT;
use signal_hook::flag;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// `cargo` in the workspace root, building into the workspace's own target directory.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a program and refuses a failure.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    let status = command.status().map_err(|e| format!("cannot run {shown}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{shown} ended with {status}")) }
}

/// Runs a program and returns its exit code; one that was killed counts as an error. An interruption from the terminal
/// reaches the program itself; what it does then is waited for.
pub(crate) fn exit_code(command: &mut Command) -> Result<u8> {
    let heard = Arc::new(AtomicBool::new(false));
    flag::register(SIGINT, heard).map_err(|e| format!("cannot listen for SIGINT: {e}"))?;
    let status = command.status().map_err(|e| format!("cannot run {command:?}: {e}"))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(2))
}

/// Runs a program and returns what it printed on stdout.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output = command.output().map_err(|e| format!("cannot run {shown}: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{shown} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}

/// Builds both binaries in release and returns their directory.
///
/// The whole workspace is built at once: cargo unifies features over what it builds, and burn must not be built twice.
pub(crate) fn build(backend: &str) -> Result<PathBuf> {
    say("building (the first time takes about ten minutes) ...");
    let mut command = cargo();
    command.args(["build", "--release", "--workspace", "--exclude", "xtask"]);
    if backend != "flex" {
        command.args(["--features", &format!("harmonica-lab/{backend},harmonica-cli/{backend}")]);
    }
    run(&mut command)?;
    let metadata = cargo_metadata::MetadataCommand::new().current_dir(root()).no_deps().exec();
    let metadata = metadata.map_err(|e| format!("cargo metadata: {e}"))?;
    Ok(metadata.target_directory.join("release").into_std_path_buf())
}
