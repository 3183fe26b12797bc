//! The embedded codec: log-mel frames, stacked, liftered PCA, greedy residual k-means; phases by Griffin-Lim.
//!
//! In: speech to fit on, then waveforms. Out: tokens and waveforms. Not a neural codec and not meant to rival one: it
//! needs no download, fits in seconds and is intelligible.
//! Invariant: fit, encode and decode are deterministic for any number of threads.

use crate::audio_codec::{AudioCodec, DecodeStream};
use crate::kmeans::{fit_residual, subtract};
use crate::linear_maps::{CONTEXT, analyse, fit_analysis, fit_synthesis, in_context, mean_frame, synthesise};
use crate::mel_inverse::MelInverse;
use crate::phase::PhaseStream;
use crate::{CodecError, CodecTokens};
use half::f16;
use harmonica_audio::{MelFilterbank, MelSpectrum, Stft, Waveform, mel_spectrogram, resample};
use harmonica_config_schema::{CodebookIndex, CodecSpec, Fingerprint, MelRvqConfig};

/// Weights of a fitted codec.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MelRvqWeights {
    /// Mean stacked frame `[stack * n_mels]`.
    pub(crate) mean: Vec<f32>,
    /// Centred stacked frames to latents, `[D, stack * n_mels]`.
    pub(crate) analysis: Vec<f32>,
    /// Latents in context to centred stacked frames, `[CONTEXT * D, stack * n_mels]`.
    pub(crate) synthesis: Vec<f32>,
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
            && weights.analysis.len() == width * stacked
            && weights.synthesis.len() == CONTEXT * width * stacked
            && weights.codebooks.len() == config.n_codebooks
            && weights.codebooks.iter().all(|c| c.len() == config.codebook_size * width);
        let maps = || weights.mean.iter().chain(&weights.analysis).chain(&weights.synthesis);
        let all = || maps().chain(weights.codebooks.iter().flatten());
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

    /// Fits the codec on speech, taking waveforms until there are `max_fit_frames` codec frames; so they should come in an
    /// order that spreads over the corpus. `progress` hears of every codebook done, with the mean squared error that is
    /// left.
    ///
    /// # Errors
    /// Fewer codec frames than twice the codebook size, a rate that cannot be converted, samples that are not numbers.
    pub fn fit(
        config: &MelRvqConfig,
        speech: impl IntoIterator<Item = Waveform>,
        mut progress: impl FnMut(usize, f64),
    ) -> Result<Self, CodecError> {
        let (stft, filters) = front_end(config);
        let stacked = config.stack * config.n_mels;
        let (mut rows, mut lengths) = (Vec::new(), Vec::new());
        for waveform in speech {
            let frames = stacked_frames(&waveform, config, &stft, &filters)?;
            lengths.push(frames.len() / stacked);
            rows.extend(frames);
            if rows.len() / stacked >= config.max_fit_frames {
                break;
            }
        }
        lengths.retain(|length| *length > 0);
        let found = rows.len() / stacked;
        let needed = 2 * config.codebook_size.max(config.n_components);
        if found < needed {
            return Err(CodecError::TooLittleAudio { needed, found });
        }
        let width = config.n_components;
        let mean = halved(mean_frame(&rows, stacked));
        let analysis = halved(fit_analysis(&rows, &mean, config.n_mels, config.fine_weight, width));
        let latents = analyse(&rows, &mean, &analysis, width);
        let (n, size, iterations) = (config.n_codebooks, config.codebook_size, config.kmeans_iterations);
        let mut left_over = latents.clone();
        let codebooks = fit_residual(&mut left_over, width, n, size, iterations, halved, &mut progress);
        let quantized: Vec<f32> = latents.iter().zip(&left_over).map(|(all, left)| all - left).collect();
        let synthesis = fit_synthesis(&quantized, &rows, &mean, &lengths, width)?;
        Self::from_weights(
            config.clone(),
            MelRvqWeights { mean, analysis, synthesis: halved(synthesis), codebooks },
        )
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

    /// In this codec's own frames.
    fn mel(&self, waveform: &Waveform) -> Result<MelSpectrum, CodecError> {
        Ok(mel_spectrogram(&resample(waveform, self.config.sample_rate_hz)?, &self.stft, &self.filters))
    }

    fn encode(&self, waveform: &Waveform) -> Result<CodecTokens, CodecError> {
        let n_samples = resample(waveform, self.config.sample_rate_hz)?.samples().len();
        let frames = stacked_frames(waveform, &self.config, &self.stft, &self.filters)?;
        if frames.is_empty() {
            return Err(CodecError::Tokens { reason: "the waveform has no samples".into() });
        }
        let width = self.config.n_components;
        let mut latents = analyse(&frames, &self.weights.mean, &self.weights.analysis, width);
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
            recent: Vec::new(),
        })
    }
}

struct MelRvqStream<'a> {
    codec: &'a MelRvq,
    phase: PhaseStream,
    /// The last two latents at most: the newest waits for the one after it.
    recent: Vec<f32>,
}

impl MelRvqStream<'_> {
    /// Samples that are certain once the stacked frame of a latent in context is known.
    fn frame(&mut self, recent: &[f32], frame: usize) -> Vec<f32> {
        let MelRvqWeights { mean, synthesis, .. } = &self.codec.weights;
        let stacked = synthesise(in_context(recent, self.codec.latent_width(), frame), mean, synthesis);
        let mels = stacked.chunks_exact(self.codec.config.n_mels);
        mels.flat_map(|mel| self.phase.push(self.codec.inverse.magnitudes(mel))).map(limit).collect()
    }
}

impl DecodeStream for MelRvqStream<'_> {
    fn push(&mut self, latents: &[f32]) -> Vec<f32> {
        let width = self.codec.latent_width();
        let mut samples = Vec::new();
        for latent in latents.chunks_exact(width) {
            let mut recent = std::mem::take(&mut self.recent);
            let waiting = recent.len() / width;
            recent.extend_from_slice(latent);
            if waiting > 0 {
                samples.extend(self.frame(&recent, waiting - 1));
            }
            recent.drain(..recent.len().saturating_sub(2 * width));
            self.recent = recent;
        }
        samples
    }

    fn finish(&mut self) -> Vec<f32> {
        let recent = std::mem::take(&mut self.recent);
        let waiting = recent.len() / self.codec.latent_width();
        let mut samples = if waiting > 0 { self.frame(&recent, waiting - 1) } else { Vec::new() };
        samples.extend(self.phase.finish().into_iter().map(limit));
        samples
    }
}

/// Values that f16 holds exactly, so that the codec's files are small and say what was fitted.
fn halved(values: Vec<f32>) -> Vec<f32> {
    values.into_iter().map(|v| f16::from_f32(v).to_f32()).collect()
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
        MelRvq::fit(&small(), corpus, |_, _| ()).unwrap()
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
        let error = MelRvq::fit(&MelRvqConfig::default(), [speech(0)], |_, _| ()).unwrap_err().to_string();
        assert!(error.contains("2048") && error.contains("50"), "{error}");
    }
}
