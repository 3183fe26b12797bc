//! `inspect`: what a bundle is and can do.

use crate::failure::Failure;
use crate::output::print;
use clap::Args;
use harmonica_inference::{Bundle, BundleEvaluation, BundleManifest};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Arguments of `inspect`.
#[derive(Debug, Args)]
#[command(after_help = "Example: harmonica inspect assets/demo-bundle --json")]
pub(crate) struct InspectArguments {
    /// Bundle directory
    bundle: PathBuf,
}

fn evaluation(record: &BundleEvaluation) -> String {
    let mut words = format!("\nevaluated on {}:", record.suite);
    for system in &record.systems {
        let rate = system.word_error_rate.map_or_else(
            || "word errors not measured".to_owned(),
            |w| format!("WER {:.1}% ({:.1} to {:.1})", 100.0 * w.value, 100.0 * w.low, 100.0 * w.high),
        );
        words.push_str(&format!(
            "\n  {:<26} {rate}, {} failures of {}",
            system.system, system.n_failures, system.n_utterances
        ));
    }
    words
}

/// What it was trained on and can say.
fn abilities(manifest: &BundleManifest) -> String {
    let (contract, ar) = (&manifest.ar_contract, &manifest.decode.ar);
    let longest_s = contract.max_frames as f64 / contract.codec.frame_rate_hz();
    let drawn = if ar.temperature > 0.0 {
        format!(
            "draws codes at temperature {}, keeps the best of {}",
            ar.temperature, manifest.decode.best_of
        )
    } else {
        "takes the likeliest codes".to_owned()
    };
    format!(
        "\ntrained by the configuration {}; says up to {} symbols and {longest_s:.1} s at a time; {drawn}",
        manifest.config, contract.max_text_symbols
    )
}

pub(crate) fn run(arguments: &InspectArguments, as_json: bool) -> Result<(), Failure> {
    let Bundle { manifest, origin, voices, codec, .. } = Bundle::open(&arguments.bundle)?;
    let names: Vec<&str> = voices.iter().map(|voice| voice.name.as_str()).collect();
    let references: Map<String, Value> = voices
        .iter()
        .filter_map(|voice| Some((voice.name.clone(), voice.reference.as_ref()?)))
        .map(|(name, reference)| {
            let duration_s = reference.n_frames() as f64 / codec.spec().frame_rate_hz();
            (name, json!({ "duration_s": duration_s, "transcript": reference.transcript() }))
        })
        .collect();
    let said = match (names.is_empty(), manifest.voices.is_empty()) {
        (true, _) => "none of its own, speaks in the voice of any recording".to_owned(),
        (false, true) => format!("{} and that of any recording", names.join(", ")),
        (false, false) => names.join(", "),
    };
    let value = json!({
        "name": manifest.name,
        "voices": names,
        "references": references,
        "takes_references": manifest.voices.is_empty(),
        "known_words": manifest.known_words,
        "codec": manifest.ar_contract.codec,
        "updates": { "ar": manifest.updates[0], "nar": manifest.updates[1] },
        "config": manifest.config,
        "decode": manifest.decode,
        "max_text_symbols": manifest.ar_contract.max_text_symbols,
        "evaluation": manifest.evaluation,
        "blake3": origin.blake3,
    });
    let abilities = abilities(&manifest);
    let words = format!(
        "{}: voices {}; {} Hz, {} codebooks; AR after {} updates, NAR after {}; {}",
        manifest.name,
        said,
        manifest.ar_contract.codec.sample_rate_hz,
        manifest.ar_contract.codec.n_codebooks,
        manifest.updates[0],
        manifest.updates[1],
        manifest.known_words.map_or_else(
            || "open vocabulary".to_owned(),
            |w| format!("knows only {} words: {}", w.len(), w.join(" "))
        )
    ) + &abilities
        + &manifest.evaluation.map_or_else(|| "\nnot evaluated".to_owned(), |e| evaluation(&e));
    print(as_json, &value, &words);
    Ok(())
}
