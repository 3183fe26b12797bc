//! `checkpoint`: what a checkpoint is.

use crate::failure::Failure;
use crate::output::Output;
use clap::Subcommand;
use harmonica_training::Checkpoint;
use std::path::PathBuf;

/// Commands about checkpoints.
#[derive(Debug, Subcommand)]
pub(crate) enum CheckpointCommand {
    /// Print state, contract and tensors
    #[command(after_help = "Example: harmonica-lab checkpoint inspect runs/demo/ar/step-00006000 --json")]
    Inspect {
        /// Checkpoint directory
        checkpoint: PathBuf,
    },
}

pub(crate) fn run(command: CheckpointCommand, out: Output) -> Result<(), Failure> {
    let CheckpointCommand::Inspect { checkpoint } = command;
    let state = Checkpoint::state(&checkpoint)?;
    let contract = Checkpoint::contract(&checkpoint)?;
    let weights = Checkpoint::weights(&checkpoint, true)?;
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
