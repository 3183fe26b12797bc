//! Training of the NAR model: one random stage a batch.

use crate::ar_task::{frames, prompt_policy, prompts, texts, with_noise};
use crate::probes::Probing;
use crate::{Task, TrainingError};
use burn::tensor::{Device, Int, Tensor, TensorData};
use harmonica_config_schema::record::{AttentionMetrics, CodebookMetrics, FreeRunningMetrics};
use harmonica_config_schema::{CodebookIndex, ExperimentConfig, OptimizerConfig, RandomStream, RunControl};
use harmonica_data::{PromptPolicy, TokenBatch, TokenCache};
use harmonica_model_core::diagnosis::{
    AttentionHealth, CodebookHealth, Probes, draw_plainly, free_running, token_costs,
};
use harmonica_model_core::{
    CodecGeometry, InterfaceContract, LossRegistry, LossReport, ModelError, NarInput, NarModel, Objective,
    with_stable_ids,
};
use std::sync::Arc;

/// Everything that NAR training needs.
pub struct NarTask {
    config: ExperimentConfig,
    cache: Arc<TokenCache>,
    geometry: CodecGeometry,
    contract: InterfaceContract,
    objective: std::sync::Mutex<Objective>,
    device: Device,
}

impl NarTask {
    /// A task on a device with autodiff.
    ///
    /// # Errors
    /// An objective term that nobody registered.
    pub fn new(
        config: &ExperimentConfig,
        cache: Arc<TokenCache>,
        geometry: CodecGeometry,
        contract: InterfaceContract,
        registry: LossRegistry,
        device: &Device,
    ) -> Result<Self, TrainingError> {
        let objective = std::sync::Mutex::new(Objective::new(&config.training.nar.objective, registry)?);
        Ok(Self { config: config.clone(), cache, geometry, contract, objective, device: device.clone() })
    }

    /// Input for a stage: codes below it, with noise if a stream is given.
    fn input(&self, batch: &TokenBatch, stage: CodebookIndex, mut noise: Option<RandomStream>) -> NarInput {
        let share = self.config.training.nar.token_noise;
        let size = self.cache.spec().codebook_size;
        let codes = (0..batch.utterances.len())
            .map(|b| {
                let rows: Vec<Vec<i32>> = (0..stage.zero_based()).map(|q| frames(batch, b, q)).collect();
                match &mut noise {
                    Some(stream) => with_noise(&rows, share, size, stream),
                    None => rows,
                }
            })
            .collect();
        NarInput { text: texts(batch), codes, speakers: batch.speakers.clone(), prompt: prompts(batch) }
    }

    fn scores(
        &self,
        model: &NarModel,
        input: &NarInput,
        stage: CodebookIndex,
    ) -> Result<Vec<f32>, TrainingError> {
        Ok(model.forward(input, stage, None)?.into_data().iter::<f32>().collect())
    }

    fn targets(batch: &TokenBatch, stage: CodebookIndex) -> Vec<i32> {
        (0..batch.utterances.len()).flat_map(|b| frames(batch, b, stage.zero_based())).collect()
    }
}

impl Task for NarTask {
    type Model = NarModel;

    fn name(&self) -> &'static str {
        "nar"
    }

    fn fresh_model(&self) -> NarModel {
        with_stable_ids(NarModel::new(
            &self.config.model.nar,
            self.cache.spec(),
            self.cache.vocab().len(),
            self.cache.speakers().len(),
            Some(&self.geometry),
            self.config.seed,
            &self.device,
        ))
    }

    fn contract(&self) -> &InterfaceContract {
        &self.contract
    }

    fn cache(&self) -> &Arc<TokenCache> {
        &self.cache
    }

    fn max_updates(&self) -> u64 {
        self.config.training.nar.max_updates
    }

    fn grad_accumulation(&self) -> usize {
        self.config.training.nar.grad_accumulation
    }

    fn optimizer(&self) -> &OptimizerConfig {
        &self.config.training.nar.optimizer
    }

    fn control(&self) -> &RunControl {
        &self.config.training.nar.control
    }

    fn prompt_policy(&self, position: u64) -> Option<PromptPolicy> {
        let model = &self.config.model.nar;
        prompt_policy(
            model.speaker,
            self.config.seed,
            position,
            model.max_frames,
            model.max_text_symbols,
            &self.config.data.prompt,
        )
    }

    fn loss(
        &self,
        model: &NarModel,
        batch: &TokenBatch,
        update: u64,
        micro: u64,
    ) -> Result<LossReport, ModelError> {
        let n_stages = model.n_codebooks() - 1;
        let mut stream = RandomStream::new(self.config.seed, "nar stage", &[update, micro]);
        let stage = CodebookIndex::from_zero_based(1 + stream.below(n_stages));
        let noise = RandomStream::new(self.config.seed, "nar token noise", &[update, micro]);
        let dropout = RandomStream::new(self.config.seed, "nar dropout", &[update, micro]).next_u64();
        let logits = model.forward(&self.input(batch, stage, Some(noise)), stage, Some(dropout))?;
        let targets = Self::targets(batch, stage);
        let n = targets.len();
        let targets = Tensor::<1, Int>::from_data(TensorData::new(targets, [n]), &self.device);
        let objective = self.objective.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(objective.loss(logits, &targets, stage, update))
    }

    fn validate(
        &self,
        model: &NarModel,
        batches: &[TokenBatch],
    ) -> Result<Vec<CodebookMetrics>, TrainingError> {
        CodebookIndex::stages(model.n_codebooks())
            .map(|stage| {
                let mut health = CodebookHealth::new(stage, self.cache.spec().codebook_size);
                for batch in batches {
                    let logits = model.forward(&self.input(batch, stage, None), stage, None)?;
                    let targets: Vec<usize> =
                        Self::targets(batch, stage).into_iter().map(|t| t as usize).collect();
                    health.observe(&logits.into_data().iter::<f32>().collect::<Vec<_>>(), &targets);
                }
                Ok(health.metrics())
            })
            .collect()
    }

    /// Probes codebook 2, for which text and voice matter most.
    fn probes(&self, model: &NarModel, batches: &[TokenBatch]) -> Result<Probes, TrainingError> {
        let mut probing = Probing::default();
        let Some(stage) = CodebookIndex::stages(model.n_codebooks()).next() else {
            return Ok(Probes::default());
        };
        for batch in batches {
            let own = self.input(batch, stage, None);
            let targets: Vec<usize> = Self::targets(batch, stage).into_iter().map(|t| t as usize).collect();
            probing.observe(&own, batch, &batch.lengths, |input| {
                Ok(token_costs(&self.scores(model, input, stage)?, &targets))
            })?;
        }
        Ok(probing.record())
    }

    /// Looks at codebook 2, as the probes do.
    fn attention(
        &self,
        model: &NarModel,
        batches: &[TokenBatch],
    ) -> Result<Vec<AttentionMetrics>, TrainingError> {
        let mut health = AttentionHealth::default();
        if let Some(stage) = CodebookIndex::stages(model.n_codebooks()).next() {
            for batch in batches {
                health.observe(model.heads(&self.input(batch, stage, None), stage)?);
            }
        }
        Ok(health.metrics())
    }

    /// Each stage sees codebook 1 of the utterance, and its own draws of those between.
    fn free_running(
        &self,
        model: &NarModel,
        batch: &TokenBatch,
    ) -> Result<Vec<FreeRunningMetrics>, TrainingError> {
        let size = self.cache.spec().codebook_size;
        let mut input = match CodebookIndex::stages(model.n_codebooks()).next() {
            Some(first) => self.input(batch, first, None),
            None => return Ok(Vec::new()),
        };
        CodebookIndex::stages(model.n_codebooks())
            .map(|stage| {
                let scores = self.scores(model, &input, stage)?;
                let mut stream =
                    RandomStream::new(self.config.seed, "free running", &[stage.zero_based() as u64]);
                let written: Vec<usize> =
                    scores.chunks_exact(size).map(|row| draw_plainly(row, &mut stream)).collect();
                let mut rest = written.iter().map(|code| *code as i32);
                for (codes, n) in input.codes.iter_mut().zip(&batch.lengths) {
                    codes.push(rest.by_ref().take(*n).collect());
                }
                let targets: Vec<usize> =
                    Self::targets(batch, stage).into_iter().map(|t| t as usize).collect();
                Ok(free_running(stage, size, &written, &targets))
            })
            .collect()
    }
}
