//! Focal weighting (Lin et al. 2017): tokens that are already predicted well count less.
//!
//! Added to the cross-entropy with a negative share of the easy tokens' loss, so that weight 1 gives the focal loss with
//! focus 1: `(1 - p) * -ln p`.

use burn::tensor::Tensor;
use harmonica_model_core::kernels::cross_entropy;
use harmonica_model_core::{LossTerm, TermInput};

pub(crate) struct Focal;

impl LossTerm for Focal {
    fn name(&self) -> &'static str {
        "focal"
    }

    fn value(&self, input: &TermInput<'_>) -> Tensor<1> {
        let loss = cross_entropy(input.logits.clone(), input.targets.clone(), 0.0);
        let probability = (-loss.clone()).exp();
        -(probability * loss).mean()
    }
}
