//! Greedy residual k-means: codebooks of a residual vector quantizer (Juang & Gray 1982).
//! Invariant: the same rows give the same codebooks, whatever the number of threads.

use harmonica_numerics::{View, multiply};
use rayon::prelude::*;

/// Rows handled by one task; fixed, so that sums have one order.
const CHUNK_ROWS: usize = 2048;

/// For each row of `rows` `[N, D]` the nearest of `centroids` `[V, D]` (the first one on ties).
pub(crate) fn nearest(rows: &[f32], centroids: &[f32], width: usize) -> Vec<u16> {
    let n_centroids = centroids.len() / width;
    let half_norms: Vec<f32> =
        centroids.chunks_exact(width).map(|c| 0.5 * c.iter().map(|v| v * v).sum::<f32>()).collect();
    let assign = |chunk: &[f32]| -> Vec<u16> {
        let n = chunk.len() / width;
        let mut dots = vec![0.0_f32; n * n_centroids];
        matmul_transposed(n, n_centroids, width, chunk, centroids, &mut dots);
        dots.chunks_exact(n_centroids)
            .map(|row| {
                let mut best = (f32::NEG_INFINITY, 0);
                for (i, (dot, norm)) in row.iter().zip(&half_norms).enumerate() {
                    if dot - norm > best.0 {
                        best = (dot - norm, i);
                    }
                }
                best.1 as u16
            })
            .collect()
    };
    rows.par_chunks(CHUNK_ROWS * width).flat_map_iter(assign).collect()
}

/// `out [n, m] = a [n, k] b^T`, with `b` `[m, k]`.
pub(crate) fn matmul_transposed(n: usize, m: usize, k: usize, a: &[f32], b: &[f32], out: &mut [f32]) {
    let b = (b, View::rows(0, m, k, k).transposed());
    multiply(1.0, (a, View::rows(0, n, k, k)), b, (out, View::rows(0, n, m, m)));
}

/// One codebook `[size, D]` by Lloyd's algorithm; an entry that loses all its rows moves to the row that is worst off.
fn fit_codebook(rows: &[f32], width: usize, size: usize, iterations: usize) -> Vec<f32> {
    let n = rows.len() / width;
    // Rows far apart in the corpus make better first centroids than neighbours in one utterance: a stride that is
    // coprime to most sizes visits the whole corpus.
    let mut centroids: Vec<f32> = (0..size)
        .flat_map(|i| {
            let at = ((i as u64 * 2_654_435_761) % n as u64) as usize;
            rows[at * width..][..width].iter().copied()
        })
        .collect();
    for _ in 0..iterations {
        let assigned = nearest(rows, &centroids, width);
        let mut sums = vec![0.0_f64; size * width];
        let mut counts = vec![0_usize; size];
        for (row, &code) in rows.chunks_exact(width).zip(&assigned) {
            counts[usize::from(code)] += 1;
            let sum = &mut sums[usize::from(code) * width..][..width];
            sum.iter_mut().zip(row).for_each(|(s, v)| *s += f64::from(*v));
        }
        let mut lost: Vec<usize> = (0..size).filter(|i| counts[*i] == 0).collect();
        for (i, centroid) in centroids.chunks_exact_mut(width).enumerate() {
            if counts[i] > 0 {
                let sum = &sums[i * width..][..width];
                centroid.iter_mut().zip(sum).for_each(|(c, s)| *c = (*s / counts[i] as f64) as f32);
            }
        }
        if !lost.is_empty() {
            let mut errors: Vec<(f32, usize)> = rows
                .chunks_exact(width)
                .zip(&assigned)
                .enumerate()
                .map(|(at, (row, code))| {
                    let centroid = &centroids[usize::from(*code) * width..][..width];
                    (row.iter().zip(centroid).map(|(a, b)| (a - b) * (a - b)).sum(), at)
                })
                .collect();
            errors.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            for (entry, (_, at)) in lost.drain(..).zip(errors) {
                centroids[entry * width..][..width].copy_from_slice(&rows[at * width..][..width]);
            }
        }
    }
    centroids
}

/// `n_codebooks` codebooks, each passed through `store` and fitted on what the ones before it left over. `rows` end as what
/// all of them leave over.
pub(crate) fn fit_residual(
    rows: &mut [f32],
    width: usize,
    n_codebooks: usize,
    size: usize,
    iterations: usize,
    store: impl Fn(Vec<f32>) -> Vec<f32>,
    mut progress: impl FnMut(usize, f64),
) -> Vec<Vec<f32>> {
    (0..n_codebooks)
        .map(|k| {
            let codebook = store(fit_codebook(rows, width, size, iterations));
            subtract(rows, &codebook, width);
            let left =
                rows.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>() / (rows.len() / width) as f64;
            progress(k + 1, left);
            codebook
        })
        .collect()
}

/// Replaces each row by what its nearest centroid leaves over, and returns the codes.
pub(crate) fn subtract(rows: &mut [f32], codebook: &[f32], width: usize) -> Vec<u16> {
    let codes = nearest(rows, codebook, width);
    for (row, &code) in rows.chunks_exact_mut(width).zip(&codes) {
        let centroid = &codebook[usize::from(code) * width..][..width];
        row.iter_mut().zip(centroid).for_each(|(v, c)| *v -= c);
    }
    codes
}
