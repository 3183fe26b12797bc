//! Log-mel spectra with HTK-type triangular filters (O'Shaughnessy's mel scale).

use crate::{Stft, Waveform};

/// Added to magnitudes before the logarithm: levels below it are background, whose wobble nobody needs to hear.
pub const MEL_FLOOR: f32 = 0.05;

/// Triangular filters, row by row `[n_mels, n_bins]`.
#[derive(Debug, Clone, PartialEq)]
pub struct MelFilterbank {
    n_mels: usize,
    n_bins: usize,
    weights: Vec<f32>,
}

impl MelFilterbank {
    /// Filters between `low_hz` and `high_hz`, evenly spaced in mel, each of unit peak.
    pub fn new(n_mels: usize, n_bins: usize, sample_rate_hz: u32, low_hz: f64, high_hz: f64) -> Self {
        let mel = |hz: f64| 2595.0 * (1.0 + hz / 700.0).log10();
        let hz = |mel: f64| 700.0 * (10_f64.powf(mel / 2595.0) - 1.0);
        let edges: Vec<f64> = (0..n_mels + 2)
            .map(|i| hz(mel(low_hz) + (mel(high_hz) - mel(low_hz)) * i as f64 / (n_mels + 1) as f64))
            .collect();
        let bin_hz = f64::from(sample_rate_hz) / 2.0 / (n_bins - 1) as f64;
        let mut weights = vec![0.0; n_mels * n_bins];
        for m in 0..n_mels {
            for bin in 0..n_bins {
                let at = bin as f64 * bin_hz;
                let rise = (at - edges[m]) / (edges[m + 1] - edges[m]);
                let fall = (edges[m + 2] - at) / (edges[m + 2] - edges[m + 1]);
                weights[m * n_bins + bin] = rise.min(fall).max(0.0) as f32;
            }
        }
        Self { n_mels, n_bins, weights }
    }

    /// Number of filters.
    pub fn n_mels(&self) -> usize {
        self.n_mels
    }

    /// Frequency bins that a filter reads.
    pub fn n_bins(&self) -> usize {
        self.n_bins
    }

    /// Filters, row by row `[n_mels, n_bins]`.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }
}

/// Natural-log mel magnitudes, frame by frame `[n_frames, n_mels]`.
#[derive(Debug, Clone, PartialEq)]
pub struct MelSpectrum {
    /// Values, frame by frame.
    pub values: Vec<f32>,
    /// Bands a frame.
    pub n_mels: usize,
}

impl MelSpectrum {
    /// Frames.
    pub fn n_frames(&self) -> usize {
        self.values.len() / self.n_mels
    }

    /// Mean absolute difference over the frames that both spectra have, in nats; `None` without a common frame.
    pub fn distance(&self, other: &Self) -> Option<f64> {
        let n = self.values.len().min(other.values.len());
        if n == 0 || self.n_mels != other.n_mels {
            return None;
        }
        let sum: f64 = self.values.iter().zip(&other.values).map(|(a, b)| f64::from((a - b).abs())).sum();
        Some(sum / n as f64)
    }
}

/// Log-mel spectrum of a waveform, one frame every `stft.step_samples()`.
pub fn mel_spectrogram(waveform: &Waveform, stft: &Stft, filters: &MelFilterbank) -> MelSpectrum {
    let n_frames = stft.n_frames(waveform.samples().len());
    let spectrum = stft.analyse(waveform.samples(), 0, n_frames);
    // Each filter touches a narrow band: remember where it starts and ends.
    let bands: Vec<(usize, &[f32])> = filters
        .weights
        .chunks_exact(filters.n_bins)
        .map(|row| {
            let first = row.iter().position(|w| *w > 0.0).unwrap_or(0);
            let last = row.iter().rposition(|w| *w > 0.0).map_or(0, |l| l + 1);
            (first, &row[first..last.max(first)])
        })
        .collect();
    let mut values = Vec::with_capacity(n_frames * filters.n_mels);
    let mut magnitude = vec![0.0_f32; filters.n_bins];
    for frame in spectrum.chunks_exact(filters.n_bins) {
        for (m, bin) in magnitude.iter_mut().zip(frame) {
            *m = bin.norm();
        }
        for (first, weights) in &bands {
            let energy: f32 = weights.iter().zip(&magnitude[*first..]).map(|(w, m)| w * m).sum();
            values.push((energy + MEL_FLOOR).ln());
        }
    }
    MelSpectrum { values, n_mels: filters.n_mels }
}
