//! `harmonica`: the command people speak with.
//!
//! Arguments in, library call, words out. Exit codes: 0 done, 1 refused (parts that do not belong together, speech that was not
//! reproduced), 2 error.

mod batch;
mod decode;
mod enroll;
mod failure;
mod inspect;
mod output;
mod reference;
mod replay;
mod synthesize;

use clap::{Parser, Subcommand};
use failure::Failure;
use harmonica_console::Mistake;
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
    /// Make a recording a voice of a bundle
    Enroll(enroll::EnrollArguments),
    /// Say what a bundle is and can do
    Inspect(inspect::InspectArguments),
}

fn main() -> ExitCode {
    harmonica_runtime::tune_allocator();
    let arguments: Arguments = match harmonica_console::parse() {
        Ok(arguments) => arguments,
        Err(Mistake::Answered) => return ExitCode::SUCCESS,
        Err(Mistake::Wrong { message, json }) => return tell_programs(&Failure::error(message), json),
    };
    harmonica_runtime::init_telemetry("info");
    let result = match &arguments.command {
        Command::Synthesize(synthesize) => synthesize::run(synthesize, arguments.json),
        Command::Replay(replay) => replay::run(replay, arguments.json),
        Command::Enroll(enroll) => enroll::run(enroll, arguments.json),
        Command::Inspect(inspect) => inspect::run(inspect, arguments.json),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::note(&format!("error: {}", failure.message));
            tell_programs(&failure, arguments.json)
        }
    }
}

/// The object that programs get of a failure, and its exit code.
fn tell_programs(failure: &Failure, json: bool) -> ExitCode {
    if json {
        output::print(true, &failure.to_json(), "");
    }
    ExitCode::from(failure.code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_command_explains_itself() {
        assert_eq!(harmonica_console::help_faults(&Arguments::command()), Vec::<String>::new());
    }
}
