//! The linear maps of `MelRvq` between stacked log-mel frames and latents.
//!
//! Analysis weighs ripples along frequency (a lifter: Bogert et al. 1963), then keeps principal components. Synthesis is the
//! ridge regression of a stacked frame on its own latent and those of its neighbours (Hoerl & Kennard 1970): quantization
//! errors of neighbouring frames are independent and speech is not, so the neighbours take part of the error away.
//! Invariant: fits are deterministic for any number of threads.

use crate::CodecError;
use crate::kmeans::matmul_transposed;
use nalgebra::{Cholesky, DMatrix, Dyn, SymmetricEigen};

/// Latent frames that a stacked frame is made of: the one before, its own, the one after.
pub(crate) const CONTEXT: usize = 3;

/// Rows handled at once, so that transposed copies stay small.
const BLOCK_ROWS: usize = 4096;

/// The lifter of one mel frame `[n_mels, n_mels]`: fine ripples along frequency weigh `fine_weight`, the envelope 1.
///
/// Ripples are DCT-II components; the weight falls around the component `n_mels / 4`.
fn lifter(n_mels: usize, fine_weight: f64) -> DMatrix<f64> {
    let dct = DMatrix::from_fn(n_mels, n_mels, |ripple, band| {
        let scale = if ripple == 0 { 1.0 } else { std::f64::consts::SQRT_2 } / (n_mels as f64).sqrt();
        scale * (std::f64::consts::PI * ripple as f64 * (band as f64 + 0.5) / n_mels as f64).cos()
    });
    let weights = DMatrix::from_fn(n_mels, n_mels, |row, column| {
        let envelope = 1.0 / (1.0 + ((row as f64 - n_mels as f64 / 4.0) / 2.0).exp());
        if row == column { fine_weight + (1.0 - fine_weight) * envelope } else { 0.0 }
    });
    dct.transpose() * weights * dct
}

/// Mean of stacked frames `[N, S]`.
pub(crate) fn mean_frame(rows: &[f32], stacked: usize) -> Vec<f32> {
    let mut mean = vec![0.0_f64; stacked];
    for row in rows.chunks_exact(stacked) {
        mean.iter_mut().zip(row).for_each(|(m, v)| *m += f64::from(*v));
    }
    let n = (rows.len() / stacked).max(1) as f64;
    mean.into_iter().map(|m| (m / n) as f32).collect()
}

/// The analysis `[D, S]` of centred stacked frames: leading principal components of the liftered frames, applied to frames
/// that are not liftered yet. Each component has its largest element positive.
pub(crate) fn fit_analysis(
    rows: &[f32],
    mean: &[f32],
    n_mels: usize,
    fine_weight: f64,
    n_components: usize,
) -> Vec<f32> {
    let stacked = mean.len();
    let identity = DMatrix::<f64>::identity(stacked / n_mels, stacked / n_mels);
    let lifter = identity.kronecker(&lifter(n_mels, fine_weight));
    let mut covariance = DMatrix::<f64>::zeros(stacked, stacked);
    for block in rows.chunks(BLOCK_ROWS * stacked) {
        let columns = transposed(block, stacked, |at, value| value - mean[at]);
        add_gram(&mut covariance, &columns, &columns, block.len() / stacked);
    }
    covariance /= (rows.len() / stacked) as f64;
    let eigen = SymmetricEigen::new(&lifter * covariance * &lifter);
    let mut order: Vec<usize> = (0..stacked).collect();
    order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
    order
        .into_iter()
        .take(n_components)
        .flat_map(|i| {
            let component = eigen.eigenvectors.column(i);
            let sign = component[component.iamax()].signum();
            (&lifter * component).iter().map(|v| (v * sign) as f32).collect::<Vec<_>>()
        })
        .collect()
}

/// Latents `[N, D]` of stacked frames `[N, S]`.
pub(crate) fn analyse(rows: &[f32], mean: &[f32], analysis: &[f32], width: usize) -> Vec<f32> {
    let stacked = mean.len();
    let n = rows.len() / stacked;
    let mut latents = vec![0.0; n * width];
    for (rows, latents) in rows.chunks(2048 * stacked).zip(latents.chunks_mut(2048 * width)) {
        let centred: Vec<f32> =
            rows.chunks_exact(stacked).flat_map(|row| row.iter().zip(mean).map(|(v, m)| v - m)).collect();
        matmul_transposed(rows.len() / stacked, width, stacked, &centred, analysis, latents);
    }
    latents
}

/// The synthesis `[CONTEXT * D, S]`: centred stacked frames from latents in context, over utterances of `lengths` frames.
///
/// # Errors
/// Values that are not finite.
pub(crate) fn fit_synthesis(
    latents: &[f32],
    rows: &[f32],
    mean: &[f32],
    lengths: &[usize],
    width: usize,
) -> Result<Vec<f32>, CodecError> {
    let (stacked, wide) = (mean.len(), CONTEXT * width);
    let mut gram = DMatrix::<f64>::zeros(wide, wide);
    let mut cross = DMatrix::<f64>::zeros(wide, stacked);
    let mut inputs: Vec<f32> = Vec::new();
    let mut outputs: Vec<f32> = Vec::new();
    let (mut at, mut left) = (0, lengths.len());
    for &length in lengths {
        let utterance = &latents[at * width..][..length * width];
        inputs.extend((0..length).flat_map(|t| in_context(utterance, width, t)).flatten().copied());
        outputs.extend_from_slice(&rows[at * stacked..][..length * stacked]);
        (at, left) = (at + length, left - 1);
        let n = outputs.len() / stacked;
        if n >= BLOCK_ROWS || left == 0 {
            let x = transposed(&inputs, wide, |_, value| value);
            let y = transposed(&outputs, stacked, |at, value| value - mean[at]);
            add_gram(&mut gram, &x, &x, n);
            add_gram(&mut cross, &x, &y, n);
            inputs.clear();
            outputs.clear();
        }
    }
    let ridge = 1e-4 * gram.trace() / wide as f64 + 1e-6;
    for i in 0..wide {
        gram[(i, i)] += ridge;
    }
    let factor = Cholesky::<f64, Dyn>::new(gram).ok_or(CodecError::NotNumbers)?;
    Ok(factor.solve(&cross).transpose().iter().map(|v| *v as f32).collect())
}

/// A frame's latent between those before and after; at the ends of an utterance it stands in for the missing one.
pub(crate) fn in_context(latents: &[f32], width: usize, frame: usize) -> [&[f32]; CONTEXT] {
    let last = latents.len() / width - 1;
    [frame.saturating_sub(1), frame, (frame + 1).min(last)].map(|t| &latents[t * width..][..width])
}

/// A stacked frame `[S]` from latents in context.
pub(crate) fn synthesise(context: [&[f32]; CONTEXT], mean: &[f32], synthesis: &[f32]) -> Vec<f32> {
    let mut frame = mean.to_vec();
    for (value, row) in context.into_iter().flatten().zip(synthesis.chunks_exact(mean.len())) {
        frame.iter_mut().zip(row).for_each(|(f, w)| *f += value * w);
    }
    frame
}

/// Rows `[N, width]` as columns `[width, N]`, each value passed through `map(column, value)`.
fn transposed(rows: &[f32], width: usize, map: impl Fn(usize, f32) -> f32) -> Vec<f32> {
    let n = rows.len() / width;
    let mut columns = vec![0.0_f32; rows.len()];
    for (r, row) in rows.chunks_exact(width).enumerate() {
        for (c, value) in row.iter().enumerate() {
            columns[c * n + r] = map(c, *value);
        }
    }
    columns
}

/// Adds `a b^T` to `sum`, for columns `a` `[A, N]` and `b` `[B, N]`.
fn add_gram(sum: &mut DMatrix<f64>, a: &[f32], b: &[f32], n: usize) {
    let (rows, columns) = sum.shape();
    let mut product = vec![0.0_f32; rows * columns];
    matmul_transposed(rows, columns, n, a, b, &mut product);
    for (i, row) in product.chunks_exact(columns).enumerate() {
        for (j, value) in row.iter().enumerate() {
            sum[(i, j)] += f64::from(*value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harmonica_config_schema::RandomStream;

    fn noise(n: usize, key: u64) -> Vec<f32> {
        let mut stream = RandomStream::new(7, "linear maps", &[key]);
        (0..n).map(|_| stream.normal() as f32).collect()
    }

    #[test]
    fn the_lifter_passes_the_envelope_and_weighs_ripples() {
        let lifter = lifter(80, 0.25);
        let weighed = |period: f64| {
            let frame =
                nalgebra::DVector::from_fn(80, |i, _| (std::f64::consts::TAU * i as f64 / period).cos());
            (&lifter * &frame).norm() / frame.norm()
        };
        assert!((weighed(80.0) - 1.0).abs() < 0.02, "{}", weighed(80.0));
        assert!((weighed(4.0) - 0.25).abs() < 0.02, "{}", weighed(4.0));
    }

    #[test]
    fn all_components_and_no_lifter_keep_every_distance() {
        let rows = noise(400 * 8, 1);
        let mean = mean_frame(&rows, 8);
        let analysis = fit_analysis(&rows, &mean, 4, 1.0, 8);
        let latents = analyse(&rows, &mean, &analysis, 8);
        let square = |v: &[f32]| v.iter().map(|v| v * v).sum::<f32>();
        let centred: Vec<f32> = rows[..8].iter().zip(&mean).map(|(v, m)| v - m).collect();
        assert!((square(&latents[..8]) - square(&centred)).abs() < 1e-3);
    }

    #[test]
    fn synthesis_finds_a_planted_context_map() {
        let (width, stacked, lengths) = (3, 4, [700, 1, 800]);
        let n: usize = lengths.iter().sum();
        let latents = noise(n * width, 2);
        let planted = noise(CONTEXT * width * stacked, 3);
        let mean = vec![0.5, -1.0, 2.0, 0.0];
        let mut rows = Vec::new();
        let mut at = 0;
        for length in lengths {
            let utterance = &latents[at * width..][..length * width];
            rows.extend(
                (0..length).flat_map(|t| synthesise(in_context(utterance, width, t), &mean, &planted)),
            );
            at += length;
        }
        let found = fit_synthesis(&latents, &rows, &mean, &lengths, width).unwrap();
        let worst = found.iter().zip(&planted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 2e-3, "{worst}");
    }
}
