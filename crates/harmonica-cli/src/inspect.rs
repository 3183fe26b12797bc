//! `inspect`: what a bundle is and can do.

use crate::failure::Failure;
use crate::output::print;
use clap::Args;
use harmonica_inference::Bundle;
use std::path::PathBuf;

/// Arguments of `inspect`.
#[derive(Debug, Args)]
#[command(after_help = "Example: harmonica inspect assets/demo-bundle --json")]
pub(crate) struct InspectArguments {
    /// Bundle directory
    bundle: PathBuf,
}

pub(crate) fn run(arguments: &InspectArguments, as_json: bool) -> Result<(), Failure> {
    let Bundle { manifest, origin, .. } = Bundle::open(&arguments.bundle)?;
    let value = serde_json::json!({
        "name": manifest.name,
        "voices": manifest.voices,
        "known_words": manifest.known_words,
        "codec": manifest.ar_contract.codec,
        "updates": { "ar": manifest.updates[0], "nar": manifest.updates[1] },
        "config": manifest.config,
        "decode": manifest.decode,
        "max_text_symbols": manifest.ar_contract.max_text_symbols,
        "blake3": origin.blake3,
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
    print(as_json, &value, &words);
    Ok(())
}
