//! `runs`: what is on disk, two runs side by side, and the best of many.

mod best;
mod compare;
mod list;

use crate::commands::train::ModelKind;
use crate::failure::Failure;
use crate::output::Output;
use clap::Subcommand;
use harmonica_config_schema::Fingerprint;
use harmonica_config_schema::record::RunSummary;
use std::path::PathBuf;

/// Widest line of a table.
const WIDTH: usize = 120;

/// Commands about runs.
#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// Print every run below a directory, whatever it is doing; damaged ones with the reason
    #[command(after_help = "Runs are sought eight levels deep; symbolic links are not followed.\n\n\
        Example: harmonica-lab runs list runs --json")]
    List {
        /// Directory that holds runs
        #[arg(default_value = "runs", value_name = "DIR")]
        dir: PathBuf,
    },
    /// Print what differs between two runs: configuration, validations, environment, speed
    #[command(
        after_help = "Example: harmonica-lab runs compare runs/demo/ar runs/wide/ar --output runs/wide"
    )]
    Compare {
        /// Left run directory
        a: PathBuf,
        /// Right run directory
        b: PathBuf,
        /// Also write compare.html with both curves in one chart
        #[arg(long, value_name = "DIR")]
        output: Option<PathBuf>,
        /// Refuse (exit code 1) if training cross-entropies differ by more than this share anywhere, such as 0.01
        #[arg(long, value_name = "SHARE")]
        within: Option<f64>,
    },
    /// Print the run with the lowest validation cross-entropy, among those with the same model, cache and codec
    #[command(after_help = "Example: harmonica-lab runs best runs --model nar")]
    Best {
        /// Directory that holds runs
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// Only runs of this model
        #[arg(long)]
        model: Option<ModelKind>,
    },
}

pub(crate) fn run(command: RunsCommand, out: Output) -> Result<(), Failure> {
    match command {
        RunsCommand::List { dir } => list::run(&dir, out),
        RunsCommand::Compare { a, b, output, within } => compare::run(&a, &b, output.as_deref(), within, out),
        RunsCommand::Best { dir, model } => best::run(&dir, model, out),
    }
}

/// The first digits of a fingerprint: enough to tell a few runs apart.
fn short(fingerprint: &Fingerprint) -> String {
    fingerprint.as_str().chars().take(8).collect()
}

/// Updates done, and of how many.
fn updates(run: &RunSummary) -> String {
    run.max_updates.map_or_else(|| run.updates.to_string(), |max| format!("{}/{max}", run.updates))
}

#[cfg(test)]
mod tests {
    use super::*;
    use harmonica_config_schema::record::RunState;

    /// A finished run of which little was recorded.
    pub(super) fn summary(path: &str) -> RunSummary {
        let fingerprint = |text: &str| Fingerprint::of_bytes(text.as_bytes());
        RunSummary {
            updates: 9,
            max_updates: Some(9),
            state: RunState::Finished,
            ..RunSummary::unread(path.into(), "ar".into(), fingerprint(path), fingerprint("cache"))
        }
    }
}
