//! Mel magnitudes back to linear magnitudes: non-negative least squares by multiplicative updates
//! (Lee & Seung 2001). Filters are narrow, so every step touches a few bins a band.

use harmonica_audio::{MEL_FLOOR, MelFilterbank};

const ITERATIONS: usize = 20;

/// Prepared inverse of a filterbank.
#[derive(Debug, Clone)]
pub(crate) struct MelInverse {
    n_bins: usize,
    /// First bin and weights of every band.
    bands: Vec<(usize, Vec<f32>)>,
}

impl MelInverse {
    pub(crate) fn new(filters: &MelFilterbank) -> Self {
        let bands = filters
            .weights()
            .chunks_exact(filters.n_bins())
            .map(|row| {
                let first = row.iter().position(|w| *w > 0.0).unwrap_or(0);
                let end = row.iter().rposition(|w| *w > 0.0).map_or(first, |l| l + 1);
                (first, row[first..end].to_vec())
            })
            .collect();
        Self { n_bins: filters.n_bins(), bands }
    }

    /// Linear magnitudes `[n_bins]` whose bands come nearest to natural-log mel values `[n_mels]`.
    pub(crate) fn magnitudes(&self, log_mel: &[f32]) -> Vec<f32> {
        let target: Vec<f32> = log_mel.iter().map(|v| (v.exp() - MEL_FLOOR).max(0.0)).collect();
        let spread = |values: &[f32]| -> Vec<f32> {
            let mut bins = vec![0.0; self.n_bins];
            for ((first, weights), value) in self.bands.iter().zip(values) {
                for (bin, weight) in bins[*first..].iter_mut().zip(weights) {
                    *bin += weight * value;
                }
            }
            bins
        };
        let wanted = spread(&target);
        let cover = spread(&vec![1.0; self.bands.len()]);
        let mass: Vec<f32> = self.bands.iter().map(|(_, w)| w.iter().sum::<f32>().max(1e-6)).collect();
        let per_bin: Vec<f32> = target.iter().zip(&mass).map(|(t, m)| t / m).collect();
        let mut bins = spread(&per_bin);
        bins.iter_mut().zip(&cover).for_each(|(b, c)| *b /= c.max(1e-6));
        for _ in 0..ITERATIONS {
            let heard: Vec<f32> = self
                .bands
                .iter()
                .map(|(first, weights)| weights.iter().zip(&bins[*first..]).map(|(w, b)| w * b).sum())
                .collect();
            let got = spread(&heard);
            for (bin, (want, got)) in bins.iter_mut().zip(wanted.iter().zip(&got)) {
                *bin *= want / got.max(1e-9);
            }
        }
        bins
    }
}
