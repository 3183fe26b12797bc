//! What the loop needs to know about a model: how to cost a batch and how to judge it.

use crate::{Sample, TrainingError};
use burn::module::Module;
use burn::tensor::Tensor;
use harmonica_config_schema::record::{AttentionMetrics, CodebookMetrics, FreeRunningMetrics};
use harmonica_config_schema::{OptimizerConfig, RunControl};
use harmonica_data::{PromptPolicy, TokenBatch, TokenCache};
use harmonica_model_core::diagnosis::Probes;
use harmonica_model_core::{InterfaceContract, LossReport, ModelError};
use std::sync::Arc;

/// Training of one kind of model. Invariant: [`Task::loss`] is a pure function of its arguments.
pub trait Task: Send + Sync {
    /// The model.
    type Model: Module;

    /// `ar` or `nar`.
    fn name(&self) -> &'static str;

    /// Fresh weights on the training device.
    fn fresh_model(&self) -> Self::Model;

    /// What checkpoints promise about the model.
    fn contract(&self) -> &InterfaceContract;

    /// Token cache.
    fn cache(&self) -> &Arc<TokenCache>;

    /// Updates of the whole run.
    fn max_updates(&self) -> u64;

    /// Batches an update.
    fn grad_accumulation(&self) -> usize;

    /// Optimizer.
    fn optimizer(&self) -> &OptimizerConfig;

    /// How the run steers itself.
    fn control(&self) -> &RunControl;

    /// Where the prompts of the batch at a position come from; `None` where the model takes none.
    fn prompt_policy(&self, position: u64) -> Option<PromptPolicy>;

    /// Most frames that an utterance takes in a batch: its own, and those of its prompt.
    fn frames_of(&self, utterance: usize) -> usize {
        let own = self.cache().utterances()[utterance].n_frames;
        self.prompt_policy(0).map_or(own, |policy| policy.most_frames(own))
    }

    /// The batch at a position counted over the whole run.
    fn batch(&self, utterances: &[usize], position: u64) -> TokenBatch {
        TokenBatch::collect(self.cache(), utterances, self.prompt_policy(position).as_ref())
    }

    /// Cost of a batch.
    ///
    /// # Errors
    /// A batch that the model has no positions for.
    fn loss(
        &self,
        model: &Self::Model,
        batch: &TokenBatch,
        update: u64,
        micro: u64,
    ) -> Result<LossReport, ModelError>;

    /// Figures of every codebook on fixed validation batches: plain, without noise, dropout or extra terms.
    ///
    /// # Errors
    /// A batch that the model has no positions for.
    fn validate(
        &self,
        model: &Self::Model,
        batches: &[TokenBatch],
    ) -> Result<Vec<CodebookMetrics>, TrainingError>;

    /// What another text and another voice cost on these batches; nothing is measured unless a task says otherwise.
    ///
    /// # Errors
    /// A batch that the model has no positions for.
    fn probes(&self, _model: &Self::Model, _batches: &[TokenBatch]) -> Result<Probes, TrainingError> {
        Ok(Probes::default())
    }

    /// What the heads of the model look at on these batches; nothing is measured unless a task says otherwise.
    ///
    /// # Errors
    /// A batch that the model has no positions for.
    fn attention(
        &self,
        _model: &Self::Model,
        _batches: &[TokenBatch],
    ) -> Result<Vec<AttentionMetrics>, TrainingError> {
        Ok(Vec::new())
    }

    /// One utterance as the model would be asked to speak it.
    fn sample(&self, utterance: usize) -> Sample {
        Sample::of(&self.batch(&[utterance], u64::MAX))
    }

    /// Figures of what the model writes by itself, as many frames as the utterances of a batch have; nothing is written
    /// unless a task says otherwise.
    ///
    /// # Errors
    /// A batch that the model has no positions for.
    fn free_running(
        &self,
        _model: &Self::Model,
        _batch: &TokenBatch,
    ) -> Result<Vec<FreeRunningMetrics>, TrainingError> {
        Ok(Vec::new())
    }
}

/// The values of a one-element tensor.
pub(crate) fn scalar(tensor: Tensor<1>) -> f64 {
    f64::from(tensor.into_scalar::<f32>())
}
