//! `preprocess`: corpus to token cache, with its quality report.

use crate::failure::Failure;
use crate::output::{Meter, Output};
use crate::setup::{ConfigArguments, open_cache, open_codec};
use clap::Args;
use harmonica_data::{Manifest, preprocess};
use harmonica_text::{TextTokenizer, Vocab};
use std::path::{Path, PathBuf};

/// Arguments of `preprocess`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: harmonica-lab preprocess --config configs/demo.toml --report-dir runs/demo/quality"
)]
pub(crate) struct PreprocessArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Where quality.json, quality.csv and blacklist.txt go beside the copy in the cache
    #[arg(long, value_name = "DIR")]
    report_dir: Option<PathBuf>,
    /// Keep a cache that was made from something else
    #[arg(long)]
    allow_cache_mismatch: bool,
}

pub(crate) fn run(arguments: &PreprocessArguments, out: Output) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    let codec = open_codec(&config, out)?;
    let cache_dir = Path::new(&config.data.cache_dir);
    if cache_dir.join("fingerprint.json").exists() {
        match open_cache(&config, codec.as_ref(), arguments.allow_cache_mismatch) {
            Ok(cache) => {
                let n = cache.utterances().len();
                let words = format!(
                    "the cache at {} is up to date: {n} utterances; its quality report was left as it is",
                    cache_dir.display()
                );
                out.result(&serde_json::json!({ "utterances": n, "up_to_date": true }), &words);
                return Ok(());
            }
            Err(failure) => out.note(&format!("rebuilding: {}", failure.message)),
        }
    }
    let manifest = Manifest::read(Path::new(&config.data.corpus_dir), config.data.layout)?;
    let tokenizer = TextTokenizer::new(Vocab::english());
    let mut meter = Meter::new(manifest.utterances.len(), "preprocess");
    let done = preprocess(&manifest, &config, codec.as_ref(), &tokenizer, |n| meter.at(n))?;
    // Sealed with the cache: other processes may put theirs in its place at any moment.
    done.cache.write(cache_dir, &done.report.files()?)?;
    if let Some(dir) = &arguments.report_dir {
        done.report.write(dir)?;
    }
    let words = format!(
        "{} utterances kept, {} dropped; cache at {}",
        done.report.kept,
        done.report.dropped_utterances,
        cache_dir.display()
    );
    let value = serde_json::json!({
        "rows": done.report.rows, "kept": done.report.kept, "dropped": done.report.dropped, "cache": cache_dir.display().to_string(),
    });
    out.result(&value, &words);
    Ok(())
}
