//! The embedded codec: log-mel frames, stacked, PCA, greedy residual k-means; phases by Griffin-Lim.
//!
//! In: speech to fit on, then waveforms. Out: tokens and waveforms. Not a neural codec and not meant to rival one: it
//! needs no download, fits in seconds and is intelligible.
//! Invariant: fit, encode and decode are deterministic for any number of threads.

use crate::audio_codec::{AudioCodec, DecodeStream};
use crate::kmeans::{fit_residual, matmul_transposed, subtract};
use crate::mel_inverse::MelInverse;
use crate::phase::PhaseStream;
use crate::{CodecError, CodecTokens};
use harmonica_audio::{MelFilterbank, Stft, Waveform, mel_spectrogram, resample};
use harmonica_config_schema::{CodebookIndex, CodecSpec, Fingerprint, MelRvqConfig};
use nalgebra::{DMatrix, SymmetricEigen};

/// Weights of a fitted codec.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MelRvqWeights {
    /// Mean stacked frame `[stack * n_mels]`.
    pub(crate) mean: Vec<f32>,
    /// Principal components `[D, stack * n_mels]`, orthonormal rows.
    pub(crate) components: Vec<f32>,
    /// Codebooks, each `[codebook_size, D]`.
    pub(crate) codebooks: Vec<Vec<f32>>,
}

/// Residual vector quantizer over log-mel frames.
#[derive(Debug, Clone)]
pub struct MelRvq {
    config: MelRvqConfig,
    spec: CodecSpec,
    weights: MelRvqWeights,
    fingerprint: Fingerprint,
    stft: Stft,
    filters: MelFilterbank,
    inverse: MelInverse,
}

impl MelRvq {
    pub(crate) fn from_weights(config: MelRvqConfig, weights: MelRvqWeights) -> Result<Self, CodecError> {
        let stacked = config.stack * config.n_mels;
        let width = config.n_components;
        let fits = weights.mean.len() == stacked
            && weights.components.len() == width * stacked
            && weights.codebooks.len() == config.n_codebooks
            && weights.codebooks.iter().all(|c| c.len() == config.codebook_size * width);
        let all = || weights.mean.iter().chain(&weights.components).chain(weights.codebooks.iter().flatten());
        if !fits || !all().all(|v| v.is_finite()) {
            let reason = "the weights do not fit the codec's settings".to_owned();
            return Err(CodecError::Tokens { reason });
        }
        let mut bytes = serde_json::to_vec(&config).unwrap_or_default();
        bytes.extend(all().flat_map(|v| v.to_le_bytes()));
        let (stft, filters) = front_end(&config);
        Ok(Self {
            spec: config.spec(),
            fingerprint: Fingerprint::of_bytes(&bytes),
            inverse: MelInverse::new(&filters),
            config,
            weights,
            stft,
            filters,
        })
    }

    /// Settings it was fitted with.
    pub fn config(&self) -> &MelRvqConfig {
        &self.config
    }

    pub(crate) fn weights(&self) -> &MelRvqWeights {
        &self.weights
    }

    /// Fits the codec on speech. `progress` hears of every codebook done.
    ///
    /// # Errors
    /// Fewer codec frames than twice the codebook size, or a rate that cannot be converted.
    pub fn fit<'a>(
        config: &MelRvqConfig,
        speech: impl IntoIterator<Item = &'a Waveform>,
        mut progress: impl FnMut(usize, f64),
    ) -> Result<Self, CodecError> {
        let (stft, filters) = front_end(config);
        let stacked = config.stack * config.n_mels;
        let mut rows = Vec::new();
        for waveform in speech {
            rows.extend(stacked_frames(waveform, config, &stft, &filters)?);
        }
        let found = rows.len() / stacked;
        let needed = 2 * config.codebook_size.max(config.n_components);
        if found < needed {
            return Err(CodecError::TooLittleAudio { needed, found });
        }
        if found > config.max_fit_frames {
            // Thin evenly: every frame index is kept that crosses a multiple of the ratio.
            let kept = config.max_fit_frames;
            rows = (0..kept)
                .flat_map(|i| {
                    let at = (i as u64 * found as u64 / kept as u64) as usize;
                    rows[at * stacked..][..stacked].to_vec()
                })
                .collect();
        }
        let (mean, components) = principal_components(&rows, stacked, config.n_components);
        let latents = project(&rows, &mean, &components, config.n_components);
        let codebooks = fit_residual(
            latents,
            config.n_components,
            config.n_codebooks,
            config.codebook_size,
            config.kmeans_iterations,
            &mut progress,
        );
        Self::from_weights(config.clone(), MelRvqWeights { mean, components, codebooks })
    }

    /// Log-mel spectrum of a waveform in this codec's own frames; the measure of its distortion.
    ///
    /// # Errors
    /// A rate that cannot be converted.
    pub fn mel(&self, waveform: &Waveform) -> Result<harmonica_audio::MelSpectrum, CodecError> {
        Ok(mel_spectrogram(&resample(waveform, self.config.sample_rate_hz)?, &self.stft, &self.filters))
    }
}

/// The transform and the filters that turn samples into mel frames.
fn front_end(config: &MelRvqConfig) -> (Stft, MelFilterbank) {
    let stft = Stft::new(config.fft_samples, config.window_samples, config.step_samples);
    let (low_hz, high_hz) = (config.mel_low_hz, config.mel_high_hz);
    let filters = MelFilterbank::new(config.n_mels, stft.n_bins(), config.sample_rate_hz, low_hz, high_hz);
    (stft, filters)
}

/// Stacked log-mel frames `[T, stack * n_mels]`; the last one is filled up with its own last mel frame.
fn stacked_frames(
    waveform: &Waveform,
    config: &MelRvqConfig,
    stft: &Stft,
    filters: &MelFilterbank,
) -> Result<Vec<f32>, CodecError> {
    let waveform = resample(waveform, config.sample_rate_hz)?;
    let mut mel = mel_spectrogram(&waveform, stft, filters);
    let stacked = config.stack * config.n_mels;
    while !mel.values.is_empty() && !mel.values.len().is_multiple_of(stacked) {
        let last = mel.values[mel.values.len() - config.n_mels..].to_vec();
        mel.values.extend(last);
    }
    Ok(mel.values)
}

/// Mean and leading eigenvectors of the covariance, each with its largest component positive.
fn principal_components(rows: &[f32], stacked: usize, n_components: usize) -> (Vec<f32>, Vec<f32>) {
    let n = rows.len() / stacked;
    let mut mean = vec![0.0_f64; stacked];
    for row in rows.chunks_exact(stacked) {
        mean.iter_mut().zip(row).for_each(|(m, v)| *m += f64::from(*v));
    }
    mean.iter_mut().for_each(|m| *m /= n as f64);
    let mut covariance = DMatrix::<f64>::zeros(stacked, stacked);
    let block_rows = 4096;
    let mut product = vec![0.0_f32; stacked * stacked];
    for block in rows.chunks(block_rows * stacked) {
        let n_block = block.len() / stacked;
        // Columns of the block as rows, centred, so that the product is a Gram matrix.
        let mut columns = vec![0.0_f32; block.len()];
        for (r, row) in block.chunks_exact(stacked).enumerate() {
            for (c, value) in row.iter().enumerate() {
                columns[c * n_block + r] = value - mean[c] as f32;
            }
        }
        matmul_transposed(stacked, stacked, n_block, &columns, &columns, &mut product);
        covariance.iter_mut().zip(&product).for_each(|(c, p)| *c += f64::from(*p));
    }
    covariance /= n as f64;
    let eigen = SymmetricEigen::new(covariance);
    let mut order: Vec<usize> = (0..stacked).collect();
    order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
    let components = order
        .into_iter()
        .take(n_components)
        .flat_map(|i| {
            let vector = eigen.eigenvectors.column(i);
            let sign = vector[vector.iamax()].signum();
            vector.iter().map(|v| (v * sign) as f32).collect::<Vec<_>>()
        })
        .collect();
    (mean.into_iter().map(|m| m as f32).collect(), components)
}

fn project(rows: &[f32], mean: &[f32], components: &[f32], width: usize) -> Vec<f32> {
    let stacked = mean.len();
    let n = rows.len() / stacked;
    let mut latents = vec![0.0; n * width];
    for (rows, latents) in rows.chunks(2048 * stacked).zip(latents.chunks_mut(2048 * width)) {
        let centred: Vec<f32> =
            rows.chunks_exact(stacked).flat_map(|row| row.iter().zip(mean).map(|(v, m)| v - m)).collect();
        matmul_transposed(rows.len() / stacked, width, stacked, &centred, components, latents);
    }
    latents
}

impl AudioCodec for MelRvq {
    fn spec(&self) -> &CodecSpec {
        &self.spec
    }

    fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    fn latent_width(&self) -> usize {
        self.config.n_components
    }

    fn codebook_vectors(&self, codebook: CodebookIndex) -> &[f32] {
        &self.weights.codebooks[codebook.zero_based()]
    }

    fn encode(&self, waveform: &Waveform) -> Result<CodecTokens, CodecError> {
        let n_samples = resample(waveform, self.config.sample_rate_hz)?.samples().len();
        let frames = stacked_frames(waveform, &self.config, &self.stft, &self.filters)?;
        if frames.is_empty() {
            return Err(CodecError::Tokens { reason: "the waveform has no samples".into() });
        }
        let width = self.config.n_components;
        let mut latents = project(&frames, &self.weights.mean, &self.weights.components, width);
        let codes: Vec<u16> = self
            .weights
            .codebooks
            .iter()
            .flat_map(|codebook| subtract(&mut latents, codebook, width))
            .collect();
        CodecTokens::new(codes, self.config.n_codebooks, n_samples, &self.spec)
    }

    fn decode_stream(&self) -> Box<dyn DecodeStream + '_> {
        Box::new(MelRvqStream {
            codec: self,
            phase: PhaseStream::new(self.stft.clone(), self.config.phase_iterations),
        })
    }
}

struct MelRvqStream<'a> {
    codec: &'a MelRvq,
    phase: PhaseStream,
}

impl DecodeStream for MelRvqStream<'_> {
    fn push(&mut self, latents: &[f32]) -> Vec<f32> {
        let MelRvqWeights { mean, components, .. } = &self.codec.weights;
        let mut samples = Vec::new();
        for latent in latents.chunks_exact(self.codec.latent_width()) {
            let mut stacked = mean.clone();
            for (value, component) in latent.iter().zip(components.chunks_exact(mean.len())) {
                stacked.iter_mut().zip(component).for_each(|(s, c)| *s += value * c);
            }
            for mel in stacked.chunks_exact(self.codec.config.n_mels) {
                samples.extend(self.phase.push(self.codec.inverse.magnitudes(mel)).into_iter().map(limit));
            }
        }
        samples
    }

    fn finish(&mut self) -> Vec<f32> {
        self.phase.finish().into_iter().map(limit).collect()
    }
}

/// Bends peaks below full scale, sample by sample: phases that were guessed add up higher than the true ones.
fn limit(sample: f32) -> f32 {
    const KNEE: f32 = 0.8;
    let over = sample.abs() - KNEE;
    if over <= 0.0 { sample } else { sample.signum() * (KNEE + 0.19 * (over / 0.19).tanh()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> MelRvqConfig {
        MelRvqConfig {
            codebook_size: 32,
            n_codebooks: 3,
            n_components: 24,
            kmeans_iterations: 4,
            ..Default::default()
        }
    }

    /// Vowel-like buzzes of changing pitch: enough structure for a codec to be better with more codebooks.
    fn speech(seed: u32) -> Waveform {
        let mut phase = 0.0_f32;
        let samples = (0..32_000)
            .map(|n| {
                let t = n as f32 / 16_000.0;
                phase += (110.0 + seed as f32 * 17.0 + 40.0 * (t * 3.0).sin()) / 16_000.0;
                let buzz: f32 =
                    (1..20).map(|k| (std::f32::consts::TAU * phase * k as f32).sin() / k as f32).sum();
                buzz * 0.15 * (0.6 + 0.4 * (t * 9.0 + seed as f32).sin())
            })
            .collect();
        Waveform::new(samples, 16_000)
    }

    fn fitted() -> MelRvq {
        let corpus: Vec<_> = (0..6).map(speech).collect();
        MelRvq::fit(&small(), &corpus, |_, _| ()).unwrap()
    }

    #[test]
    fn more_codebooks_come_nearer_to_the_source() {
        let codec = fitted();
        let source = speech(3);
        let tokens = codec.encode(&source).unwrap();
        assert_eq!((tokens.n_codebooks(), tokens.n_frames(), tokens.n_samples()), (3, 50, 32_000));
        let distance = |n: usize| {
            let decoded = codec.decode(&tokens.truncated(n)).unwrap();
            assert_eq!(decoded.samples().len(), 32_000);
            codec.mel(&decoded).unwrap().distance(&codec.mel(&source).unwrap()).unwrap()
        };
        assert!(distance(3) < distance(1), "{} {}", distance(3), distance(1));
        assert!(distance(3) < 0.5, "{}", distance(3));
    }

    #[test]
    fn streaming_equals_offline_however_frames_are_cut() {
        let codec = fitted();
        let latents = codec.latents(&codec.encode(&speech(2)).unwrap()).unwrap();
        let whole = codec.decode_latent(&latents);
        for frames in [1, 3, 7, 50] {
            let mut stream = codec.decode_stream();
            let mut samples: Vec<f32> = Vec::new();
            for piece in latents.chunks(frames * codec.latent_width()) {
                samples.extend(stream.push(piece));
            }
            samples.extend(stream.finish());
            assert_eq!(samples, whole.samples(), "{frames} frames a push");
        }
    }

    #[test]
    fn fitting_twice_gives_the_same_fingerprint() {
        assert_eq!(fitted().fingerprint(), fitted().fingerprint());
    }

    #[test]
    fn too_little_audio_is_refused_with_figures() {
        let error = MelRvq::fit(&MelRvqConfig::default(), &[speech(0)], |_, _| ()).unwrap_err().to_string();
        assert!(error.contains("2048") && error.contains("50"), "{error}");
    }
}
