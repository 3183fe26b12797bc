//! `config`: check, show, compare, and describe every key.

use crate::failure::Failure;
use crate::output::Output;
use crate::setup::ConfigArguments;
use clap::Subcommand;
use harmonica_config_schema::{ConfigDiff, ConfigLoader, json_schema, reference_page};
use std::path::PathBuf;

/// Commands about configurations.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Report every problem of all layers, each with its place and what to do
    #[command(after_help = "Example: harmonica-lab config check --config configs/demo.toml")]
    Check(ConfigArguments),
    /// Print the resolved configuration; a comment behind each value says where it comes from
    #[command(after_help = "Example: harmonica-lab config show --config configs/demo.toml --json")]
    Show {
        #[command(flatten)]
        layers: ConfigArguments,
        /// With --json: print where each key comes from instead of its value
        #[arg(long)]
        provenance: bool,
    },
    /// Print each key that differs between two files
    #[command(after_help = "Example: harmonica-lab config diff configs/demo.toml configs/ljspeech.toml")]
    Diff {
        /// Left file
        left: PathBuf,
        /// Right file
        right: PathBuf,
    },
    /// Print the JSON schema of configuration files, for editors
    #[command(after_help = "Example: harmonica-lab config schema > docs/configuration.schema.json")]
    Schema,
    /// Print the page that lists every key
    #[command(after_help = "Example: harmonica-lab config docs > docs/configuration.md")]
    Docs,
}

pub(crate) fn run(command: ConfigCommand, out: Output) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check(arguments) => {
            let config = arguments.load()?;
            let words = format!("ok, fingerprint {}", config.fingerprint());
            out.result(&serde_json::json!({ "ok": true, "fingerprint": config.fingerprint() }), &words);
        }
        ConfigCommand::Show { layers, provenance } => {
            let resolved = layers.resolve()?;
            let words = resolved.to_toml();
            if provenance {
                out.result(&resolved.provenance, words.trim_end());
            } else {
                out.result(&resolved.config, words.trim_end());
            }
        }
        ConfigCommand::Diff { left, right } => {
            let load = |path: PathBuf| ConfigLoader::new().file(path).load();
            let diff = ConfigDiff::between(&load(left)?, &load(right)?);
            let words: Vec<String> =
                diff.entries.iter().map(|e| format!("{}: {} -> {}", e.key, e.left, e.right)).collect();
            out.result(&diff, &words.join("\n"));
        }
        ConfigCommand::Schema => {
            let schema = json_schema();
            out.result(&schema, &format!("{schema:#}"));
        }
        ConfigCommand::Docs => {
            let page = reference_page();
            out.result(&serde_json::json!({ "page": page }), page.trim_end());
        }
    }
    Ok(())
}
