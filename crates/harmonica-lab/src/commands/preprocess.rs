//! `preprocess`: corpus to token cache, with its quality report; by one process or by many.

use crate::failure::Failure;
use crate::output::{Meter, Output};
use crate::setup::{ConfigArguments, open_cache, open_codec};
use clap::{Args, ValueEnum};
use harmonica_data::{
    Effort, Manifest, Preprocessed, Preprocessor, ShardShare, TokenCache, copy_report, process_time,
};
use harmonica_text::{TextTokenizer, Vocab};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A part of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// Say what is to be made
    Plan,
    /// Make the shards of a share
    Run,
    /// Put the cache together
    Finish,
}

/// Arguments of `preprocess`.
#[derive(Debug, Args)]
#[command(
    after_help = "On many machines (docs/preprocessing.md): preprocess run --config F --shard 3/64, then preprocess finish --config F\n\
                  Example: harmonica-lab preprocess --config configs/demo.toml --report-dir runs/demo/quality"
)]
pub(crate) struct PreprocessArguments {
    /// Only this part of the work; everything if it is left out
    step: Option<Step>,
    #[command(flatten)]
    config: ConfigArguments,
    /// Make only the i-th of N shares of the shards, counted from 0
    #[arg(long, value_name = "i/N", value_parser = ShardShare::parse)]
    shard: Option<ShardShare>,
    /// Where quality.json, quality.csv, blacklist.txt and quality.html go beside the copy in the cache
    #[arg(long, value_name = "DIR")]
    report_dir: Option<PathBuf>,
    /// Keep a cache that was made from something else
    #[arg(long)]
    allow_cache_mismatch: bool,
}

pub(crate) fn run(arguments: &PreprocessArguments, out: Output) -> Result<(), Failure> {
    let mut progress = Progress::new(out);
    let config = arguments.config.load()?;
    let codec = open_codec(&config, out)?;
    let dir = Path::new(&config.data.cache_dir);
    if arguments.allow_cache_mismatch && dir.join("fingerprint.json").exists() {
        let cache = open_cache(&config, codec.as_ref(), true)?;
        up_to_date(&cache, dir, out);
        return Ok(());
    }
    let manifest = Manifest::of(&config.data)?;
    let tokenizer = TextTokenizer::new(Vocab::english());
    let work = Preprocessor::new(&manifest, &config, codec.as_ref(), &tokenizer);
    let step = match (arguments.step, arguments.shard) {
        (None, Some(_)) => Some(Step::Run),
        (step, _) => step,
    };
    match step {
        Some(Step::Plan) => {
            let n_shards = work.n_shards(dir)?;
            let n_rows = manifest.utterances.len();
            let words = format!(
                "{n_rows} rows in {n_shards} shards, {} skipped by the importer; up to {n_shards} processes can share them",
                manifest.skipped.len()
            );
            let value =
                serde_json::json!({ "rows": n_rows, "skipped": manifest.skipped, "shards": n_shards });
            out.result(&value, &words);
            return Ok(());
        }
        Some(Step::Run) => {
            let effort =
                work.run(dir, arguments.shard.unwrap_or(ShardShare::ALL), |effort| progress.at(effort))?;
            let cost = progress.cost(&effort);
            let words = format!(
                "{} shards made, {} rows decoded, {} known already; `preprocess finish` puts the cache together",
                effort.shards_made, effort.rows_decoded, effort.rows_reused
            );
            out.result(&with_cost(serde_json::json!(effort), &cost), &words);
            return Ok(());
        }
        Some(Step::Finish) => {
            let done = work.finish(dir)?;
            let cost = progress.cost(&done.effort);
            return told(&done, &cost, arguments, dir, out);
        }
        None => {}
    }
    let done = work.make(dir, |effort| progress.at(effort))?;
    if done.was_current {
        if let Some(report_dir) = &arguments.report_dir {
            copy_report(dir, report_dir)?;
        }
        up_to_date(&done.cache, dir, out);
        return Ok(());
    }
    let cost = progress.cost(&done.effort);
    told(&done, &cost, arguments, dir, out)
}

fn up_to_date(cache: &TokenCache, dir: &Path, out: Output) {
    let n = cache.utterances().len();
    let mismatch = cache.accepted_differences();
    let words = format!(
        "the cache at {} is {}: {n} utterances",
        dir.display(),
        if mismatch.is_empty() { "up to date" } else { "kept although it was made from something else" }
    );
    let value =
        serde_json::json!({ "utterances": n, "up_to_date": mismatch.is_empty(), "mismatch": mismatch });
    out.result(&value, &words);
}

/// A result with what it took.
fn with_cost(mut value: serde_json::Value, cost: &Cost) -> serde_json::Value {
    value["cost"] = serde_json::json!(cost);
    value["cost"]["over_share"] = cost.over_share().into();
    value
}

fn told(
    done: &Preprocessed,
    cost: &Cost,
    arguments: &PreprocessArguments,
    dir: &Path,
    out: Output,
) -> Result<(), Failure> {
    let Preprocessed { report, effort, .. } = done;
    if let Some(report_dir) = &arguments.report_dir {
        copy_report(dir, report_dir)?;
    }
    let words = format!(
        "{} utterances kept, {} dropped; {} decoded anew, {} known already; cache at {}",
        report.kept,
        report.dropped_utterances,
        effort.rows_decoded,
        effort.rows_reused,
        dir.display()
    );
    let value = serde_json::json!({
        "rows": report.rows, "kept": report.kept, "dropped": report.dropped, "cache": dir.display().to_string(), "effort": effort,
    });
    out.result(&with_cost(value, cost), &words);
    Ok(())
}

/// A progress line, and at the end where the time went.
struct Progress {
    out: Output,
    meter: Option<Meter>,
    rows_done: Option<usize>,
    started: Instant,
}

impl Progress {
    fn new(out: Output) -> Self {
        Self { out, meter: None, rows_done: None, started: Instant::now() }
    }

    fn at(&mut self, effort: &Effort) {
        let hours_an_hour = effort.audio_s / self.started.elapsed().as_secs_f64().max(1e-9);
        if self.rows_done == Some(effort.rows_done) {
            return;
        }
        self.rows_done = Some(effort.rows_done);
        let meter = self.meter.get_or_insert_with(|| Meter::new(effort.rows, "preprocess"));
        meter.at_with(effort.rows_done, &format!("{hours_an_hour:.0} h of audio an hour"));
    }

    /// What the work took, said and for programs.
    fn cost(&self, effort: &Effort) -> Cost {
        let wall_s = self.started.elapsed().as_secs_f64();
        let cost = Cost {
            wall_s,
            processor_s: process_time().as_secs_f64(),
            threads: rayon::current_num_threads(),
            stages_s: effort.stages.total(),
        };
        let stages: Vec<String> =
            effort.stages.named().iter().map(|(name, seconds)| format!("{name} {seconds:.2}")).collect();
        self.out.note(&format!(
            "preprocess took {wall_s:.2} s for {:.1} min of audio on {} threads; processor seconds: {}, together {:.2} of {:.2} that \
             the process took; {:.2} times their share of a thread",
            effort.audio_s / 60.0,
            cost.threads,
            stages.join(", "),
            cost.stages_s,
            cost.processor_s,
            cost.over_share()
        ));
        cost
    }
}

/// What preprocessing took.
#[derive(Debug, Clone, Copy, Serialize)]
struct Cost {
    /// Seconds by the clock.
    wall_s: f64,
    /// Processor seconds of the whole process.
    processor_s: f64,
    /// Threads that encode.
    threads: usize,
    /// Processor seconds of all stages.
    stages_s: f64,
}

impl Cost {
    /// Time by the clock over what all threads would need if none ever waited.
    fn over_share(&self) -> f64 {
        self.wall_s * self.threads as f64 / self.stages_s.max(1e-9)
    }
}
