//! `data`: unpack and check corpora, and see how their batches are spread.

use crate::commands::slices::{self, HeldOutSplit};
use crate::failure::Failure;
use crate::output::{Meter, Output};
use crate::setup::ConfigArguments;
use clap::{Subcommand, ValueEnum};
use harmonica_config_schema::{CorpusLayout, ExperimentConfig};
use harmonica_data::{
    BatchPlan, DataError, Manifest, SliceSizes, Split, TokenCache, check, read_cross_entropies, unpack,
};
use harmonica_text::{TextTokenizer, Vocab};
use std::path::{Path, PathBuf};

/// A layout on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Layout {
    /// metadata.csv and wavs/
    Ljspeech,
    /// manifest.jsonl
    Manifest,
    /// LibriTTS and LibriTTS-R
    Libritts,
    /// VCTK 0.92
    Vctk,
    /// Common Voice
    CommonVoice,
    /// NeMo's manifest.json
    Nemo,
    /// Lhotse's cuts.jsonl, or recordings.jsonl and supervisions.jsonl
    Lhotse,
    /// Hugging Face's *.parquet with audio in them, in programs built with --features parquet
    Parquet,
}

impl From<Layout> for CorpusLayout {
    fn from(layout: Layout) -> Self {
        match layout {
            Layout::Ljspeech => Self::Ljspeech,
            Layout::Manifest => Self::Manifest,
            Layout::Libritts => Self::Libritts,
            Layout::Vctk => Self::Vctk,
            Layout::CommonVoice => Self::CommonVoice,
            Layout::Nemo => Self::Nemo,
            Layout::Lhotse => Self::Lhotse,
            Layout::Parquet => Self::Parquet,
        }
    }
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
        /// Where quality.json, quality.csv, blacklist.txt and quality.html go
        #[arg(long, value_name = "DIR")]
        output: Option<PathBuf>,
        /// What a model makes of each utterance, a line each: id, tab, nats a token. Suspected transcripts are listed
        #[arg(long, value_name = "FILE")]
        cross_entropies: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigArguments,
    },
    /// Fix slices of what is held out as suites: short, medium, long, rare symbols, single speakers
    ///
    /// The cache must be there. Recordings are copied to OUTPUT/audio, hashes go into OUTPUT/fingerprints.json, and a
    /// suite that changed since is refused when it is evaluated. A directory of other slices is left as it is.
    #[command(
        after_help = "Example: harmonica-lab data slices --config configs/demo.toml --output runs/demo/slices"
    )]
    Slices {
        /// Where the suites go
        #[arg(long, value_name = "DIR")]
        output: PathBuf,
        /// Which utterances are divided
        #[arg(long, default_value = "test")]
        split: HeldOutSplit,
        /// Most sentences of a slice
        #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        sentences: u32,
        /// Most speakers that have a slice of their own
        #[arg(long, value_name = "N", default_value_t = 4)]
        speakers: usize,
        #[command(flatten)]
        config: ConfigArguments,
    },
    /// Say how the batches of an epoch are spread over speakers, lengths and symbols
    #[command(
        after_help = "Example: harmonica-lab data balance --config configs/demo.toml --set data.sampling.kind=stratified"
    )]
    Balance {
        /// Which epoch, counted from 0
        #[arg(long, default_value_t = 0)]
        epoch: u64,
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
        DataCommand::Check { corpus, layout, output, cross_entropies, config } => {
            let config = config.load()?;
            // Before an hour of measuring, not after it.
            let figures = cross_entropies.as_deref().map(read_cross_entropies).transpose()?;
            let manifest = Manifest::read(&corpus, layout.into(), config.data.follow_links_outside)?;
            let mut meter = Meter::new(manifest.utterances.len(), "check");
            let tokenizer = TextTokenizer::new(Vocab::english());
            let report = check(&manifest, &config, &tokenizer, |effort| meter.at(effort.rows_done))?;
            let summary = &report.summary;
            let mut words = format!(
                "{} rows: {} kept, {} dropped",
                summary.rows, summary.kept, summary.dropped_utterances
            );
            let report = match figures {
                None => report,
                Some(figures) => report.with_cross_entropies(figures)?,
            };
            let suspects = report.suspects();
            for row in suspects.iter().take(10) {
                let [nats, far] =
                    [row.cross_entropy, row.cross_entropy_deviation].map(Option::unwrap_or_default);
                words.push_str(&format!("\n{}: {nats:.3} nats, {far:.1} deviations: {}", row.id, row.text));
            }
            if suspects.len() > 10 {
                words.push_str(&format!("\nand {} more suspected transcripts", suspects.len() - 10));
            }
            if let Some(dir) = output {
                report.write(&dir)?;
            }
            out.result(&report, &words);
        }
        DataCommand::Slices { output, split, sentences, speakers, config } => {
            let sizes = SliceSizes { sentences: sentences as usize, speakers };
            slices::run(&config.load()?, split, sizes, &output, out)?;
        }
        DataCommand::Balance { epoch, config } => balance(epoch, &config.load()?, out)?,
    }
    Ok(())
}

fn balance(epoch: u64, config: &ExperimentConfig, out: Output) -> Result<(), Failure> {
    let cache = TokenCache::open(Path::new(&config.data.cache_dir), None)?;
    let lengths: Vec<(usize, usize)> =
        cache.split(Split::Train).into_iter().map(|i| (i, cache.utterances()[i].n_frames)).collect();
    if lengths.is_empty() {
        return Err(DataError::EmptySplit { split: "train" }.into());
    }
    let mut plan = BatchPlan::of_cache(&cache, lengths, &config.data, config.seed);
    let Some(balance) = plan.balance(epoch) else { return Ok(()) };
    let words = format!(
        "{} draws of {} utterances, one at most {} times; distance from the target: speakers {:.4}, lengths {:.4}, symbols {:.4}; \
         padding {:.1}%",
        balance.draws,
        balance.distinct,
        balance.most_repeats,
        balance.speaker_distance,
        balance.length_distance,
        balance.symbol_distance,
        100.0 * balance.padding_share
    );
    out.result(&balance, &words);
    Ok(())
}
