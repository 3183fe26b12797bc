//! `harmonica`: the command people speak with.
//!
//! Arguments in, library call, words out. Exit codes: 0 done, 1 refused (parts that do not belong together), 2 error.

mod synthesize;

use clap::{Parser, Subcommand};
use harmonica_inference::Bundle;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "harmonica", version, about = "Speak text with a neural codec language model")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Print the result as JSON on stdout
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Say text to WAV files
    Synthesize(Box<synthesize::SynthesizeArguments>),
    /// Say what a bundle is and can do
    #[command(after_help = "Example: harmonica inspect assets/demo-bundle --json")]
    Inspect {
        /// Bundle directory
        bundle: PathBuf,
    },
}

/// A command that did not succeed.
struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    fn error(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }
}

impl From<harmonica_inference::InferenceError> for Failure {
    fn from(error: harmonica_inference::InferenceError) -> Self {
        let mut message = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            let words = inner.to_string();
            if !message.contains(&words) {
                message.push_str(&format!(" ({words})"));
            }
            cause = inner.source();
        }
        Self { message, code: if error.is_refusal() { 1 } else { 2 } }
    }
}

/// Prints a result: JSON if asked for, else words. A closed pipe is the reader's decision.
fn print(json: bool, value: &serde_json::Value, words: &str) {
    let mut stdout = std::io::stdout().lock();
    let text = if json { serde_json::to_string_pretty(value).unwrap_or_default() } else { words.to_owned() };
    let _ = writeln!(stdout, "{text}");
}

fn note(words: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{words}");
}

fn inspect(bundle: &std::path::Path, json: bool) -> Result<(), Failure> {
    let manifest = Bundle::open(bundle)?.manifest;
    let value = serde_json::json!({
        "name": manifest.name,
        "voices": manifest.voices,
        "known_words": manifest.known_words,
        "codec": manifest.ar_contract.codec,
        "updates": { "ar": manifest.updates[0], "nar": manifest.updates[1] },
        "config": manifest.config,
        "decode": manifest.decode,
        "max_text_symbols": manifest.ar_contract.max_text_symbols,
    });
    let words = format!(
        "{}: voices {}; {} Hz, {} codebooks; AR after {} updates, NAR after {}; {}",
        manifest.name,
        manifest.voices.join(", "),
        manifest.ar_contract.codec.sample_rate_hz,
        manifest.ar_contract.codec.n_codebooks,
        manifest.updates[0],
        manifest.updates[1],
        manifest.known_words.map_or_else(
            || "open vocabulary".to_owned(),
            |w| format!("knows only {} words: {}", w.len(), w.join(" "))
        )
    );
    print(json, &value, &words);
    Ok(())
}

fn main() -> ExitCode {
    harmonica_runtime::tune_allocator();
    let arguments = Arguments::parse();
    harmonica_runtime::init_telemetry("info");
    let result = match arguments.command {
        Command::Synthesize(synthesize) => synthesize::run(&synthesize, arguments.json),
        Command::Inspect { bundle } => inspect(&bundle, arguments.json),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if arguments.json {
                print(true, &serde_json::json!({ "error": failure.message, "exit_code": failure.code }), "");
            }
            note(&format!("error: {}", failure.message));
            ExitCode::from(failure.code)
        }
    }
}
