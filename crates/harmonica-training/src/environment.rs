//! What this process and its machine are, for `environment.json`.
//!
//! In: the system; out: an [`Environment`]. Invariant: nothing of it changes what is trained, and what the system does not
//! say is absent. A commit is what the build was told (`HARMONICA_COMMIT`), else where the working directory stands.

use crate::run_lock;
use burn::tensor::Device;
use harmonica_config_schema::record::{Commit, CommitSource, Environment};
use std::process::{Command, Stdio};

/// Observes this process; `device` is the name it was opened by.
pub(crate) fn observe(device: &str, backend: Option<&Device>) -> Environment {
    Environment {
        host: run_lock::host_name(),
        os: std::env::consts::OS.to_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
        cpu: cpu_name(),
        n_cpus: std::thread::available_parallelism().ok().map(Into::into),
        n_threads: rayon::current_num_threads(),
        simd: simd(),
        device: device.to_owned(),
        backend: backend.map_or_else(String::new, backend_name),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        commit: commit(),
        command: std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect(),
        directory: std::env::current_dir().ok(),
        pid: std::process::id(),
    }
}

/// `Device<Flex(..)>` without its wrapper.
fn backend_name(device: &Device) -> String {
    let shown = format!("{device:?}");
    let inner = shown.strip_prefix("Device<").and_then(|rest| rest.strip_suffix('>'));
    inner.unwrap_or(&shown).to_owned()
}

fn cpu_name() -> Option<String> {
    if let Ok(text) = std::fs::read_to_string("/proc/cpuinfo") {
        return cpu_name_of(&text);
    }
    if cfg!(target_os = "macos") {
        return said(Command::new("sysctl").args(["-n", "machdep.cpu.brand_string"]));
    }
    std::env::var("PROCESSOR_IDENTIFIER").ok()
}

fn cpu_name_of(cpuinfo: &str) -> Option<String> {
    let name = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'))?.1.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(target_arch = "x86_64")]
fn simd() -> Vec<String> {
    let found = [
        ("sse4.2", std::arch::is_x86_feature_detected!("sse4.2")),
        ("avx", std::arch::is_x86_feature_detected!("avx")),
        ("f16c", std::arch::is_x86_feature_detected!("f16c")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
    ];
    found.into_iter().filter(|(_, there)| *there).map(|(name, _)| name.to_owned()).collect()
}

#[cfg(target_arch = "aarch64")]
fn simd() -> Vec<String> {
    let found = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("fp16", std::arch::is_aarch64_feature_detected!("fp16")),
        ("sve", std::arch::is_aarch64_feature_detected!("sve")),
    ];
    found.into_iter().filter(|(_, there)| *there).map(|(name, _)| name.to_owned()).collect()
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn simd() -> Vec<String> {
    Vec::new()
}

fn commit() -> Option<Commit> {
    if let Some(id) = option_env!("HARMONICA_COMMIT").filter(|id| !id.is_empty()) {
        return Some(Commit { id: id.to_owned(), source: CommitSource::Build, modified: None });
    }
    // Without optional locks git writes nothing, not even its index.
    let git = |arguments: &[&str]| {
        said(Command::new("git").arg("--no-optional-locks").args(arguments).stdin(Stdio::null()))
    };
    let id =
        git(&["rev-parse", "--verify", "HEAD"]).filter(|id| id.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let modified = git(&["status", "--porcelain", "--untracked-files=no"]).map(|files| !files.is_empty());
    Some(Commit { id, source: CommitSource::WorkingDirectory, modified })
}

/// What a program says, if it is there and succeeds.
fn said(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_told_and_what_is_unknown_is_absent() {
        let seen = observe("cpu", None);
        assert_eq!((seen.pid, seen.device.as_str()), (std::process::id(), "cpu"));
        assert!(seen.n_threads > 0 && !seen.command.is_empty() && !seen.os.is_empty());
        assert!(seen.commit.is_none_or(|commit| commit.id.len() >= 40));
        assert_eq!(
            cpu_name_of("processor\t: 0\nmodel name\t: A CPU @ 2 GHz\n"),
            Some("A CPU @ 2 GHz".into())
        );
        assert_eq!(cpu_name_of("processor\t: 0\nmodel name\t:\n"), None);
        assert_eq!(cpu_name_of("Hardware\t: a board\n"), None);
    }

    #[test]
    fn a_program_that_fails_or_is_not_there_says_nothing() {
        assert_eq!(said(&mut Command::new("no-such-program-anywhere")), None);
        assert_eq!(said(Command::new("false").arg("x")), None);
    }
}
