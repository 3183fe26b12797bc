//! Judging a run on fixed validation batches, and what follows: the best checkpoint, cuts of the learning rate, the end.
//!
//! In: the averaged and the raw weights. Out: a line of metrics with its verdict, and the policies' next state. Validation is
//! plain teacher-forced cross-entropy without noise, dropout and extra terms. Invariant: every state that a validation
//! changes is changed before the checkpoint of its moment is written.

use crate::floors::{Floor, floor};
use crate::plateau::median_utilization;
use crate::run_dir::step_name;
use crate::{Task, TrainObserver, Trainer, TrainingError};
use burn::module::Module;
use harmonica_config_schema::ExperimentConfig;
use harmonica_config_schema::record::{
    BestRecord, CodebookMetrics, FORMAT_VERSION, MetricsLine, RawValidation, ValidationMetrics,
};
use harmonica_data::{Split, TokenBatch};
use harmonica_model_core::diagnosis::{Probes, verdict};
use std::collections::BTreeMap;

/// The fixed data that a run is judged on.
pub(crate) struct ValidationSet {
    /// All validation utterances.
    batches: Vec<TokenBatch>,
    /// Some of the batches, spread over all lengths: wrong texts and voices are tried on them.
    probed: Vec<TokenBatch>,
    /// Some of the utterances, spread over all lengths, that are written freely.
    free: Option<TokenBatch>,
    /// What guessing costs, by codebook counted from 1.
    floors: BTreeMap<usize, Floor>,
}

/// `n` of `items`, spread over them.
fn spread<T: Clone>(items: &[T], n: usize) -> Vec<T> {
    let n = n.min(items.len());
    (0..n).map(|i| items[i * items.len() / n].clone()).collect()
}

impl ValidationSet {
    /// All validation utterances, in order of length, in batches within the frame budget.
    pub(crate) fn new<T: Task>(task: &T, config: &ExperimentConfig) -> Result<Self, TrainingError> {
        let cache = task.cache();
        let mut utterances = cache.split(Split::Valid);
        if utterances.is_empty() {
            return Err(TrainingError::EmptySplit { split: "valid" });
        }
        utterances.sort_by_key(|i| (cache.utterances()[*i].n_frames, *i));
        let mut indices: Vec<Vec<usize>> = Vec::new();
        for utterance in &utterances {
            let length = cache.utterances()[*utterance].n_frames;
            match indices.last_mut() {
                Some(batch) if (batch.len() + 1) * length <= config.data.batch.max_frames => {
                    batch.push(*utterance)
                }
                _ => indices.push(vec![*utterance]),
            }
        }
        let batch = |(i, batch): (usize, &Vec<usize>)| task.batch(batch, u64::MAX - i as u64);
        let batches: Vec<TokenBatch> = indices.iter().enumerate().map(batch).collect();
        let free = spread(&utterances, config.training.free_running_utterances);
        Ok(Self {
            probed: spread(&batches, config.training.probe_batches),
            free: (!free.is_empty()).then(|| task.batch(&free, u64::MAX - indices.len() as u64)),
            batches,
            floors: BTreeMap::new(),
        })
    }

    /// Figures of all codebooks of a model, with the floors of its corpus.
    fn judge<T: Task>(&mut self, task: &T, model: &T::Model) -> Result<Vec<CodebookMetrics>, TrainingError> {
        let mut codebooks = task.validate(model, &self.batches)?;
        for metrics in &mut codebooks {
            let floor = self.floors.entry(metrics.codebook).or_insert_with(|| {
                let with_end = metrics.n_classes > task.cache().spec().codebook_size;
                floor(task.cache(), metrics.codebook - 1, with_end)
            });
            (metrics.unigram_floor, metrics.bigram_floor) = (Some(floor.unigram), Some(floor.bigram));
        }
        Ok(codebooks)
    }
}

fn mean_cross_entropy(codebooks: &[CodebookMetrics]) -> f64 {
    codebooks.iter().map(|c| c.cross_entropy).sum::<f64>() / codebooks.len().max(1) as f64
}

impl<T: Task + 'static> Trainer<T> {
    /// Judges averaged and raw weights; returns whether they were the best so far and a checkpoint was written.
    pub(crate) fn validate(
        &mut self,
        observer: &mut dyn TrainObserver<T::Model>,
    ) -> Result<bool, TrainingError> {
        let (task, control) = (self.task.clone(), *self.task.control());
        let update = self.state.update;
        let codebooks = self.valid.judge(&*task, self.ema.model())?;
        let probes = match &self.valid.probed[..] {
            [] => Probes::default(),
            batches => task.probes(self.ema.model(), batches)?,
        };
        let attention = task.attention(self.ema.model(), &self.valid.probed)?;
        let free_running = match &self.valid.free {
            Some(batch) => task.free_running(self.ema.model(), batch)?,
            None => Vec::new(),
        };
        let raw = match self.config.training.validate_raw_weights {
            true => {
                let codebooks = self.valid.judge(&*task, &self.model.valid())?;
                Some(RawValidation { cross_entropy: mean_cross_entropy(&codebooks), codebooks })
            }
            false => None,
        };
        let mut metrics = ValidationMetrics {
            update,
            ema: true,
            cross_entropy: mean_cross_entropy(&codebooks),
            verdict: verdict(&codebooks, &probes),
            codebooks,
            raw,
            free_running,
            attention,
            alerts: Vec::new(),
        };
        let changes = self.state.policies.alerts.observe(&metrics);
        metrics.alerts = self.state.policies.alerts.standing();
        self.run.append(&MetricsLine::Validation(metrics.clone()))?;
        for change in changes {
            let what = if change.is_raised { "raised" } else { "cleared" };
            let of = match change.alert.codebook {
                0 => String::new(),
                codebook => format!("codebook {codebook} "),
            };
            self.event(format!("alert {what}: {of}{}", change.alert.alert), observer)?;
        }
        let (cross_entropy, used) = (metrics.cross_entropy, median_utilization(&metrics.codebooks));
        if let Some(words) = self.state.policies.plateau.observe(&control.plateau, update, cross_entropy) {
            self.event(words, observer)?;
        }
        let early_stop = &mut self.state.policies.early_stop;
        if let Some(words) = early_stop.observe(&control.early_stop, update, cross_entropy, used) {
            self.event(words, observer)?;
        }
        // Before the checkpoint: a run that dies here validates again, so that what observers make of it is never lost.
        observer.on_validation(&metrics, self.ema.model());
        let value = control.best.value(&metrics);
        let is_better = |value: f64| {
            self.state.best.as_ref().is_none_or(|best| control.best.is_better(value, best.value))
        };
        let Some(value) = value.filter(|value| is_better(*value)) else { return Ok(false) };
        // The best moment is kept as a checkpoint of its own, so that `best.json` never points at nothing.
        self.state.best = Some(BestRecord {
            format_version: FORMAT_VERSION,
            update,
            checkpoint: step_name(update),
            criterion: control.best.words(),
            rule: control.best,
            value,
        });
        self.checkpoint(observer)?;
        Ok(true)
    }
}
