//! Tables of codes that know the codec's geometry: codes with near centroids start out near each other.
//!
//! A table's row is a learned vector plus a learned projection of the code's centroid; a head scores a code by a learned
//! vector plus its centroid's projection on a learned direction. Special ids have no centroid.

use crate::parameters::ParameterFactory;
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// Centroids of every codebook of a codec.
#[derive(Debug, Clone, PartialEq)]
pub struct CodecGeometry {
    /// For each codebook its centroids `[codebook_size, width]`, row by row, of unit mean square.
    codebooks: Vec<Vec<f32>>,
    /// Root mean square of each codebook before it was scaled, the first one's being 1.
    scales: Vec<f32>,
    width: usize,
}

impl CodecGeometry {
    /// Takes centroids `[codebook_size, width]` of each codebook, on any scale.
    pub fn new(codebooks: impl IntoIterator<Item = Vec<f32>>, width: usize) -> Self {
        let (codebooks, roots): (Vec<Vec<f32>>, Vec<f64>) = codebooks
            .into_iter()
            .map(|values| {
                let square =
                    values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / values.len().max(1) as f64;
                let root = square.sqrt().max(1e-9);
                (values.into_iter().map(|v| v * (1.0 / root) as f32).collect(), root)
            })
            .unzip();
        let first = roots.first().copied().unwrap_or(1.0);
        Self { codebooks, scales: roots.into_iter().map(|r| (r / first) as f32).collect(), width }
    }

    /// Width of a centroid.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Centroids of one codebook `[rows, width]`, of unit mean square; special ids stand at the origin.
    pub(crate) fn units(&self, codebook: usize, rows: usize, device: &Device) -> Tensor<2> {
        let mut values = self.codebooks[codebook].clone();
        values.resize(rows * self.width, 0.0);
        Tensor::from_data(TensorData::new(values, [rows, self.width]), device)
    }

    /// What brings one codebook's unit centroids to the scale of the first codebook's, so that they add up to latents.
    pub(crate) fn scale(&self, codebook: usize) -> f32 {
        self.scales[codebook]
    }
}

/// Embedding of the ids of one codebook.
#[derive(Module, Debug)]
pub(crate) struct CodeEmbedding {
    table: Param<Tensor<2>>,
    projection: Option<Param<Tensor<2>>>,
    centroids: Option<Tensor<2>>,
}

impl CodeEmbedding {
    pub(crate) fn new(
        make: &ParameterFactory,
        path: &str,
        codebook: usize,
        rows: usize,
        width: usize,
        geometry: Option<&CodecGeometry>,
    ) -> Self {
        let deviation = 1.0 / (width as f64).sqrt();
        let projection = geometry.map(|g| {
            make.normal(
                &format!("{path}.projection"),
                [g.width(), width],
                deviation / (g.width() as f64).sqrt(),
            )
        });
        Self {
            table: make.normal(&format!("{path}.table"), [rows, width], deviation * 0.3),
            projection,
            centroids: geometry.map(|g| g.units(codebook, rows, make.device())),
        }
    }

    /// All rows `[rows, D]`.
    pub(crate) fn rows(&self) -> Tensor<2> {
        match (&self.projection, &self.centroids) {
            (Some(projection), Some(centroids)) => {
                self.table.val() + centroids.clone().matmul(projection.val())
            }
            _ => self.table.val(),
        }
    }

    /// Rows of ids `[B, T]` as `[B, T, D]`.
    pub(crate) fn look_up(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        look_up(self.rows(), ids)
    }
}

/// Rows `[rows, D]` of ids `[B, T]` as `[B, T, D]`.
pub(crate) fn look_up(rows: Tensor<2>, ids: Tensor<2, Int>) -> Tensor<3> {
    let ([n_items, n], width) = (ids.dims(), rows.dims()[1]);
    rows.select(0, ids.reshape([n_items * n])).reshape([n_items, n, width])
}

/// Scores of the classes of one codebook.
#[derive(Module, Debug)]
pub(crate) struct CodeHead {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    direction: Option<Param<Tensor<2>>>,
    centroids: Option<Tensor<2>>,
}

impl CodeHead {
    pub(crate) fn new(
        make: &ParameterFactory,
        path: &str,
        codebook: usize,
        classes: usize,
        width: usize,
        geometry: Option<&CodecGeometry>,
    ) -> Self {
        let deviation = 0.5 / (width as f64).sqrt();
        Self {
            weight: make.normal(&format!("{path}.weight"), [width, classes], deviation),
            bias: make.constant(0.0, [classes]),
            direction: geometry.map(|g| {
                make.normal(
                    &format!("{path}.direction"),
                    [width, g.width()],
                    deviation / (g.width() as f64).sqrt(),
                )
            }),
            centroids: geometry.map(|g| g.units(codebook, classes, make.device())),
        }
    }

    /// Scores `[N, classes]` of states `[N, D]`.
    pub(crate) fn score(&self, states: Tensor<2>) -> Tensor<2> {
        let weight = match (&self.direction, &self.centroids) {
            (Some(direction), Some(centroids)) => {
                self.weight.val() + direction.val().matmul(centroids.clone().transpose())
            }
            _ => self.weight.val(),
        };
        states.matmul(weight) + self.bias.val().unsqueeze()
    }

    /// Scores `[N, classes]` of states `[N, D]` with a further weight `[D, classes]` and bias `[classes]`.
    pub(crate) fn score_with(&self, states: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
        states.matmul(self.weight.val() + weight) + (self.bias.val() + bias).unsqueeze()
    }
}
