//! A task whose cost a test changes in some updates.

use harmonica_config_schema::record::{CodebookMetrics, FreeRunningMetrics};
use harmonica_config_schema::{OptimizerConfig, RunControl};
use harmonica_data::{PromptPolicy, TokenBatch, TokenCache};
use harmonica_model_core::diagnosis::Probes;
use harmonica_model_core::{InterfaceContract, LossReport, ModelError};
use harmonica_training::{Task, TrainingError};
use std::sync::Arc;

type Strike = Box<dyn Fn(u64, u64, LossReport) -> LossReport + Send + Sync>;

/// A task of which every cost goes through a test's hands, with its update and its batch within the update.
pub(crate) struct Struck<T> {
    inner: T,
    strike: Strike,
}

impl<T> Struck<T> {
    pub(crate) fn new(
        inner: T,
        strike: impl Fn(u64, u64, LossReport) -> LossReport + Send + Sync + 'static,
    ) -> Self {
        Self { inner, strike: Box::new(strike) }
    }
}

impl<T: Task> Task for Struck<T> {
    type Model = T::Model;

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn fresh_model(&self) -> T::Model {
        self.inner.fresh_model()
    }

    fn contract(&self) -> &InterfaceContract {
        self.inner.contract()
    }

    fn cache(&self) -> &Arc<TokenCache> {
        self.inner.cache()
    }

    fn max_updates(&self) -> u64 {
        self.inner.max_updates()
    }

    fn grad_accumulation(&self) -> usize {
        self.inner.grad_accumulation()
    }

    fn optimizer(&self) -> &OptimizerConfig {
        self.inner.optimizer()
    }

    fn control(&self) -> &RunControl {
        self.inner.control()
    }

    fn prompt_policy(&self, position: u64) -> Option<PromptPolicy> {
        self.inner.prompt_policy(position)
    }

    fn loss(
        &self,
        model: &T::Model,
        batch: &TokenBatch,
        update: u64,
        micro: u64,
    ) -> Result<LossReport, ModelError> {
        Ok((self.strike)(update, micro, self.inner.loss(model, batch, update, micro)?))
    }

    fn validate(
        &self,
        model: &T::Model,
        batches: &[TokenBatch],
    ) -> Result<Vec<CodebookMetrics>, TrainingError> {
        self.inner.validate(model, batches)
    }

    fn probes(&self, model: &T::Model, batches: &[TokenBatch]) -> Result<Probes, TrainingError> {
        self.inner.probes(model, batches)
    }

    fn free_running(
        &self,
        model: &T::Model,
        batch: &TokenBatch,
    ) -> Result<Vec<FreeRunningMetrics>, TrainingError> {
        self.inner.free_running(model, batch)
    }
}
