//! `checkpoint`: what a checkpoint is, whether it is whole, and what others can use of it.

use crate::failure::Failure;
use crate::output::Output;
use clap::{Subcommand, ValueEnum};
use harmonica_training::{Checkpoint, FileCheck, RunDir, WeightKind};
use std::path::{Path, PathBuf};

/// Commands about checkpoints.
#[derive(Debug, Subcommand)]
pub(crate) enum CheckpointCommand {
    /// Print state, contract and tensors
    #[command(after_help = "Example: harmonica-lab checkpoint inspect runs/demo/ar/step-00006000 --json")]
    Inspect {
        /// Checkpoint, or a run directory for its newest one
        checkpoint: PathBuf,
    },
    /// Compare every file with what was written; exit code 1 if one is damaged
    #[command(
        after_help = "Example: harmonica-lab checkpoint verify runs/demo/ar runs/demo/nar/step-00006000"
    )]
    Verify {
        /// Checkpoints, or run directories for all of theirs
        #[arg(required = true)]
        checkpoints: Vec<PathBuf>,
    },
    /// Write the weights as one safetensors file
    #[command(
        after_help = "Example: harmonica-lab checkpoint export runs/demo/ar/step-00006000 --dtype f16 --output ar.safetensors"
    )]
    Export {
        /// Checkpoint, or a run directory for its newest one
        checkpoint: PathBuf,
        /// Number type
        #[arg(long, default_value = "f32")]
        dtype: NumberType,
        /// Running averages, which are evaluated and shipped, or the weights that the optimizer moves
        #[arg(long, default_value = "ema")]
        weights: Weights,
        /// Where the file goes
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Write the mean of several checkpoints of one model, for bundle and evaluate
    #[command(
        after_help = "Example: harmonica-lab checkpoint average runs/demo/ar/step-00005000 runs/demo/ar/step-00006000 --output runs/demo/ar-average"
    )]
    Average {
        /// Checkpoints
        #[arg(required = true)]
        checkpoints: Vec<PathBuf>,
        /// Where the averaged checkpoint goes
        #[arg(long, value_name = "DIR")]
        output: PathBuf,
    },
    /// Add the manifest to a checkpoint from before there were manifests
    #[command(after_help = "Example: harmonica-lab checkpoint seal runs/old/ar/step-00006000")]
    Seal {
        /// Checkpoint
        checkpoint: PathBuf,
    },
}

/// How numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NumberType {
    /// Half the size.
    F16,
    /// As trained.
    F32,
}

/// Which weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Weights {
    /// Running averages.
    Ema,
    /// Those that the optimizer moves.
    Raw,
}

impl From<Weights> for WeightKind {
    fn from(weights: Weights) -> Self {
        match weights {
            Weights::Ema => Self::Averaged,
            Weights::Raw => Self::Raw,
        }
    }
}

pub(crate) fn run(command: CheckpointCommand, out: Output) -> Result<(), Failure> {
    match command {
        CheckpointCommand::Inspect { checkpoint } => inspect(&open(&checkpoint)?, out),
        CheckpointCommand::Verify { checkpoints } => verify(&checkpoints, out),
        CheckpointCommand::Export { checkpoint, dtype, weights, output } => {
            let checkpoint = open(&checkpoint)?;
            let digest = checkpoint.export(weights.into(), dtype == NumberType::F16, &output)?;
            let words = format!("{}: {digest}", output.display());
            let (bytes, blake3) = (digest.bytes, digest.blake3);
            let update = checkpoint.state().update;
            out.result(
                &serde_json::json!({ "output": output.display().to_string(), "update": update, "bytes": bytes, "blake3": blake3 }),
                &words,
            );
            Ok(())
        }
        CheckpointCommand::Average { checkpoints, output } => {
            let opened: Result<Vec<Checkpoint>, Failure> = checkpoints.iter().map(|dir| open(dir)).collect();
            let average = Checkpoint::average(&opened?, &output)?;
            let words = format!("{}: the mean of {} checkpoints", output.display(), checkpoints.len());
            out.result(
                &serde_json::json!({ "output": output.display().to_string(), "n_checkpoints": checkpoints.len(), "update": average.state().update }),
                &words,
            );
            Ok(())
        }
        CheckpointCommand::Seal { checkpoint } => {
            let sealed = Checkpoint::seal(&checkpoint)?;
            let words = format!("{}: sealed after {} updates", checkpoint.display(), sealed.state().update);
            out.result(&serde_json::json!({ "checkpoint": checkpoint.display().to_string() }), &words);
            Ok(())
        }
    }
}

/// A checkpoint, or the newest one of a run directory.
fn open(dir: &Path) -> Result<Checkpoint, Failure> {
    let newest = RunDir::existing(dir).and_then(|run| run.latest());
    Ok(Checkpoint::open(newest.as_deref().unwrap_or(dir))?)
}

fn inspect(checkpoint: &Checkpoint, out: Output) -> Result<(), Failure> {
    let (state, contract) = (checkpoint.state(), checkpoint.contract());
    let weights = checkpoint.weights(WeightKind::Averaged)?;
    let n_values: usize = weights.tensors().values().map(|(v, _)| v.len()).sum();
    let words = format!(
        "{} after {} updates: {} tensors, {n_values} values, codec {}",
        state.model,
        state.update,
        weights.tensors().len(),
        contract.codec_fingerprint
    );
    let shapes: std::collections::BTreeMap<_, _> =
        weights.tensors().iter().map(|(name, (_, shape))| (name, shape)).collect();
    out.result(&serde_json::json!({ "state": state, "contract": contract, "tensors": shapes }), &words);
    Ok(())
}

fn verify(named: &[PathBuf], out: Output) -> Result<(), Failure> {
    let mut dirs = Vec::new();
    for dir in named {
        match RunDir::existing(dir) {
            Some(run) => dirs.extend(run.checkpoints().into_iter().map(|update| run.checkpoint(update))),
            None => dirs.push(dir.clone()),
        }
    }
    if dirs.is_empty() {
        let named: Vec<String> = named.iter().map(|dir| format!("`{}`", dir.display())).collect();
        return Err(Failure::error(format!("{} has no checkpoint yet; name another run", named.join(", "))));
    }
    let verified: Vec<(PathBuf, Vec<FileCheck>)> =
        dirs.into_iter().map(|dir| (dir.clone(), Checkpoint::verify(&dir))).collect();
    let is_whole = |checks: &[FileCheck]| checks.iter().all(FileCheck::is_whole);
    let rows: Vec<_> = verified
        .iter()
        .map(
            |(dir, files)| serde_json::json!({ "checkpoint": dir.display().to_string(), "whole": is_whole(files), "files": files }),
        )
        .collect();
    let n_damaged = verified.iter().filter(|(_, files)| !is_whole(files)).count();
    let lines = verified
        .iter()
        .flat_map(|(dir, files)| files.iter().map(move |check| format!("{}/{check}", dir.display())));
    let words = lines.collect::<Vec<_>>().join("\n");
    if n_damaged == 0 {
        out.result(&serde_json::json!({ "checkpoints": rows }), &words);
        return Ok(());
    }
    if !out.json {
        out.result(&(), &words);
    }
    let message = format!(
        "{n_damaged} of {} checkpoints are damaged; take a whole one, restore the files from a copy, or, if they were written before checkpoints had manifests, run `harmonica-lab checkpoint seal`",
        verified.len()
    );
    let result = serde_json::Map::from_iter([("checkpoints".to_owned(), serde_json::json!(rows))]);
    Err(Failure { code: 1, result, ..Failure::error(message) })
}
