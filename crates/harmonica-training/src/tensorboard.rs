//! A run as TensorBoard shows it: scalars of training and validation, histograms of the weights, sounds,
//! pictures.
//!
//! In: what an observer hears. Out: an event file a sitting in `RUN_DIR/tensorboard/`. `metrics.jsonl` is the truth, this is a
//! view of it. Invariant: a file that cannot be written never ends a run; it is told once, and no more is written.

use crate::event_file::{EventFile, Summary};
use crate::{ParamGroupName, RunDir, TrainObserver};
use burn::module::Module;
use harmonica_config_schema::record::{CodebookMetrics, TrainMetrics, ValidationMetrics};
use harmonica_model_core::WeightStore;
use harmonica_storage::StorageError;
use std::collections::BTreeMap;

/// Directory of the event files in a run.
pub const TENSORBOARD: &str = "tensorboard";

/// Writes what it hears into an event file, which is made when there is something to write.
#[derive(Debug)]
pub struct TensorBoard {
    run: RunDir,
    file: Option<Result<EventFile, StorageError>>,
}

impl TensorBoard {
    /// For one sitting of a run.
    pub fn new(run: &RunDir) -> Self {
        Self { run: run.clone(), file: None }
    }

    fn write(&mut self, update: u64, summary: Summary) {
        let dir = self.run.root().join(TENSORBOARD);
        let create = || {
            let refused = |e: &StorageError| tracing::warn!("nothing is written for TensorBoard: {e}");
            EventFile::create(&dir, update).inspect_err(refused)
        };
        let file = self.file.get_or_insert_with(create);
        if let Ok(open) = file
            && let Err(error) = open.write(update, summary)
        {
            tracing::warn!("nothing more is written for TensorBoard: {error}");
            *file = Err(error);
        }
    }

    /// Adds a sound: the bytes of a WAV file of one channel.
    pub fn sound(&mut self, tag: &str, update: u64, wav: &[u8], sample_rate_hz: u32, n_samples: usize) {
        let mut summary = Summary::default();
        summary.sound(tag, wav, sample_rate_hz, n_samples);
        self.write(update, summary);
    }

    /// Adds a picture: the bytes of a bitmap or of another file that browsers show, and its size in pixels.
    pub fn picture(&mut self, tag: &str, update: u64, file: &[u8], width: usize, height: usize) {
        let mut summary = Summary::default();
        summary.picture(tag, file, width, height);
        self.write(update, summary);
    }

    /// Adds a line of training metrics.
    pub fn train(&mut self, metrics: &TrainMetrics) {
        let mut summary = Summary::default();
        summary.scalar("train/objective", metrics.objective);
        summary.scalar("train/cross_entropy", metrics.cross_entropy);
        summary.scalar("train/grad_norm", metrics.grad_norm);
        summary.scalar("train/learning_rate", metrics.learning_rate);
        summary.scalar("train/lr_scale", metrics.lr_scale);
        for module in &metrics.modules {
            summary.scalar(&format!("grad_norm/{}", module.module), module.grad_norm);
            if let Some(ratio) = module.update_ratio {
                summary.scalar(&format!("update_ratio/{}", module.module), ratio);
            }
        }
        self.write(metrics.update, summary);
    }

    /// Adds a validation, and the averaged weights as histograms.
    pub fn validation<M: Module>(&mut self, metrics: &ValidationMetrics, model: &M) {
        let mut summary = Summary::default();
        summary.scalar("valid/cross_entropy", metrics.cross_entropy);
        if let Some(raw) = &metrics.raw {
            summary.scalar("valid/cross_entropy_raw", raw.cross_entropy);
        }
        for codebook in &metrics.codebooks {
            for (name, value) in figures(codebook) {
                summary.scalar(&format!("codebook_{}/{name}", codebook.codebook), value);
            }
        }
        for free in &metrics.free_running {
            let name = format!("codebook_{}/free_running", free.codebook);
            summary.scalar(&format!("{name}_utilization_ratio"), free.utilization_ratio);
            summary.scalar(&format!("{name}_effective_codes_ratio"), free.effective_codes_ratio);
            summary.scalar(&format!("{name}_kl"), free.marginal_kl);
        }
        for (name, use_of) in [("text", &metrics.verdict.text_use), ("voice", &metrics.verdict.prompt_use)] {
            if let Some(probe) = use_of.probe {
                summary.scalar(&format!("probe/{name}_gap_nats"), probe.gap_nats);
            }
        }
        for attention in &metrics.attention {
            let name = format!("attention/layer_{}_{}", attention.layer, attention.reads.name());
            summary.scalar(&format!("{name}_relative_entropy"), attention.relative_entropy());
            summary.scalar(&format!("{name}_lowest_entropy"), attention.lowest_entropy());
            summary.scalar(&format!("{name}_diversity"), attention.diversity);
        }
        summary.scalar("valid/alerts", metrics.alerts.len() as f64);
        let mut groups: BTreeMap<String, Vec<f32>> = BTreeMap::new();
        for (path, (values, _)) in WeightStore::of(model).tensors() {
            let group = ParamGroupName::of(path).map_or_else(|| "other".to_owned(), |g| format!("{g:?}"));
            groups.entry(group).or_default().extend(values);
        }
        groups.iter().for_each(|(group, values)| summary.histogram(&format!("weights/{group}"), values));
        self.write(metrics.update, summary);
    }
}

fn figures(codebook: &CodebookMetrics) -> Vec<(&'static str, f64)> {
    let floors = [("unigram_floor", codebook.unigram_floor), ("bigram_floor", codebook.bigram_floor)];
    [
        ("cross_entropy", codebook.cross_entropy),
        ("accuracy", codebook.accuracy),
        ("top10_accuracy", codebook.top10_accuracy),
        ("utilization_ratio", codebook.utilization_ratio),
        ("sampled_codes", codebook.sampled_codes as f64),
        ("target_codes", codebook.target_codes as f64),
        ("effective_codes_ratio", codebook.effective_codes_ratio),
        ("sampled_effective_ratio", codebook.sampled_effective_ratio),
        ("marginal_kl", codebook.marginal_kl),
    ]
    .into_iter()
    .chain(floors.into_iter().filter_map(|(name, value)| Some((name, value?))))
    .collect()
}

impl<M: Module> TrainObserver<M> for TensorBoard {
    fn on_train(&mut self, metrics: &TrainMetrics, _: crate::Progress) {
        self.train(metrics);
    }

    fn on_validation(&mut self, metrics: &ValidationMetrics, model: &M) {
        self.validation(metrics, model);
    }
}
