//! `doctor`: what would go wrong with a run and what it will cost, before it starts.

use crate::failure::Failure;
use crate::output::Output;
use crate::setup::{ConfigArguments, geometry, open_cache, open_codec};
use clap::Args;
use harmonica_codec::AudioCodec;
use harmonica_config_schema::ExperimentConfig;
use harmonica_data::{LearningFloor, Manifest, Split, TokenCache};
use harmonica_model_core::{ArModel, NarModel, parameter_names};
use harmonica_runtime::{DevicePreference, OpenDevice, open_device};
use harmonica_storage::free_bytes;
use serde::Serialize;
use std::path::Path;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Example: harmonica-lab doctor --config configs/demo.toml")]
pub(crate) struct DoctorArguments {
    #[command(flatten)]
    config: ConfigArguments,
    #[arg(long, default_value = "auto", help = "auto, cpu, wgpu[:i], metal, vulkan[:i] or cuda[:i]")]
    device: DevicePreference,
}

/// What was found about one thing.
#[derive(Debug, Serialize)]
struct Finding {
    /// What was looked at.
    what: &'static str,
    /// Whether a run could start.
    ok: bool,
    /// What was found, and what to do if it is not well.
    detail: String,
}

/// Weights, gradients and two moments as f32, the running average too.
const BYTES_A_PARAMETER_IN_MEMORY: u64 = 5 * 4;
/// Weights, running average and two moments as f32.
const BYTES_A_PARAMETER_ON_DISK: u64 = 4 * 4;

pub(crate) fn run(arguments: &DoctorArguments, out: Output) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    let mut findings = Vec::new();
    let mut tell = |what, found: Result<String, Failure>| {
        let ok = found.is_ok();
        let detail = found.unwrap_or_else(|failure| failure.message);
        out.note(&format!("{} {what}: {detail}", if ok { "ok  " } else { "FAIL" }));
        findings.push(Finding { what, ok, detail });
    };
    tell("configuration", Ok(format!("`{}` is valid, fingerprint {}", config.name, config.fingerprint())));
    tell("corpus", corpus(&config));
    let codec = open_codec(&config, out);
    let cache = match &codec {
        Ok(codec) => open_cache(&config, codec.as_ref(), false),
        Err(_) => Err(Failure::error("cannot be judged without its codec")),
    };
    let device = open_device(arguments.device);
    let described = codec.as_ref().map(|codec| {
        let spec = codec.spec();
        format!("{} at {:.1} frames a second, {} codebooks", spec.id, spec.frame_rate_hz(), spec.n_codebooks)
    });
    tell("codec", described.map_err(|failure| Failure::error(failure.message.clone())));
    let described = cache.as_ref().map(inventory);
    tell("cache", described.map_err(|failure| Failure::error(failure.message.clone())));
    let described = device.as_ref().map(|device| format!("{} ({})", device.name, device.reason));
    tell("device", described.map_err(|error| Failure::error(error.to_string())));
    let mut floors = Vec::new();
    if let (Ok(codec), Ok(cache), Ok(device)) = (&codec, &cache, &device) {
        let n_parameters = parameters(&config, codec.as_ref(), cache, device);
        tell("disk", disk(&config, n_parameters));
        tell("memory", memory(n_parameters));
        tell("cost", Ok(cost(&config, cache)));
        floors = LearningFloor::of(cache);
        for floor in &floors {
            out.note(&format!(
                "     codebook {}: a model must be below {:.3} nats (unigram) and should be below {:.3} (bigram)",
                floor.codebook, floor.unigram, floor.bigram
            ));
        }
    }
    let n_failed = findings.iter().filter(|finding| !finding.ok).count();
    let value = serde_json::json!({ "ok": n_failed == 0, "findings": findings, "floors": floors });
    if n_failed > 0 {
        let result = value.as_object().cloned().unwrap_or_default();
        let message = format!("{n_failed} things would stop this run; see above");
        return Err(Failure { code: 1, result, ..Failure::error(message) });
    }
    out.result(&value, "this run can start");
    Ok(())
}

fn corpus(config: &ExperimentConfig) -> Result<String, Failure> {
    let manifest = Manifest::of(&config.data)?;
    let first = manifest.utterances.first();
    let first = first.ok_or_else(|| {
        Failure::error("the corpus has no utterance; check data.corpus_dir and data.layout")
    })?;
    manifest.audio_path(first, config.data.follow_links_outside)?;
    Ok(format!(
        "{} utterances, {} skipped by the importer",
        manifest.utterances.len(),
        manifest.skipped.len()
    ))
}

fn inventory(cache: &TokenCache) -> String {
    let rate_hz = cache.spec().frame_rate_hz();
    let of = |split: Split| {
        let rows = cache.split(split);
        let frames: usize = rows.iter().map(|i| cache.utterances()[*i].n_frames).sum();
        format!("{} {} ({:.2} h)", rows.len(), split.name(), frames as f64 / rate_hz / 3600.0)
    };
    let splits = [Split::Train, Split::Valid, Split::Test].map(of).join(", ");
    format!("{splits}, {} speakers", cache.speakers().len())
}

/// Trained parameters of the AR and the NAR model.
fn parameters(
    config: &ExperimentConfig,
    codec: &dyn AudioCodec,
    cache: &TokenCache,
    device: &OpenDevice,
) -> [u64; 2] {
    let geometry = geometry(codec);
    let (spec, n_symbols, n_speakers) = (codec.spec(), cache.vocab().len(), cache.speakers().len());
    let device = &device.device;
    let ar =
        ArModel::new(&config.model.ar, spec, n_symbols, n_speakers, Some(&geometry), config.seed, device);
    let nar =
        NarModel::new(&config.model.nar, spec, n_symbols, n_speakers, Some(&geometry), config.seed, device);
    let sum = |names: Vec<(String, usize)>| names.iter().map(|(_, n)| *n as u64).sum();
    [sum(parameter_names(&ar)), sum(parameter_names(&nar))]
}

fn disk(config: &ExperimentConfig, n_parameters: [u64; 2]) -> Result<String, Failure> {
    // Those that are kept, the best one, and the one that is being written.
    let n_checkpoints = config.training.keep_checkpoints as u64 + 2;
    let needed: u64 = n_parameters.iter().map(|n| n * BYTES_A_PARAMETER_ON_DISK * n_checkpoints).sum();
    let mib = |bytes: u64| bytes >> 20;
    match free_bytes(Path::new(".")) {
        Some(free) if free < needed => Err(Failure::error(format!(
            "checkpoints of both models need {} MiB and {} MiB are free; make room or lower training.keep_checkpoints",
            mib(needed),
            mib(free)
        ))),
        Some(free) => Ok(format!("checkpoints need {} MiB, {} MiB are free here", mib(needed), mib(free))),
        None => Ok(format!("checkpoints need {} MiB; the system does not say what is free", mib(needed))),
    }
}

fn memory(n_parameters: [u64; 2]) -> Result<String, Failure> {
    let [ar, nar] = n_parameters;
    let needed = (ar + nar) * BYTES_A_PARAMETER_IN_MEMORY;
    let words = format!(
        "{:.1}M and {:.1}M parameters; weights, gradients and optimizers of both take {} MiB, activations come on top",
        ar as f64 / 1e6,
        nar as f64 / 1e6,
        needed >> 20
    );
    let available = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemAvailable"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    match available {
        Some(kib) if kib * 1024 < needed => {
            Err(Failure::error(format!("{words}; {} MiB are available", kib >> 10)))
        }
        Some(kib) => Ok(format!("{words}; {} MiB are available", kib >> 10)),
        None => Ok(words),
    }
}

fn cost(config: &ExperimentConfig, cache: &TokenCache) -> String {
    let train = cache.split(Split::Train);
    let frames: usize = train.iter().map(|i| cache.utterances()[*i].n_frames).sum();
    let epochs = |updates: u64, accumulation: usize| {
        updates as f64 * accumulation as f64 * config.data.batch.max_frames as f64 / frames.max(1) as f64
    };
    let (ar, nar) = (&config.training.ar, &config.training.nar);
    format!(
        "AR {} updates (at most {:.1} epochs), NAR {} updates (at most {:.1} epochs), of at most {} frames a batch",
        ar.max_updates,
        epochs(ar.max_updates, ar.grad_accumulation),
        nar.max_updates,
        epochs(nar.max_updates, nar.grad_accumulation),
        config.data.batch.max_frames
    )
}
