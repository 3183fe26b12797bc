//! Residual vector quantization: each codebook names the vector nearest to what the ones before have left.

use super::matrix::{PackedMatrix, Rows};
use rayon::prelude::*;

/// Rows that one task takes.
const TASK_ROWS: usize = 48;

/// One codebook.
#[derive(Debug, Clone)]
struct Codebook {
    /// `[codebook_size, D]`
    vectors: Vec<f32>,
    products: PackedMatrix,
    /// `-|v|^2 / 2` of each vector.
    offsets: Vec<f32>,
}

/// The codebooks of a model.
#[derive(Debug, Clone)]
pub(crate) struct Quantizer {
    codebooks: Vec<Codebook>,
    width: usize,
}

impl Quantizer {
    /// `codebooks` are `[codebook_size, width]` each.
    pub(crate) fn new(codebooks: Vec<Vec<f32>>, width: usize) -> Self {
        let codebooks = codebooks.into_iter().map(|vectors| {
            let size = vectors.len() / width;
            let products = PackedMatrix::new(width, size, |row, code| vectors[code * width + row]);
            let half_square =
                |v: &[f32]| (-0.5 * v.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>()) as f32;
            let offsets = vectors.chunks_exact(width).map(half_square).collect();
            Codebook { vectors, products, offsets }
        });
        Self { codebooks: codebooks.collect(), width }
    }

    pub(crate) fn vectors(&self, codebook: usize) -> &[f32] {
        &self.codebooks[codebook].vectors
    }

    /// Codes `[T, Q]` of latents `[T, D]` in the first `n_codebooks` codebooks; the first one of equals.
    pub(crate) fn encode(&self, latents: &[f32], n_codebooks: usize) -> Vec<u16> {
        let mut codes = vec![0; latents.len() / self.width * n_codebooks];
        latents
            .par_chunks(TASK_ROWS * self.width)
            .zip(codes.par_chunks_mut(TASK_ROWS * n_codebooks))
            .for_each(|(latents, codes)| self.encode_task(latents.to_vec(), codes, n_codebooks));
        codes
    }

    fn encode_task(&self, mut residual: Vec<f32>, codes: &mut [u16], n_codebooks: usize) {
        let count = residual.len() / self.width;
        let mut scores = Vec::new();
        for (q, codebook) in self.codebooks[..n_codebooks].iter().enumerate() {
            scores.resize(count * codebook.offsets.len(), 0.0);
            let rows = Rows { values: &residual, step: self.width, count };
            codebook.products.multiply(rows, &codebook.offsets, &mut scores);
            let scores = scores.chunks_exact(codebook.offsets.len());
            for ((scores, row), codes) in
                scores.zip(residual.chunks_exact_mut(self.width)).zip(codes.chunks_exact_mut(n_codebooks))
            {
                let code = first_largest(scores);
                codes[q] = code as u16;
                let vector = &codebook.vectors[code * self.width..][..self.width];
                row.iter_mut().zip(vector).for_each(|(left, v)| *left -= v);
            }
        }
    }
}

/// Index of the largest value, the first one of equals.
fn first_largest(values: &[f32]) -> usize {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let (chunks, rest) = values.as_chunks::<16>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = if *value > *lane { *value } else { *lane };
        }
    }
    let largest = lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |most, v| most.max(*v));
    values.iter().position(|v| *v == largest).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_vectors_is_chosen_and_residuals_go_on() {
        let mut first = vec![0.0; 64];
        (first[40], first[42], first[3]) = (1.0, 1.0, -5.0);
        let second = (0..64).map(|i| if i % 2 == 0 { i as f32 * 0.01 } else { 9.0 }).collect();
        let quantizer = Quantizer::new(vec![first, second], 2);
        // (1, 0) is vector 20 and vector 21; what is left of (1.1, 9) is (0.1, 9): vector 5 of the second.
        assert_eq!(quantizer.encode(&[1.1, 9.0], 2), [20, 5]);
        assert_eq!(quantizer.encode(&[1.0, 0.1], 1), [20]);
    }
}
