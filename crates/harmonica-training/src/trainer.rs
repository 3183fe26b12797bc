//! The loop: batches, updates, averages, validations, checkpoints.

use crate::checkpoint::{CheckpointState, Moment, WeightKind};
use crate::gradients::clip;
use crate::run_dir::step_name;
use crate::run_lock::RunLock;
use crate::sittings::{self, OpenSitting};
use crate::task::scalar;
use crate::{Ema, ParamGroups, Progress, RunDir, Task, TrainObserver, TrainingError, environment};
use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer};
use harmonica_config_schema::ExperimentConfig;
use harmonica_config_schema::record::{
    BestRecord, FORMAT_VERSION, MetricsLine, RunEvent, STOPPED_AT_MAX_UPDATES, TrainMetrics,
    ValidationMetrics,
};
use harmonica_data::{BatchPlan, Split, TokenBatch, prefetch};
use harmonica_model_core::{diagnosis, parameter_names};
use harmonica_storage::require_space;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOutcome {
    /// Updates done.
    pub update: u64,
    /// Whether the observer stopped it before its last update.
    pub is_interrupted: bool,
    /// Why it stopped, in words.
    pub stopped: String,
    /// Best validation.
    pub best: Option<BestRecord>,
}

/// Trains one model in one run directory.
pub struct Trainer<T: Task> {
    task: Arc<T>,
    config: ExperimentConfig,
    run: RunDir,
    model: T::Model,
    ema: Ema<T::Model>,
    optimizer: ModuleOptimizer,
    state: CheckpointState,
    valid: Vec<TokenBatch>,
    /// Updates whose checkpoints were found damaged and have not been written anew.
    unusable: BTreeSet<u64>,
    /// Room that a checkpoint takes, about.
    checkpoint_bytes: u64,
    lock: Arc<RunLock>,
}

impl<T: Task + 'static> Trainer<T> {
    /// A run from its beginning, or, with `resume`, from its last whole checkpoint if it has one. The run directory is
    /// this process's own until the trainer is dropped.
    ///
    /// # Errors
    /// A run directory that holds another run or that another process writes, or a checkpoint that does not fit.
    pub fn new(task: T, config: &ExperimentConfig, run: RunDir, resume: bool) -> Result<Self, TrainingError> {
        let decay = task.optimizer().ema_decay;
        let mut model = task.fresh_model();
        let mut optimizer = ParamGroups::standard().optimizer(task.optimizer());
        let mut ema = Ema::new(&model, decay);
        let mut state = CheckpointState {
            format_version: FORMAT_VERSION,
            model: task.name().into(),
            update: 0,
            skipped: 0,
            window: [0.0; 4],
            best: None,
            cache_mismatch: Vec::new(),
        };
        let checkpoint_bytes = checkpoint_bytes(&model);
        require_space(run.root(), checkpoint_bytes)?;
        let lock = run.lock()?;
        let known = run.manifest();
        let has_checkpoints = !run.checkpoints().is_empty();
        if !resume && (known.is_some() || has_checkpoints) {
            return Err(TrainingError::RunExists { path: run.root().to_owned() });
        }
        if has_checkpoints && known.is_none() {
            let reason = "run.json is missing or damaged".to_owned();
            return Err(TrainingError::Checkpoint { path: run.root().to_owned(), reason });
        }
        let wanted = config.fingerprint();
        if let Some(found) = known.filter(|found| found.config != wanted) {
            let (found, wanted) = (found.config.to_string(), wanted.to_string());
            return Err(TrainingError::OtherConfig { path: run.root().to_owned(), found, wanted });
        }
        run.collect_scratch()?;
        sittings::end_of_the_dead(&run)?;
        let (last, unusable) = run.last_whole()?;
        if let Some(checkpoint) = last {
            state = checkpoint.state().clone();
            let refuse = |reason: &str| TrainingError::Checkpoint {
                path: checkpoint.dir().to_owned(),
                reason: reason.to_owned(),
            };
            if state.format_version != FORMAT_VERSION || state.model != task.name() {
                return Err(refuse("it is of another model or version"));
            }
            if checkpoint.contract() != task.contract() {
                return Err(refuse(
                    "its contract differs: the codec, the vocabulary or the speakers have changed",
                ));
            }
            model = checkpoint.weights(WeightKind::Raw)?.load_into(model)?;
            let average = checkpoint.weights(WeightKind::Averaged)?.load_into(model.valid())?;
            ema = Ema::restored(average, decay);
            optimizer = checkpoint.optimizer(optimizer)?;
            // The best one may be gone after damage; the validations to come then find the best anew.
            if let Some(best) = state.best.take_if(|best| !run.checkpoint(best.update).is_dir()) {
                tracing::warn!("the best checkpoint `{}` is gone; the best is sought anew", best.checkpoint);
            }
            run.settle(state.update, state.best.as_ref(), &unusable, &config.training)?;
        }
        for difference in task.cache().accepted_differences() {
            if !state.cache_mismatch.contains(difference) {
                state.cache_mismatch.push(difference.clone());
            }
        }
        run.truncate_metrics(state.update)?;
        let valid = valid_batches(&task, config)?;
        let (task, config) = (Arc::new(task), config.clone());
        Ok(Self {
            task,
            config,
            run,
            model,
            ema,
            optimizer,
            state,
            valid,
            unusable,
            checkpoint_bytes,
            lock: Arc::new(lock),
        })
    }

    /// The averaged model.
    pub fn averaged(&self) -> &T::Model {
        self.ema.model()
    }

    /// Trains up to the configured number of updates, or until the observer asks to stop, and records the sitting.
    ///
    /// # Errors
    /// Losses that are not finite for too long, or files that cannot be written.
    pub fn run(self, observer: &mut dyn TrainObserver<T::Model>) -> Result<TrainOutcome, TrainingError> {
        // The directory stays this process's own until the end is written.
        let (run, _lock) = (self.run.clone(), Arc::clone(&self.lock));
        let device = run.manifest().map(|manifest| manifest.device).unwrap_or_default();
        let devices = self.ema.model().devices();
        let environment = environment::observe(&device, devices.first());
        let sitting = OpenSitting::begin(&run, self.state.update, environment)?;
        let outcome = self.train(observer);
        match &outcome {
            Ok(done) => sitting.end(done.update, &done.stopped)?,
            Err(error) => {
                // The first error is the one that matters.
                let because = match std::error::Error::source(error) {
                    Some(cause) => format!("error: {error} ({cause})"),
                    None => format!("error: {error}"),
                };
                if let Err(second) = sitting.end(run.updates_told_of(), &because) {
                    tracing::warn!("the end of this sitting was not recorded: {second}");
                }
            }
        }
        outcome
    }

    fn train(mut self, observer: &mut dyn TrainObserver<T::Model>) -> Result<TrainOutcome, TrainingError> {
        let task = Arc::clone(&self.task);
        let training = self.config.training.clone();
        let (max_updates, accumulation) = (task.max_updates(), task.grad_accumulation() as u64);
        let cache = task.cache();
        let lengths: Vec<(usize, usize)> =
            cache.split(Split::Train).into_iter().map(|i| (i, task.frames_of(i))).collect();
        if lengths.is_empty() {
            return Err(TrainingError::EmptySplit { split: "train" });
        }
        let mut plan = BatchPlan::of_cache(cache, lengths, &self.config.data, self.config.seed);
        let maker = Arc::clone(&task);
        let first = self.state.update * accumulation;
        let batches = prefetch(first, max_updates * accumulation, &self.config.data.batch, move |position| {
            let (_, utterances) = plan.batch(position);
            maker.batch(&utterances, position)
        });
        let (started, first_update) = (Instant::now(), self.state.update);
        let mut is_interrupted = false;
        let mut stopped = STOPPED_AT_MAX_UPDATES.to_owned();
        while self.state.update < max_updates {
            let learning_rate = task.optimizer().learning_rate.at(self.state.update, max_updates);
            let mut accumulated = GradientsAccumulator::new();
            let (mut objective, mut cross_entropy) = (0.0, 0.0);
            for micro in 0..accumulation {
                let batch =
                    batches.recv().map_err(|_| TrainingError::BatchesEnded { update: self.state.update })?;
                let report = task.loss(&self.model, &batch, self.state.update, micro)?;
                objective += scalar(report.objective.clone()) / accumulation as f64;
                cross_entropy += scalar(report.cross_entropy) / accumulation as f64;
                let grads = (report.objective / accumulation as f64).backward();
                accumulated.accumulate(&self.model, GradientsParams::from_grads(grads, &self.model));
            }
            let mut grads = accumulated.grads();
            let health = clip(&self.model, &mut grads, task.optimizer().max_grad_norm);
            self.state.update += 1;
            if objective.is_finite() && health.is_finite() {
                self.model = self.optimizer.step(learning_rate, self.model, grads);
                self.ema.update(&self.model, self.state.update);
                self.state.skipped = 0;
                for (sum, value) in
                    self.state.window.iter_mut().zip([objective, cross_entropy, health.norm, 1.0])
                {
                    *sum += value;
                }
            } else {
                self.state.skipped += 1;
                self.event(format!("update skipped: loss {objective}, gradient norm {}", health.norm))?;
                if self.state.skipped >= training.max_skipped_updates {
                    return Err(TrainingError::Diverged {
                        update: self.state.update,
                        skipped: self.state.skipped,
                    });
                }
            }
            let update = self.state.update;
            let due = |every: u64| update.is_multiple_of(every) || update == max_updates;
            if due(training.log_every_updates) {
                let done = (update - first_update) as f64;
                let updates_per_s = done / started.elapsed().as_secs_f64().max(1e-9);
                self.log(learning_rate, Progress { update, max_updates, updates_per_s }, observer)?;
            }
            let mut written = false;
            if due(training.validate_every_updates) {
                written = self.validate(observer)?;
            }
            let asked = observer.stop_reason();
            if (due(training.checkpoint_every_updates) || asked.is_some()) && !written {
                self.checkpoint(observer)?;
            }
            if let Some(reason) = asked {
                is_interrupted = update < max_updates;
                if is_interrupted {
                    stopped = reason;
                }
                break;
            }
        }
        if let Some(mut manifest) = self.run.manifest() {
            manifest.stopped.clone_from(&stopped);
            self.run.describe(&self.config, &manifest)?;
        }
        Ok(TrainOutcome { update: self.state.update, is_interrupted, stopped, best: self.state.best })
    }

    fn event(&self, message: String) -> Result<(), TrainingError> {
        tracing::warn!(update = self.state.update, "{message}");
        self.run.append(&MetricsLine::Event(RunEvent { update: self.state.update, message }))
    }

    fn log(
        &mut self,
        learning_rate: f64,
        progress: Progress,
        observer: &mut dyn TrainObserver<T::Model>,
    ) -> Result<(), TrainingError> {
        let [objective, cross_entropy, grad_norm, n] = self.state.window;
        self.state.window = [0.0; 4];
        if n == 0.0 {
            return Ok(());
        }
        let metrics = TrainMetrics {
            update: progress.update,
            objective: objective / n,
            cross_entropy: cross_entropy / n,
            grad_norm: grad_norm / n,
            learning_rate,
        };
        self.run.append(&MetricsLine::Train(metrics.clone()))?;
        observer.on_train(&metrics, progress);
        Ok(())
    }

    /// Judges the averaged weights; returns whether they were the best so far and a checkpoint was written.
    fn validate(&mut self, observer: &mut dyn TrainObserver<T::Model>) -> Result<bool, TrainingError> {
        let codebooks = self.task.validate(self.ema.model(), &self.valid)?;
        let cross_entropy =
            codebooks.iter().map(|c| c.cross_entropy).sum::<f64>() / codebooks.len().max(1) as f64;
        let verdict = diagnosis::verdict(&codebooks);
        let metrics =
            ValidationMetrics { update: self.state.update, ema: true, cross_entropy, codebooks, verdict };
        self.run.append(&MetricsLine::Validation(metrics.clone()))?;
        // Before the checkpoint: a run that dies here validates again, so that what observers make of it is never lost.
        observer.on_validation(&metrics, self.ema.model());
        let is_best = cross_entropy.is_finite()
            && self.state.best.as_ref().is_none_or(|best| cross_entropy < best.value);
        if is_best {
            // The best moment is kept as a checkpoint of its own, so that `best.json` never points at nothing.
            let best = BestRecord {
                format_version: FORMAT_VERSION,
                update: self.state.update,
                checkpoint: step_name(self.state.update),
                criterion: "validation cross-entropy of the averaged weights".into(),
                value: cross_entropy,
            };
            self.state.best = Some(best);
            self.checkpoint(observer)?;
        }
        Ok(is_best)
    }

    fn checkpoint(&mut self, observer: &mut dyn TrainObserver<T::Model>) -> Result<(), TrainingError> {
        let dir = self.run.checkpoint(self.state.update);
        // A resumed run keeps the lines up to its checkpoint, so they must be there when it is.
        self.run.sync_metrics()?;
        require_space(&dir, self.checkpoint_bytes)?;
        let moment = Moment {
            model: &self.model,
            ema: &self.ema,
            optimizer: &self.optimizer,
            state: &self.state,
            contract: self.task.contract(),
            config: &self.config,
        };
        moment.write(&dir)?;
        self.unusable.remove(&self.state.update);
        let best = self.state.best.as_ref();
        self.run.settle(self.state.update, best, &self.unusable, &self.config.training)?;
        observer.on_checkpoint(&dir);
        Ok(())
    }
}

/// Bytes of weights, averages and the optimizer's two moments.
fn checkpoint_bytes<M: Module>(model: &M) -> u64 {
    let n_values: usize = parameter_names(model).iter().map(|(_, n)| n).sum();
    4 * 4 * n_values as u64
}

/// All validation utterances, in order of length, in batches within the frame budget.
fn valid_batches<T: Task>(task: &T, config: &ExperimentConfig) -> Result<Vec<TokenBatch>, TrainingError> {
    let cache = task.cache();
    let mut utterances = cache.split(Split::Valid);
    if utterances.is_empty() {
        return Err(TrainingError::EmptySplit { split: "valid" });
    }
    utterances.sort_by_key(|i| (cache.utterances()[*i].n_frames, *i));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for utterance in utterances {
        let length = cache.utterances()[utterance].n_frames;
        match batches.last_mut() {
            Some(batch) if (batch.len() + 1) * length <= config.data.batch.max_frames => {
                batch.push(utterance)
            }
            _ => batches.push(vec![utterance]),
        }
    }
    Ok(batches.iter().enumerate().map(|(i, batch)| task.batch(batch, u64::MAX - i as u64)).collect())
}
