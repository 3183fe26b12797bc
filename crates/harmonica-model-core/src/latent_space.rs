//! Codes read and scored in the codec's latent space, which all codebooks share.
//!
//! In: what the codes of a frame add up to, and the last of them. Out: a predicted latent, against which the centroids of the
//! next codebook are scored as under a Gaussian. One pair of projections serves every stage, so what a stage learns helps
//! the others. Invariant: centroids are constants of the codec and never trained.

use crate::geometry::{CodecGeometry, look_up};
use crate::parameters::ParameterFactory;
use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor};

/// Embeds frames by their latents.
#[derive(Module, Debug)]
pub(crate) struct LatentEmbedding {
    sum: Param<Tensor<2>>,
    last: Param<Tensor<2>>,
    /// Centroids of each codebook `[rows, W]` of unit mean square.
    units: Vec<Tensor<2>>,
    /// What brings them to the scale of the first codebook.
    scales: Vec<f32>,
}

impl LatentEmbedding {
    pub(crate) fn new(
        make: &ParameterFactory,
        n_codebooks: usize,
        rows: usize,
        width: usize,
        geometry: &CodecGeometry,
    ) -> Self {
        let deviation = 1.0 / (width as f64 * geometry.width() as f64).sqrt();
        let shape = [geometry.width(), width];
        Self {
            sum: make.normal("latent_embedding.sum", shape, deviation),
            last: make.normal("latent_embedding.last", shape, deviation),
            units: (0..n_codebooks).map(|q| geometry.units(q, rows, make.device())).collect(),
            scales: (0..n_codebooks).map(|q| geometry.scale(q)).collect(),
        }
    }

    /// States `[B, T, D]` of the ids `[B, T]` of the codebooks that a stage sees, the first one first.
    pub(crate) fn forward(&self, ids: &[Tensor<2, Int>]) -> Tensor<3> {
        let read = |q: usize| look_up(self.units[q].clone(), ids[q].clone());
        let latent = |q: usize| read(q) * self.scales[q];
        let sum = (1..ids.len()).fold(latent(0), |sum, q| sum + latent(q));
        let last = read(ids.len() - 1);
        sum.matmul(self.sum.val().unsqueeze()) + last.matmul(self.last.val().unsqueeze())
    }
}

/// Scores codes by their distance to a predicted latent.
#[derive(Module, Debug)]
pub(crate) struct LatentHead {
    direction: Param<Tensor<2>>,
    /// Logarithm of each stage's precision.
    log_scale: Param<Tensor<1>>,
    /// Centroids of each stage's codebook `[V, W]` of unit mean square.
    units: Vec<Tensor<2>>,
    /// Half the squared length of each of them `[V]`.
    half_squares: Vec<Tensor<1>>,
}

impl LatentHead {
    pub(crate) fn new(
        make: &ParameterFactory,
        n_stages: usize,
        classes: usize,
        width: usize,
        geometry: &CodecGeometry,
    ) -> Self {
        let units: Vec<Tensor<2>> =
            (1..=n_stages).map(|q| geometry.units(q, classes, make.device())).collect();
        let half_squares =
            units.iter().map(|u| (u.clone() * u.clone()).sum_dim(1).squeeze_dim::<1>(1) * 0.5).collect();
        let deviation = 0.5 / (width as f64).sqrt();
        Self {
            direction: make.normal("latent_head.direction", [width, geometry.width()], deviation),
            // Squared distances are of the order of the width.
            log_scale: make.constant(-(geometry.width() as f32).ln(), [n_stages]),
            units,
            half_squares,
        }
    }

    /// What the latents add to a stage's weight `[D, V]` and bias `[V]`.
    pub(crate) fn weight_and_bias(&self, stage: usize) -> (Tensor<2>, Tensor<1>) {
        let scale = self.log_scale.val().narrow(0, stage, 1).exp();
        let scores = self.direction.val().matmul(self.units[stage].clone().transpose());
        (scores * scale.clone().unsqueeze(), -self.half_squares[stage].clone() * scale)
    }
}
