//! What training minimises: cross-entropy and named terms.
//!
//! Terms see the logits of one codebook; each returns one number to add. Validation never uses them.

use crate::ModelError;
use crate::kernels::cross_entropy;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};
use harmonica_config_schema::{CodebookIndex, ObjectiveConfig, ScheduledWeight};
use std::collections::BTreeMap;

/// What a term sees.
pub struct TermInput<'a> {
    /// Scores `[N, V]`.
    pub logits: &'a Tensor<2>,
    /// Targets `[N]`.
    pub targets: &'a Tensor<1, Int>,
    /// Codebook that they belong to.
    pub codebook: CodebookIndex,
}

/// One named addition to the objective.
pub trait LossTerm: Send {
    /// Name in the configuration.
    fn name(&self) -> &'static str;

    /// The term, a tensor of one element; training adds it times its weight.
    fn value(&self, input: &TermInput<'_>) -> Tensor<1>;
}

/// Rewards the entropy of every prediction.
struct Entropy;
/// Rewards the entropy of the mean prediction.
struct UsageEntropy;

impl LossTerm for Entropy {
    fn name(&self) -> &'static str {
        "entropy"
    }

    fn value(&self, input: &TermInput<'_>) -> Tensor<1> {
        let log_p = log_softmax(input.logits.clone(), 1);
        (log_p.clone().exp() * log_p).sum_dim(1).mean()
    }
}

impl LossTerm for UsageEntropy {
    fn name(&self) -> &'static str {
        "usage_entropy"
    }

    fn value(&self, input: &TermInput<'_>) -> Tensor<1> {
        let mean = log_softmax(input.logits.clone(), 1).exp().mean_dim(0);
        (mean.clone() * (mean + 1e-9).log()).sum()
    }
}

/// Terms by name.
#[derive(Default)]
pub struct LossRegistry {
    terms: BTreeMap<&'static str, Box<dyn LossTerm>>,
}

impl LossRegistry {
    /// A registry with the stable terms.
    pub fn stable() -> Self {
        let mut registry = Self::default();
        registry.register(Box::new(Entropy));
        registry.register(Box::new(UsageEntropy));
        registry
    }

    /// Adds a term; one of the same name is replaced.
    pub fn register(&mut self, term: Box<dyn LossTerm>) {
        self.terms.insert(term.name(), term);
    }
}

/// The objective of a run.
pub struct Objective {
    label_smoothing: ScheduledWeight,
    terms: Vec<(ScheduledWeight, Box<dyn LossTerm>)>,
}

/// What one batch cost.
#[derive(Debug, Clone)]
pub struct LossReport {
    /// What is minimised, one element.
    pub objective: Tensor<1>,
    /// Plain cross-entropy in nats a token, one element.
    pub cross_entropy: Tensor<1>,
}

impl Objective {
    /// The objective that a configuration asks for.
    ///
    /// # Errors
    /// A term that nobody registered.
    pub fn new(config: &ObjectiveConfig, mut registry: LossRegistry) -> Result<Self, ModelError> {
        let mut wanted: Vec<(String, ScheduledWeight)> = vec![
            ("entropy".into(), config.entropy.clone()),
            ("usage_entropy".into(), config.usage_entropy.clone()),
        ];
        wanted.extend(config.registered.iter().map(|(name, weight)| (name.clone(), weight.clone())));
        let known: Vec<String> = registry.terms.keys().map(|k| (*k).to_owned()).collect();
        let mut terms = Vec::new();
        for (name, weight) in wanted {
            let term = registry.terms.remove(name.as_str());
            let term = term.ok_or_else(|| ModelError::UnknownTerm { name, known: known.clone() })?;
            if weight.weight != 0.0 {
                terms.push((weight, term));
            }
        }
        Ok(Self { label_smoothing: config.label_smoothing.clone(), terms })
    }

    /// Cost of one batch of one codebook at `update`.
    ///
    /// # Shapes
    /// - `logits`: `[N, V]`; `targets`: `[N]`
    pub fn loss(
        &self,
        logits: Tensor<2>,
        targets: &Tensor<1, Int>,
        codebook: CodebookIndex,
        update: u64,
    ) -> LossReport {
        let smoothing = self.label_smoothing.at(update);
        let mut objective = cross_entropy(logits.clone(), targets.clone(), smoothing).mean();
        let plain = if smoothing > 0.0 {
            cross_entropy(logits.clone().detach(), targets.clone(), 0.0).mean()
        } else {
            objective.clone().detach()
        };
        for (weight, term) in &self.terms {
            let weight = weight.at(update);
            if weight != 0.0 {
                objective =
                    objective + term.value(&TermInput { logits: &logits, targets, codebook }) * weight;
            }
        }
        LossReport { objective, cross_entropy: plain }
    }
}
