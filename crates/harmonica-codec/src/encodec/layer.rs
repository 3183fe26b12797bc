//! What a layer of the network is to the layers around it: a stream of rows `[T, C]`.
//!
//! Invariant: the rows that come out depend on the rows that went in, not on how they were cut into pushes.

use super::rows::RowBuffer;

/// A layer in the middle of a waveform.
pub(crate) trait LayerStream: Send {
    /// Takes rows and appends to `out` the rows that are certain by now.
    fn push(&mut self, rows: &[f32], out: &mut RowBuffer);

    /// Appends the rows that are left, and is as new again.
    fn finish(&mut self, out: &mut RowBuffer);
}

/// Group normalization with one group, over everything that a waveform's rows hold.
#[derive(Debug, Clone)]
pub(crate) struct TimeGroupNorm {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

impl TimeGroupNorm {
    const EPSILON: f64 = 1e-5;

    pub(crate) fn apply(&self, rows: &mut [f32]) {
        let n = rows.len().max(1) as f64;
        let mean = rows.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        let variance = rows.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n;
        let inverse = 1.0 / (variance + Self::EPSILON).sqrt();
        for row in rows.chunks_exact_mut(self.weight.len()) {
            for ((value, weight), bias) in row.iter_mut().zip(&self.weight).zip(&self.bias) {
                let normalized = ((f64::from(*value) - mean) * inverse) as f32;
                *value = normalized.mul_add(*weight, *bias);
            }
        }
    }
}
