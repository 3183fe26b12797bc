//! `train`: one model in one run directory.

use crate::dashboard::Dashboard;
use crate::failure::Failure;
use crate::interrupt::{INTERRUPTED, Interrupt};
use crate::observers::LabObserver;
use crate::output::Output;
use crate::samples::{HearItLearn, Speaks};
use crate::setup::{ConfigArguments, contract, geometry, open_cache, open_codec};
use clap::{Args, ValueEnum};
use harmonica_codec::AudioCodec;
use harmonica_config_schema::ResolvedConfig;
use harmonica_config_schema::record::{FORMAT_VERSION, RunManifest};
use harmonica_data::Split;
use harmonica_model_core::{LossRegistry, parameter_names};
use harmonica_runtime::{DevicePreference, open_device};
use harmonica_training::{ArTask, Checkpoint, NarTask, RunDir, Task, TensorBoard, TrainOutcome, Trainer};
use std::path::PathBuf;
use std::sync::Arc;

/// Which of the two models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModelKind {
    /// Writes codebook 1.
    Ar,
    /// Fills codebooks 2..Q.
    Nar,
}

impl ModelKind {
    /// As records name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ar => "ar",
            Self::Nar => "nar",
        }
    }
}

/// Arguments of `train`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: harmonica-lab train --model ar --config configs/demo.toml --run-dir runs/demo/ar"
)]
pub(crate) struct TrainArguments {
    /// Which model
    #[arg(long)]
    model: ModelKind,
    #[command(flatten)]
    config: ConfigArguments,
    /// Where metrics and checkpoints go
    #[arg(long, value_name = "DIR")]
    run_dir: PathBuf,
    /// Go on with the run that is there; without a checkpoint it starts at update 0
    #[arg(long)]
    resume: bool,
    /// Begin a new run with the averaged weights of this checkpoint; what fits is listed in init.json
    #[arg(long, value_name = "CHECKPOINT")]
    init_from: Option<PathBuf>,
    /// Overrides training.{ar,nar}.max_updates
    #[arg(long, value_name = "N")]
    max_updates: Option<u64>,
    #[arg(long, default_value = "auto", help = "auto, cpu, wgpu[:i], metal, vulkan[:i] or cuda[:i]")]
    device: DevicePreference,
    /// Take the cache as it is, whatever it was made from
    #[arg(long)]
    allow_cache_mismatch: bool,
    /// Plain lines on a terminal too, where a program with the dashboard (feature `tui`) would draw curves
    #[arg(long)]
    plain: bool,
}

pub(crate) fn run(arguments: &TrainArguments, out: Output) -> Result<(), Failure> {
    let interrupt = Interrupt::listen()?;
    let mut layers = arguments.config.clone();
    if let Some(n) = arguments.max_updates {
        layers.overrides.extend(["ar", "nar"].map(|model| format!("training.{model}.max_updates={n}")));
    }
    let resolved = layers.resolve()?;
    let config = &resolved.config;
    let device = open_device(arguments.device)?;
    tracing::info!("device {} ({})", device.name, device.reason);
    let autodiff = device.device.clone().autodiff();
    let codec = open_codec(config, out)?;
    let cache = Arc::new(open_cache(config, codec.as_ref(), arguments.allow_cache_mismatch)?);
    let run = RunDir::new(&arguments.run_dir)?;
    let is_ar = arguments.model == ModelKind::Ar;
    let contract = contract(config, codec.as_ref(), &cache, is_ar);
    contract.check_codec(codec.spec(), codec.fingerprint())?;
    let mut registry = LossRegistry::stable();
    harmonica_research::register(&mut registry);
    let geometry = geometry(codec.as_ref());
    let manifest = RunManifest {
        format_version: FORMAT_VERSION,
        name: config.name.clone(),
        model: arguments.model.name().into(),
        n_parameters: 0,
        config: config.fingerprint(),
        cache: cache.digest(),
        cache_mismatch: cache.accepted_differences().to_vec(),
        program: env!("CARGO_PKG_VERSION").into(),
        device: device.name.clone(),
        stopped: String::new(),
    };
    let valid = cache.split(Split::Valid).first().copied();
    let sitting = Sitting { out, interrupt, codec, valid, board: TensorBoard::new(&run) };
    let outcome = if is_ar {
        let task = ArTask::new(config, cache, geometry, contract, registry, &autodiff)?;
        sitting.train(task, &resolved, &run, arguments, manifest)?
    } else {
        let task = NarTask::new(config, cache, geometry, contract, registry, &autodiff)?;
        sitting.train(task, &resolved, &run, arguments, manifest)?
    };
    if outcome.is_interrupted {
        let message = format!(
            "{} after {} updates; a checkpoint was written, `--resume` goes on from it",
            outcome.stopped, outcome.update
        );
        return Err(Failure { code: INTERRUPTED, ..Failure::error(message) });
    }
    let words = format!("{} updates; {}", outcome.update, outcome.stopped);
    out.result(
        &serde_json::json!({ "update": outcome.update, "stopped": outcome.stopped, "best": outcome.best }),
        &words,
    );
    Ok(())
}

/// What a process trains with, whichever the model.
struct Sitting {
    out: Output,
    interrupt: Interrupt,
    codec: Arc<dyn AudioCodec>,
    /// The validation utterance that is spoken.
    valid: Option<usize>,
    board: TensorBoard,
}

impl Sitting {
    fn train<T: Task + 'static>(
        self,
        task: T,
        resolved: &ResolvedConfig,
        run: &RunDir,
        arguments: &TrainArguments,
        manifest: RunManifest,
    ) -> Result<TrainOutcome, Failure>
    where
        T::Model: Speaks,
    {
        let sentence = self.valid.map(|utterance| HearItLearn {
            codec: Arc::clone(&self.codec),
            sample: task.sample(utterance),
            dir: arguments.run_dir.join("samples"),
        });
        let mut trainer = Trainer::new(task, &resolved.config, run.clone(), arguments.resume)?;
        let begun = match &arguments.init_from {
            Some(from) => trainer.begin_with(&Checkpoint::open(from)?)?,
            None => None,
        };
        if let Some(told) = begun {
            let (loaded, resized, skipped) = (told.loaded.len(), told.resized.len(), told.skipped.len());
            tracing::info!(
                "from {}: {loaded} tensors loaded, {resized} resized, {skipped} skipped",
                told.from
            );
            told.resized
                .iter()
                .for_each(|(path, [there, here])| tracing::info!("resized {path}: {there:?} to {here:?}"));
            told.skipped.iter().for_each(|(path, why)| tracing::info!("skipped {path}: {why}"));
        }
        let n_parameters = parameter_names(trainer.averaged()).iter().map(|(_, n)| n).sum();
        run.describe(&resolved.config, &RunManifest { n_parameters, ..manifest })?;
        run.describe_provenance(&resolved.provenance)?;
        // The terminal is taken when nothing can be refused any more.
        let dashboard = if arguments.plain || self.out.json { None } else { Dashboard::open() };
        let mut observer = LabObserver {
            out: self.out,
            name: arguments.model.name(),
            interrupt: self.interrupt,
            sentence,
            board: self.board,
            dashboard,
        };
        Ok(trainer.run(&mut observer)?)
    }
}
