//! `diagnose`: a verdict on anybody's logits.

use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use harmonica_config_schema::CodebookIndex;
use harmonica_config_schema::record::CodebookMetrics;
use harmonica_model_core::diagnosis::{CodebookHealth, verdict};
use harmonica_model_core::{ModelError, Tensors};
use std::path::PathBuf;

/// Arguments of `diagnose`.
#[derive(Debug, Args)]
#[command(after_help = "Example: harmonica-lab diagnose window.safetensors --json")]
pub(crate) struct DiagnoseArguments {
    /// Safetensors with `logits [N, V]` or `[N, Q, V]`, `targets [N]` or `[N, Q]`, optional `mask` of the targets' shape
    file: PathBuf,
}

pub(crate) fn run(arguments: &DiagnoseArguments, out: Output) -> Result<(), Failure> {
    let path = &arguments.file;
    let refuse = |reason: String| ModelError::ReadWeights { path: path.clone(), reason };
    let file = Tensors::read(path)?;
    let (logits, shape) = file.get("logits").ok_or_else(|| refuse("there is no tensor `logits`".into()))?;
    let (n, n_codebooks, n_classes) = match shape[..] {
        [n, v] => (n, 1, v),
        [n, q, v] => (n, q, v),
        _ => return Err(refuse(format!("`logits` has shape {shape:?}, not [N, V] or [N, Q, V]")).into()),
    };
    let (targets, _) = file.get("targets").ok_or_else(|| refuse("there is no tensor `targets`".into()))?;
    let mask = file.get("mask").map(|(values, _)| values);
    let expected = n * n_codebooks;
    if targets.len() != expected || mask.is_some_and(|m| m.len() != expected) || n == 0 || n_classes == 0 {
        return Err(refuse(format!(
            "`targets` and `mask` must hold {expected} values, one for each row of logits"
        ))
        .into());
    }
    let mut metrics: Vec<CodebookMetrics> = Vec::new();
    for q in 0..n_codebooks {
        let mut health = CodebookHealth::new(CodebookIndex::from_zero_based(q), n_classes);
        for i in (0..n).filter(|i| mask.is_none_or(|m| m[i * n_codebooks + q] != 0.0)) {
            let at = i * n_codebooks + q;
            let target = targets[at];
            if target < 0.0 || target as usize >= n_classes || target.fract() != 0.0 {
                return Err(
                    refuse(format!("target {target} at row {i} is not from 0 to {}", n_classes - 1)).into()
                );
            }
            let row = &logits[at * n_classes..][..n_classes];
            if row.iter().any(|v| v.is_nan()) {
                return Err(refuse(format!("row {i} of `logits` is not a number")).into());
            }
            health.observe(row, &[target as usize]);
        }
        metrics.push(health.metrics());
    }
    let judged = verdict(&metrics);
    let words = format!("{}\n{}", judged.verdict, judged.reasons.join("\n"));
    out.result(
        &serde_json::json!({ "verdict": judged.verdict, "reasons": judged.reasons, "codebooks": metrics }),
        &words,
    );
    Ok(())
}
