//! Everything that must hold before a change lands.

use crate::shell::{self, cargo};
use crate::{Result, demo, reliability, root, say, tidy};

/// A name and what it does.
type Step = (&'static str, fn() -> Result<()>);

/// Runs cargo over the workspace, and over this program, whose dependencies must not turn on features of the others.
fn cargo_everywhere(verb: &str, last: &[&str]) -> Result<()> {
    for packages in [&["--workspace", "--exclude", "xtask"][..], &["--package", "xtask"]] {
        shell::run(cargo().args([verb, "--release", "--quiet"]).args(packages).args(last))?;
    }
    Ok(())
}

/// What follows clippy's packages.
const LINTS: [&str; 4] = ["--all-targets", "--", "-D", "warnings"];

/// What is built only where it is asked for, of crates that do without burn.
fn optional_features() -> Result<()> {
    for (verb, last) in [("clippy", &LINTS[..]), ("test", &[])] {
        let mut command = cargo();
        command.args([verb, "--release", "--quiet"]);
        for package in ["harmonica-storage", "harmonica-codec", "harmonica-data"] {
            command.args(["--package", package]);
        }
        command.args(["--features", "harmonica-storage/hub,harmonica-codec/pytorch,harmonica-data/parquet"]);
        shell::run(command.args(last))?;
    }
    Ok(())
}

/// CUDA cannot be linked without a network (see docs/gpu.md), but its code must type-check.
fn cuda_type_check() -> Result<()> {
    let mut command = cargo();
    command.args(["check", "--release", "--quiet", "--package", "harmonica-runtime"]);
    command.args(["--no-default-features", "--features", "flex,cuda"]);
    shell::run(command.env("DOCS_RS", "1"))
}

/// Fuzz targets are a workspace of their own, which nothing else would build until somebody fuzzes.
fn fuzz_targets() -> Result<()> {
    let manifest = root().join("fuzz/Cargo.toml");
    shell::run(cargo().args(["check", "--release", "--quiet", "--locked", "--manifest-path"]).arg(manifest))
}

/// `cargo xtask ci`.
pub(crate) fn run() -> Result<()> {
    let steps: [Step; 10] = [
        ("format", || shell::run(cargo().args(["fmt", "--all", "--check"]))),
        ("tidy", || tidy::run(&root())),
        ("tests", || cargo_everywhere("test", &[])),
        ("lints", || cargo_everywhere("clippy", &LINTS)),
        ("optional features", optional_features),
        ("fuzz targets", fuzz_targets),
        ("cuda type check", cuda_type_check),
        ("docs", || {
            let mut command = cargo();
            command.args(["doc", "--release", "--workspace", "--exclude", "xtask", "--no-deps", "--quiet"]);
            shell::run(command.env("RUSTDOCFLAGS", "-D warnings"))
        }),
        ("demo in small", || {
            let output = std::env::temp_dir().join(format!("harmonica-smoke-{}", std::process::id()));
            let result = demo::smoke(output.clone());
            // Best effort: the temporary directory cleans itself up in time.
            let _ = std::fs::remove_dir_all(output);
            result
        }),
        ("processes killed, signalled and side by side", reliability::in_small),
    ];
    let n = steps.len();
    for (i, (name, step)) in steps.into_iter().enumerate() {
        say(&format!("-- {}/{n} {name}", i + 1));
        step()?;
    }
    say("ci: all steps passed");
    Ok(())
}
