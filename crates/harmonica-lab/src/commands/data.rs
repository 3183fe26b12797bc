//! `data`: unpack and check corpora.

use crate::failure::Failure;
use crate::output::{Meter, Output};
use crate::setup::ConfigArguments;
use clap::{Subcommand, ValueEnum};
use harmonica_config_schema::CorpusLayout;
use harmonica_data::{Manifest, check, unpack};
use harmonica_text::{TextTokenizer, Vocab};
use std::path::PathBuf;

/// A layout on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Layout {
    /// metadata.csv and wavs/
    Ljspeech,
    /// manifest.jsonl
    Manifest,
}

/// Commands about corpora.
#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Unpack a packed corpus to LJSpeech layout
    #[command(
        after_help = "Example: harmonica-lab data unpack --packed assets/demo-corpus --corpus runs/demo/corpus"
    )]
    Unpack {
        /// Directory with index.tsv and its streams
        #[arg(long, value_name = "DIR")]
        packed: PathBuf,
        /// Where the corpus goes
        #[arg(long, value_name = "DIR")]
        corpus: PathBuf,
    },
    /// Measure and judge every utterance
    #[command(after_help = "Example: harmonica-lab data check --corpus LJSpeech-1.1 --output quality")]
    Check {
        /// Corpus directory
        #[arg(long, value_name = "DIR")]
        corpus: PathBuf,
        /// How the corpus lies on disk
        #[arg(long, default_value = "ljspeech")]
        layout: Layout,
        /// Where quality.json, quality.csv and blacklist.txt go
        #[arg(long, value_name = "DIR")]
        output: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigArguments,
    },
}

pub(crate) fn run(command: DataCommand, out: Output) -> Result<(), Failure> {
    match command {
        DataCommand::Unpack { packed, corpus } => {
            let n = unpack(&packed, &corpus)?;
            out.result(
                &serde_json::json!({ "utterances": n }),
                &format!("{n} utterances in {}", corpus.display()),
            );
        }
        DataCommand::Check { corpus, layout, output, config } => {
            let layout = match layout {
                Layout::Ljspeech => CorpusLayout::Ljspeech,
                Layout::Manifest => CorpusLayout::Manifest,
            };
            let config = config.load()?;
            let manifest = Manifest::read(&corpus, layout)?;
            let mut meter = Meter::new(manifest.utterances.len(), "check");
            let report = check(&manifest, &config, &TextTokenizer::new(Vocab::english()), |n| meter.at(n));
            if let Some(dir) = output {
                report.write(&dir)?;
            }
            let words =
                format!("{} rows: {} kept, {} dropped", report.rows, report.kept, report.dropped_utterances);
            out.result(&report, &words);
        }
    }
    Ok(())
}
