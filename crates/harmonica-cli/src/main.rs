//! `harmonica`: the command people speak with.
//!
//! Arguments in, library call, words out. Exit codes: 0 done, 1 refused (parts that do not belong together, speech that was not
//! reproduced), 2 error.

mod batch;
mod decode;
mod failure;
mod inspect;
mod output;
mod replay;
mod synthesize;
mod usage;

use clap::{Parser, Subcommand};
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
    /// Speak again what a replay manifest records, and compare
    Replay(replay::ReplayArguments),
    /// Say what a bundle is and can do
    Inspect(inspect::InspectArguments),
}

fn main() -> ExitCode {
    harmonica_runtime::tune_allocator();
    let arguments: Arguments = match usage::parse() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    harmonica_runtime::init_telemetry("info");
    let result = match &arguments.command {
        Command::Synthesize(synthesize) => synthesize::run(synthesize, arguments.json),
        Command::Replay(replay) => replay::run(replay, arguments.json),
        Command::Inspect(inspect) => inspect::run(inspect, arguments.json),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if arguments.json {
                output::print(true, &failure.to_json(), "");
            }
            output::note(&format!("error: {}", failure.message));
            ExitCode::from(failure.code)
        }
    }
}
