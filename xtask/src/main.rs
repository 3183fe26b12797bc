//! The project's own chores. Depends on no burn crate: it spawns the binaries with the right features.

mod ci;
mod demo;
mod fuzz;
mod reliability;
mod shell;
mod tidy;
mod validation_run;

use clap::{Parser, Subcommand};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "xtask", about = "Chores of the Harmonica workspace")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// From nothing to speech: the committed bundle speaks, then corpus, codec, AR, NAR, evaluation, report
    #[command(after_help = "Example: cargo xtask demo --output runs/demo")]
    Demo(demo::DemoArguments),
    /// Train a model: arguments go to `harmonica-lab train`
    #[command(
        after_help = "Example: cargo xtask train --model ar --config configs/ljspeech.toml --run-dir runs/lj/ar"
    )]
    Train(Passed),
    /// Encode a corpus: arguments go to `harmonica-lab preprocess`
    #[command(after_help = "Example: cargo xtask preprocess --config configs/ljspeech.toml")]
    Preprocess(Passed),
    /// Judge a bundle: arguments go to `harmonica-lab evaluate`
    #[command(
        after_help = "Example: cargo xtask evaluate --bundle runs/demo/bundle --suite suite.jsonl --output eval"
    )]
    Evaluate(Passed),
    /// Write the page of a run: arguments go to `harmonica-lab report`
    #[command(after_help = "Example: cargo xtask report runs/demo")]
    Report(Passed),
    /// Run the benches: arguments go to `cargo bench`
    #[command(after_help = "Example: cargo xtask bench --bench codec -- --save-baseline main")]
    Bench(BenchArguments),
    /// Run the scorecard of what must not go wrong
    #[command(after_help = "Example: cargo xtask reliability --only R5")]
    Reliability(reliability::ReliabilityArguments),
    /// Train, evaluate and report one configuration by rules that are said beforehand
    #[command(
        after_help = "Example: cargo xtask validation-run --config configs/baseline-ljspeech.toml --backend metal"
    )]
    ValidationRun(validation_run::ValidationRunArguments),
    /// Hold the house rules: layers, file lengths, names, shapes, configurations
    #[command(after_help = "Example: cargo xtask tidy")]
    Tidy,
    /// Fuzz the parsers of untrusted bytes; needs nightly and cargo-fuzz
    #[command(after_help = "Example: cargo xtask fuzz config --seconds 60")]
    Fuzz(fuzz::FuzzArguments),
    /// Everything that must hold before a change lands: format, lints, tidy, tests, docs, the demo in small
    #[command(after_help = "Example: cargo xtask ci")]
    Ci,
}

/// Arguments for another program, with the backend to build it with.
#[derive(clap::Args)]
struct Passed {
    /// Backend feature to build with: flex, wgpu, vulkan, metal or cuda
    #[arg(long, default_value = "flex")]
    backend: String,
    /// Arguments of the spawned command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Arguments for `cargo bench`.
#[derive(clap::Args)]
struct BenchArguments {
    /// Arguments of `cargo bench`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Why a chore failed.
type Result<T> = std::result::Result<T, String>;

/// Root of the workspace.
fn root() -> PathBuf {
    let manifest = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| "xtask".into());
    // Cargo tells the path; without cargo, the workspace is where one stands.
    let parent = PathBuf::from(manifest).parent().map(PathBuf::from);
    parent.filter(|path| !path.as_os_str().is_empty()).unwrap_or_else(|| PathBuf::from("."))
}

/// A line for whoever watches.
fn say(words: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{words}");
}

/// Spawns the lab and hands its exit code on: 1 for a refusal, 2 for an error.
fn lab(verb: &str, passed: &Passed) -> Result<ExitCode> {
    let binary = shell::build(&passed.backend)?.join("harmonica-lab");
    shell::exit_code(std::process::Command::new(binary).arg(verb).args(&passed.rest)).map(ExitCode::from)
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Demo(arguments) => demo::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Train(passed) => lab("train", &passed),
        Command::Preprocess(passed) => lab("preprocess", &passed),
        Command::Evaluate(passed) => lab("evaluate", &passed),
        Command::Report(passed) => lab("report", &passed),
        Command::Bench(passed) => {
            shell::run(shell::cargo().arg("bench").args(&passed.rest)).map(|()| ExitCode::SUCCESS)
        }
        Command::Reliability(arguments) => reliability::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::ValidationRun(arguments) => validation_run::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Tidy => tidy::run(&root()).map(|()| ExitCode::SUCCESS),
        Command::Fuzz(arguments) => fuzz::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Ci => ci::run().map(|()| ExitCode::SUCCESS),
    };
    match result {
        Ok(code) => code,
        Err(message) => {
            say(&format!("error: {message}"));
            ExitCode::from(2)
        }
    }
}
