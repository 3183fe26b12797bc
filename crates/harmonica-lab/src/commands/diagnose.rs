//! `diagnose`: a verdict on anybody's logits.

use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use harmonica_config_schema::CodebookIndex;
use harmonica_config_schema::record::CodebookMetrics;
use harmonica_model_core::diagnosis::{
    CodebookHealth, PairedCost, Probes, predecessor_warns, token_costs, verdict,
};
use harmonica_model_core::{ModelError, Tensors};
use std::path::PathBuf;

/// Arguments of `diagnose`.
#[derive(Debug, Args)]
#[command(after_help = "Example: harmonica-lab diagnose window.safetensors --json")]
pub(crate) struct DiagnoseArguments {
    /// Safetensors with `logits [N, V]` or `[N, Q, V]`, `targets [N]` or `[N, Q]`, optional `mask` of the targets' shape,
    /// optional `logits_other_text` and `logits_other_prompt`: the same tokens predicted from another text or voice
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
    if expected == 0 || n_classes == 0 {
        return Err(refuse(format!("`logits` of shape {shape:?} hold no token to judge")).into());
    }
    if targets.len() != expected || mask.is_some_and(|m| m.len() != expected) {
        return Err(refuse(format!(
            "`targets` and `mask` must hold {expected} values, one for each row of logits"
        ))
        .into());
    }
    let other = |name: &str| -> Result<Option<&[f32]>, Failure> {
        let Some((values, shape_of_other)) = file.get(name) else { return Ok(None) };
        let as_logits = shape_of_other == shape && values.iter().all(|v| !v.is_nan());
        let reason = format!("`{name}` must hold numbers in the shape of `logits`, {shape:?}");
        if as_logits { Ok(Some(values)) } else { Err(refuse(reason).into()) }
    };
    let (other_text, other_prompt) = (other("logits_other_text")?, other("logits_other_prompt")?);
    let (mut text, mut prompt) = (PairedCost::default(), PairedCost::default());
    let mut metrics: Vec<CodebookMetrics> = Vec::new();
    for q in 0..n_codebooks {
        if mask.is_some_and(|m| (0..n).all(|i| m[i * n_codebooks + q] == 0.0)) {
            return Err(refuse(format!("`mask` leaves no token of codebook {} to judge", q + 1)).into());
        }
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
            let right = health.observe(row, &[target as usize]);
            for (cost, other) in [(&mut text, other_text), (&mut prompt, other_prompt)] {
                if let Some(other) = other {
                    let row = &other[at * n_classes..][..n_classes];
                    cost.observe(&right, &token_costs(row, &[target as usize]));
                }
            }
        }
        metrics.push(health.metrics());
    }
    let judged = verdict(&metrics, &Probes { text: text.record(), prompt: prompt.record() });
    let mut words = vec![judged.verdict.clone()];
    words.extend(judged.reasons.iter().cloned());
    for (name, use_of) in [("text_use", judged.text_use), ("prompt_use", judged.prompt_use)] {
        let gap = use_of.probe.map_or_else(String::new, |probe| {
            format!(": another one costs {:.3} nats a token (± {:.3})", probe.gap_nats, probe.standard_error)
        });
        words.push(format!("{name} {}{gap}", use_of.flag.name()));
    }
    let warned: Vec<String> =
        metrics.iter().filter(|m| predecessor_warns(m)).map(|m| m.codebook.to_string()).collect();
    words.push(match warned.is_empty() {
        true => "the predecessor's alarm would be silent".to_owned(),
        false => format!("the predecessor's alarm would warn of codebook {}", warned.join(", ")),
    });
    out.result(
        &serde_json::json!({
            "verdict": judged.verdict,
            "reasons": judged.reasons,
            "text_use": judged.text_use.flag,
            "prompt_use": judged.prompt_use.flag,
            "probes": { "text": judged.text_use.probe, "prompt": judged.prompt_use.probe },
            "predecessor_warns_of_codebooks": warned,
            "codebooks": metrics
        }),
        &words.join("\n"),
    );
    Ok(())
}
