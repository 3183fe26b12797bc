//! The loop: batches, updates, averages, validations, checkpoints.

use crate::checkpoint::{CheckpointState, Moment, Policies, WeightKind};
use crate::gradients::{GradHealth, clip, measure, update_ratios};
use crate::run_lock::RunLock;
use crate::sittings::{self, OpenSitting};
use crate::task::scalar;
use crate::validation::ValidationSet;
use crate::{Ema, ParamGroups, Progress, RunDir, Task, TrainObserver, TrainingError, environment};
use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer};
use harmonica_config_schema::ExperimentConfig;
use harmonica_config_schema::record::{
    BestRecord, FORMAT_VERSION, MetricsLine, ModuleMetrics, RunEvent, STOPPED_AT_MAX_UPDATES, TrainMetrics,
};
use harmonica_data::{BatchPlan, Split, prefetch};
use harmonica_model_core::parameter_names;
use harmonica_storage::require_space;
use std::collections::{BTreeMap, BTreeSet};
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

/// What one update's batches cost, and at which learning rate it is made.
struct Cost {
    objective: f64,
    cross_entropy: f64,
    learning_rate: f64,
    is_logged: bool,
}

/// Trains one model in one run directory.
pub struct Trainer<T: Task> {
    pub(crate) task: Arc<T>,
    pub(crate) config: ExperimentConfig,
    pub(crate) run: RunDir,
    pub(crate) model: T::Model,
    pub(crate) ema: Ema<T::Model>,
    groups: ParamGroups,
    optimizer: ModuleOptimizer,
    pub(crate) state: CheckpointState,
    pub(crate) valid: ValidationSet,
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
        let groups = ParamGroups::new(&model, task.optimizer())?;
        let mut optimizer = groups.optimizer();
        let mut ema = Ema::new(&model, decay);
        let mut state = CheckpointState {
            format_version: FORMAT_VERSION,
            model: task.name().into(),
            update: 0,
            skipped: 0,
            window: [0.0; 4],
            best: None,
            cache_mismatch: Vec::new(),
            policies: Policies::default(),
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
        let valid = ValidationSet::new(&task, config)?;
        let (task, config) = (Arc::new(task), config.clone());
        Ok(Self {
            task,
            config,
            run,
            model,
            ema,
            groups,
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
        while self.state.update < max_updates && self.state.policies.early_stop.stopped.is_none() {
            let scale = self.state.policies.plateau.scale * self.state.policies.instability.scale;
            let learning_rate = scale * task.optimizer().learning_rate.at(self.state.update, max_updates);
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
            self.state.update += 1;
            let update = self.state.update;
            let due = |every: u64| update.is_multiple_of(every) || update == max_updates;
            let is_logged = due(training.log_every_updates);
            let cost = Cost { objective, cross_entropy, learning_rate, is_logged };
            let modules = self.update(accumulated.grads(), &cost, observer)?;
            if is_logged {
                let done = (update - first_update) as f64;
                let updates_per_s = done / started.elapsed().as_secs_f64().max(1e-9);
                let progress = Progress { update, max_updates, updates_per_s };
                self.log(learning_rate, scale, modules, progress, observer)?;
            }
            let mut written = false;
            if due(training.validate_every_updates) {
                written = self.validate(observer)?;
            }
            let asked = observer.stop_reason();
            let is_last = asked.is_some() || self.state.policies.early_stop.stopped.is_some();
            if (due(training.checkpoint_every_updates) || is_last) && !written {
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
        if let Some(reason) = &self.state.policies.early_stop.stopped {
            (is_interrupted, stopped) = (false, reason.clone());
        }
        if let Some(mut manifest) = self.run.manifest() {
            manifest.stopped.clone_from(&stopped);
            self.run.describe(&self.config, &manifest)?;
        }
        Ok(TrainOutcome { update: self.state.update, is_interrupted, stopped, best: self.state.best })
    }

    /// Makes one update, or skips it; returns the modules' figures where the update is logged.
    fn update(
        &mut self,
        mut grads: GradientsParams,
        cost: &Cost,
        observer: &mut dyn TrainObserver<T::Model>,
    ) -> Result<Vec<ModuleMetrics>, TrainingError> {
        let task = Arc::clone(&self.task);
        let update = self.state.update;
        let health: GradHealth = measure(&self.model, &grads);
        let policy = &mut self.state.policies.instability;
        let loss = if cost.objective.is_finite() { cost.cross_entropy } else { cost.objective };
        let reaction = policy.observe(&task.control().instability, update, loss, health.norm);
        let mut ratios = BTreeMap::new();
        if let Some(cause) = &reaction.skipped {
            self.state.skipped += 1;
            self.event(format!("update skipped: {cause}"), observer)?;
        } else {
            clip(&self.model, &mut grads, health.norm, task.optimizer().max_grad_norm);
            let before = cost.is_logged.then(|| self.model.clone());
            let rates = self.groups.learning_rates(cost.learning_rate);
            self.model = self.optimizer.step(rates, self.model.clone(), grads);
            self.ema.update(&self.model, update);
            self.state.skipped = 0;
            let sums = [cost.objective, cost.cross_entropy, health.norm, 1.0];
            self.state.window.iter_mut().zip(sums).for_each(|(sum, value)| *sum += value);
            if let Some(before) = before {
                ratios = update_ratios(&before, &self.model);
            }
        }
        for words in reaction.words {
            self.event(words, observer)?;
        }
        if self.state.skipped >= self.config.training.max_skipped_updates {
            return Err(TrainingError::Diverged { update, skipped: self.state.skipped });
        }
        Ok(if cost.is_logged { health.record(&ratios) } else { Vec::new() })
    }

    pub(crate) fn event(
        &self,
        message: String,
        observer: &mut dyn TrainObserver<T::Model>,
    ) -> Result<(), TrainingError> {
        tracing::warn!(update = self.state.update, "{message}");
        let event = RunEvent { update: self.state.update, message };
        observer.on_event(&event);
        self.run.append(&MetricsLine::Event(event))
    }

    fn log(
        &mut self,
        learning_rate: f64,
        lr_scale: f64,
        modules: Vec<ModuleMetrics>,
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
            lr_scale,
            modules,
        };
        self.run.append(&MetricsLine::Train(metrics.clone()))?;
        observer.on_train(&metrics, progress);
        Ok(())
    }

    pub(crate) fn checkpoint(
        &mut self,
        observer: &mut dyn TrainObserver<T::Model>,
    ) -> Result<(), TrainingError> {
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
