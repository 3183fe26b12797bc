//! `config`: check, show, compare.

use crate::failure::Failure;
use crate::output::Output;
use crate::setup::ConfigArguments;
use clap::Subcommand;
use harmonica_config_schema::{ConfigDiff, ConfigLoader};
use std::path::PathBuf;

/// Commands about configurations.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Report every problem of the layers
    #[command(after_help = "Example: harmonica-lab config check --config configs/demo.toml")]
    Check(ConfigArguments),
    /// Print the resolved configuration
    #[command(after_help = "Example: harmonica-lab config show --config configs/demo.toml --json")]
    Show(ConfigArguments),
    /// Print each key that differs between two files
    #[command(after_help = "Example: harmonica-lab config diff configs/demo.toml configs/ljspeech.toml")]
    Diff {
        /// Left file
        left: PathBuf,
        /// Right file
        right: PathBuf,
    },
}

pub(crate) fn run(command: ConfigCommand, out: Output) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check(arguments) => {
            let config = arguments.load()?;
            let words = format!("ok, fingerprint {}", config.fingerprint());
            out.result(&serde_json::json!({ "ok": true, "fingerprint": config.fingerprint() }), &words);
        }
        ConfigCommand::Show(arguments) => {
            let config = arguments.load()?;
            let words = toml::to_string(&config).map_err(|e| Failure::error(e.to_string()))?;
            out.result(&config, words.trim_end());
        }
        ConfigCommand::Diff { left, right } => {
            let load = |path: PathBuf| ConfigLoader::new().file(path).load();
            let diff = ConfigDiff::between(&load(left)?, &load(right)?);
            let words: Vec<String> =
                diff.entries.iter().map(|e| format!("{}: {} -> {}", e.key, e.left, e.right)).collect();
            out.result(&diff, &words.join("\n"));
        }
    }
    Ok(())
}
