//! Training of the AR model.

use crate::probes::Probing;
use crate::{Task, TrainingError};
use burn::tensor::Device;
use harmonica_config_schema::record::{AttentionMetrics, CodebookMetrics, FreeRunningMetrics};
use harmonica_config_schema::{
    CodebookIndex, ExperimentConfig, OptimizerConfig, PromptConfig, RandomStream, RunControl,
    SpeakerConditioning,
};
use harmonica_data::{PromptPolicy, TokenBatch, TokenCache};
use harmonica_model_core::diagnosis::{
    AttentionHealth, CodebookHealth, Probes, draw_plainly, free_running, token_costs,
};
use harmonica_model_core::{
    ArInput, ArModel, CodecGeometry, InterfaceContract, LossRegistry, LossReport, ModelError, Objective,
    Prompt, with_stable_ids,
};
use std::sync::Arc;

/// Everything that AR training needs.
pub struct ArTask {
    config: ExperimentConfig,
    cache: Arc<TokenCache>,
    geometry: CodecGeometry,
    contract: InterfaceContract,
    objective: std::sync::Mutex<Objective>,
    device: Device,
}

impl ArTask {
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
        let objective = std::sync::Mutex::new(Objective::new(&config.training.ar.objective, registry)?);
        Ok(Self { config: config.clone(), cache, geometry, contract, objective, device: device.clone() })
    }

    fn input(&self, batch: &TokenBatch, noise: Option<RandomStream>) -> ArInput {
        let targets: Vec<Vec<i32>> = (0..batch.utterances.len()).map(|b| frames(batch, b, 0)).collect();
        let codes = match noise {
            Some(mut stream) => with_noise(
                &targets,
                self.config.training.ar.token_noise,
                self.cache.spec().codebook_size,
                &mut stream,
            ),
            None => targets.clone(),
        };
        ArInput {
            text: texts(batch),
            codes,
            targets,
            speakers: batch.speakers.clone(),
            prompt: prompts(batch),
        }
    }

    fn costs(&self, model: &ArModel, input: &ArInput) -> Result<Vec<f64>, TrainingError> {
        let (logits, targets) = model.forward(input, None)?;
        let targets: Vec<usize> = targets.into_data().iter::<i64>().map(|t| t as usize).collect();
        Ok(token_costs(&logits.into_data().iter::<f32>().collect::<Vec<_>>(), &targets))
    }
}

/// Real symbol ids of each item.
pub(crate) fn texts(batch: &TokenBatch) -> Vec<Vec<i32>> {
    batch
        .text_lengths
        .iter()
        .enumerate()
        .map(|(b, n)| batch.text[b * batch.n_symbols..][..*n].to_vec())
        .collect()
}

/// Real codes of one item and codebook.
pub(crate) fn frames(batch: &TokenBatch, b: usize, q: usize) -> Vec<i32> {
    batch.codes[(b * batch.n_codebooks + q) * batch.n_frames..][..batch.lengths[b]].to_vec()
}

pub(crate) fn prompts(batch: &TokenBatch) -> Option<Prompt> {
    batch.prompts.as_ref().map(|p| Prompt {
        codes: (0..batch.utterances.len())
            .map(|b| {
                let row =
                    |q: usize| p.codes[(b * batch.n_codebooks + q) * p.n_frames..][..p.lengths[b]].to_vec();
                (0..batch.n_codebooks).map(row).collect()
            })
            .collect(),
    })
}

/// Codes of which a share is replaced by random ones.
pub(crate) fn with_noise(
    rows: &[Vec<i32>],
    share: f64,
    codebook_size: usize,
    stream: &mut RandomStream,
) -> Vec<Vec<i32>> {
    rows.iter()
        .map(|row| {
            row.iter()
                .map(|c| if stream.uniform() < share { stream.below(codebook_size) as i32 } else { *c })
                .collect()
        })
        .collect()
}

/// The prompt policy of a run; `None` where the model takes no prompt.
pub(crate) fn prompt_policy(
    speaker: SpeakerConditioning,
    seed: u64,
    position: u64,
    max_frames: usize,
    max_text_symbols: usize,
    config: &PromptConfig,
) -> Option<PromptPolicy> {
    (speaker == SpeakerConditioning::Prompt).then_some(PromptPolicy {
        seed,
        position,
        max_frames: max_frames / 2,
        other_share: config.other_utterance_share,
        transcript_share: config.transcript_share,
        max_total_frames: max_frames,
        max_text_symbols,
    })
}

impl Task for ArTask {
    type Model = ArModel;

    fn name(&self) -> &'static str {
        "ar"
    }

    fn fresh_model(&self) -> ArModel {
        with_stable_ids(ArModel::new(
            &self.config.model.ar,
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
        self.config.training.ar.max_updates
    }

    fn grad_accumulation(&self) -> usize {
        self.config.training.ar.grad_accumulation
    }

    fn optimizer(&self) -> &OptimizerConfig {
        &self.config.training.ar.optimizer
    }

    fn control(&self) -> &RunControl {
        &self.config.training.ar.control
    }

    fn prompt_policy(&self, position: u64) -> Option<PromptPolicy> {
        let model = &self.config.model.ar;
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
        model: &ArModel,
        batch: &TokenBatch,
        update: u64,
        micro: u64,
    ) -> Result<LossReport, ModelError> {
        let noise = RandomStream::new(self.config.seed, "ar token noise", &[update, micro]);
        let dropout = RandomStream::new(self.config.seed, "ar dropout", &[update, micro]).next_u64();
        let (logits, targets) = model.forward(&self.input(batch, Some(noise)), Some(dropout))?;
        let objective = self.objective.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(objective.loss(logits, &targets, CodebookIndex::FIRST, update))
    }

    fn validate(
        &self,
        model: &ArModel,
        batches: &[TokenBatch],
    ) -> Result<Vec<CodebookMetrics>, TrainingError> {
        let mut health = CodebookHealth::new(CodebookIndex::FIRST, model.n_classes());
        for batch in batches {
            let (logits, targets) = model.forward(&self.input(batch, None), None)?;
            let targets: Vec<usize> = targets.into_data().iter::<i64>().map(|t| t as usize).collect();
            health.observe(&logits.into_data().iter::<f32>().collect::<Vec<_>>(), &targets);
        }
        Ok(vec![health.metrics()])
    }

    fn probes(&self, model: &ArModel, batches: &[TokenBatch]) -> Result<Probes, TrainingError> {
        let mut probing = Probing::default();
        for batch in batches {
            let own = self.input(batch, None);
            // Each utterance's frames and its end.
            let lengths: Vec<usize> = own.targets.iter().map(|t| t.len() + 1).collect();
            probing.observe(&own, batch, &lengths, |input| self.costs(model, input))?;
        }
        Ok(probing.record())
    }

    fn attention(
        &self,
        model: &ArModel,
        batches: &[TokenBatch],
    ) -> Result<Vec<AttentionMetrics>, TrainingError> {
        let mut health = AttentionHealth::default();
        for batch in batches {
            health.observe(model.heads(&self.input(batch, None))?);
        }
        Ok(health.metrics())
    }

    fn free_running(
        &self,
        model: &ArModel,
        batch: &TokenBatch,
    ) -> Result<Vec<FreeRunningMetrics>, TrainingError> {
        let input = self.input(batch, None);
        let (mut written, mut targets) = (Vec::new(), Vec::new());
        for (b, target) in input.targets.iter().enumerate() {
            let prompt = input.prompt.as_ref().map_or(&[][..], |prompt| &prompt.codes[b][0]);
            let mut cache = model.start(&input.text[b], input.speakers[b], prompt)?;
            let mut stream = RandomStream::new(self.config.seed, "free running", &[b as u64]);
            let mut last = model.bos();
            for _ in target {
                let mut scores = model.step(&mut cache, last);
                // As many frames as the target has: where it would have ended is not what is asked here.
                scores[model.eos()] = f32::NEG_INFINITY;
                last = draw_plainly(&scores, &mut stream);
                written.push(last);
            }
            targets.extend(target.iter().map(|code| *code as usize));
        }
        Ok(vec![free_running(CodebookIndex::FIRST, model.n_classes(), &written, &targets)])
    }
}
