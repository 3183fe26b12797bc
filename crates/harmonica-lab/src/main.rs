//! `harmonica-lab`: the command researchers train, diagnose and judge with.
//!
//! Arguments in, library call, words out. The composition root: it opens the device, registers research terms, and gives
//! training its observers. Exit codes: 0 done, 1 refused (stale cache, parts that do not belong together), 2 error, 130
//! interrupted by a signal, with everything saved.

mod codebook_use;
mod commands;
#[cfg_attr(not(feature = "tui"), path = "no_dashboard.rs")]
mod dashboard;
mod failure;
mod interrupt;
mod observers;
mod output;
mod samples;
mod setup;
mod table;

use clap::{Parser, Subcommand};
use harmonica_console::Mistake;
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "harmonica-lab",
    version,
    about = "Train, diagnose and judge neural codec language models for speech"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Print the result as JSON on stdout
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Check, show or compare configurations
    #[command(subcommand)]
    Config(commands::config::ConfigCommand),
    /// Fit, describe and use codecs
    #[command(subcommand)]
    Codec(commands::codec::CodecCommand),
    /// Unpack and check corpora
    #[command(subcommand)]
    Data(commands::data::DataCommand),
    /// Encode a corpus into the token cache
    Preprocess(commands::preprocess::PreprocessArguments),
    /// Say what would go wrong with a run and what it will cost, before it starts
    Doctor(commands::doctor::DoctorArguments),
    /// Train the AR or the NAR model
    Train(commands::train::TrainArguments),
    /// Kill training processes, resume them, and compare every byte with a run that was never stopped
    ProveResume(commands::prove_resume::ProveResumeArguments),
    /// Make one directory that speaks
    Bundle(commands::bundle::BundleArguments),
    /// Judge a bundle or checkpoints on a suite
    Evaluate(commands::evaluate::EvaluateArguments),
    /// Hold an evaluation against a baseline; a regression is a refusal (exit code 1)
    Gate(commands::gate::GateArguments),
    /// Judge any system's waveforms
    Judge(commands::judge::JudgeArguments),
    /// Say whether a model's predictions are healthy
    Diagnose(commands::diagnose::DiagnoseArguments),
    /// Write the page of an experiment
    Report(commands::report::ReportArguments),
    /// List, compare and rank runs
    #[command(subcommand)]
    Runs(commands::runs::RunsCommand),
    /// Describe, check, export and average checkpoints
    #[command(subcommand)]
    Checkpoint(commands::checkpoint::CheckpointCommand),
}

fn main() -> ExitCode {
    harmonica_runtime::tune_allocator();
    let arguments: Arguments = match harmonica_console::parse() {
        Ok(arguments) => arguments,
        Err(Mistake::Answered) => return ExitCode::SUCCESS,
        Err(Mistake::Wrong { message, json }) => {
            let failure = failure::Failure::error(message);
            output::Output { json }.tell_programs(&failure);
            return ExitCode::from(failure.code);
        }
    };
    harmonica_runtime::init_telemetry("info");
    let out = output::Output { json: arguments.json };
    let result = match arguments.command {
        Command::Config(command) => commands::config::run(command, out),
        Command::Codec(command) => commands::codec::run(command, out),
        Command::Data(command) => commands::data::run(command, out),
        Command::Preprocess(arguments) => commands::preprocess::run(&arguments, out),
        Command::Doctor(arguments) => commands::doctor::run(&arguments, out),
        Command::Train(arguments) => commands::train::run(&arguments, out),
        Command::ProveResume(arguments) => commands::prove_resume::run(&arguments, out),
        Command::Bundle(arguments) => commands::bundle::run(&arguments, out),
        Command::Evaluate(arguments) => commands::evaluate::run(&arguments, out),
        Command::Gate(arguments) => commands::gate::run(&arguments, out),
        Command::Judge(arguments) => commands::judge::run(&arguments, out),
        Command::Diagnose(arguments) => commands::diagnose::run(&arguments, out),
        Command::Report(arguments) => commands::report::run(&arguments, out),
        Command::Runs(command) => commands::runs::run(command, out),
        Command::Checkpoint(command) => commands::checkpoint::run(command, out),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => out.fail(&failure),
    }
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
