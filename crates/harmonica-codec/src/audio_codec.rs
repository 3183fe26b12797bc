//! What every codec can do.

use crate::{CodecError, CodecTokens};
use harmonica_audio::{MelFilterbank, MelSpectrum, Stft, Waveform, mel_spectrogram, resample};
use harmonica_config_schema::{CodebookIndex, CodecSpec, Fingerprint};
use std::ops::Range;

/// Frames whose latents are in memory together when a recording is decoded.
const DECODE_FRAMES: usize = 1536;

/// A codec: waveform to codes and back. Latents are the sums of codebook vectors, `[T, D]` frame by frame, so that a
/// decoder can also speak what no single code stands for (an expected centroid).
pub trait AudioCodec: Send + Sync {
    /// What the tokens mean.
    fn spec(&self) -> &CodecSpec;

    /// Hash of everything that decides which codes a waveform gets.
    fn fingerprint(&self) -> &Fingerprint;

    /// Width `D` of a latent frame.
    fn latent_width(&self) -> usize;

    /// Vectors of one codebook, `[codebook_size, D]` row by row.
    fn codebook_vectors(&self, codebook: CodebookIndex) -> &[f32];

    /// Codes of a waveform of any rate.
    ///
    /// # Errors
    /// A rate that cannot be converted, or an empty waveform.
    fn encode(&self, waveform: &Waveform) -> Result<CodecTokens, CodecError>;

    /// Log-mel spectrum of a waveform, by which its distortion is measured: windows of about 40 ms every 10 ms, 80 bands up to 7600 Hz.
    ///
    /// # Errors
    /// A rate that cannot be converted.
    fn mel(&self, waveform: &Waveform) -> Result<MelSpectrum, CodecError> {
        let rate_hz = self.spec().sample_rate_hz;
        let window = (rate_hz / 25) as usize;
        let stft = Stft::new(window.next_power_of_two(), window, (rate_hz / 100) as usize);
        let high_hz = 7600.0_f64.min(f64::from(rate_hz) / 2.0);
        let filters = MelFilterbank::new(80, stft.n_bins(), rate_hz, 40.0, high_hz);
        Ok(mel_spectrogram(&resample(waveform, rate_hz)?, &stft, &filters))
    }

    /// Starts a decoder that takes latents piece by piece.
    fn decode_stream(&self) -> Box<dyn DecodeStream + '_>;

    /// Waveform of latents `[T, D]`.
    fn decode_latent(&self, latents: &[f32]) -> Waveform {
        let mut stream = self.decode_stream();
        let mut samples = stream.push(latents);
        samples.extend(stream.finish());
        Waveform::new(samples, self.spec().sample_rate_hz)
    }

    /// Latents `[T, D]` of tokens: for each frame the sum of its codes' vectors.
    ///
    /// # Errors
    /// Tokens of another codec.
    fn latents(&self, tokens: &CodecTokens) -> Result<Vec<f32>, CodecError> {
        self.latents_of(tokens, 0..tokens.n_frames())
    }

    /// Latents `[T, D]` of some frames of tokens, so that nobody needs those of a long recording at once.
    ///
    /// # Errors
    /// More codebooks than the codec has, or a code beyond their size among these frames.
    ///
    /// # Panics
    /// If the frames are not among the tokens'.
    fn latents_of(&self, tokens: &CodecTokens, frames: Range<usize>) -> Result<Vec<f32>, CodecError> {
        let spec = self.spec();
        // Only what is asked for is looked at: a stream asks once a frame, and a scan of all codes each time would be quadratic.
        let of_frames = |k: usize| &tokens.codebook(CodebookIndex::from_zero_based(k))[frames.clone()];
        let beyond = |k: usize| of_frames(k).iter().any(|code| usize::from(*code) >= spec.codebook_size);
        if tokens.n_codebooks() > spec.n_codebooks || (0..tokens.n_codebooks()).any(beyond) {
            let reason =
                format!("they need {} codebooks of more than {}", tokens.n_codebooks(), spec.codebook_size);
            return Err(CodecError::Tokens { reason });
        }
        let width = self.latent_width();
        let mut latents = vec![0.0; frames.len() * width];
        for k in 0..tokens.n_codebooks() {
            let vectors = self.codebook_vectors(CodebookIndex::from_zero_based(k));
            for (frame, code) in latents.chunks_exact_mut(width).zip(of_frames(k)) {
                let vector = &vectors[usize::from(*code) * width..][..width];
                frame.iter_mut().zip(vector).for_each(|(sum, v)| *sum += v);
            }
        }
        Ok(latents)
    }

    /// Waveform of tokens; fewer codebooks than the codec has give a coarser waveform.
    ///
    /// # Errors
    /// Tokens of another codec.
    fn decode(&self, tokens: &CodecTokens) -> Result<Waveform, CodecError> {
        let spec = self.spec();
        let mut stream = self.decode_stream();
        let mut samples = Vec::with_capacity(tokens.n_frames() * spec.hop_samples);
        for start in (0..tokens.n_frames()).step_by(DECODE_FRAMES) {
            let frames = start..tokens.n_frames().min(start + DECODE_FRAMES);
            samples.extend(stream.push(&self.latents_of(tokens, frames)?));
        }
        samples.extend(stream.finish());
        samples.truncate(tokens.n_samples());
        Ok(Waveform::new(samples, spec.sample_rate_hz))
    }
}

/// A decoder in the middle of an utterance. Invariant: the samples depend on the latents only, not on how they were cut
/// into pushes.
pub trait DecodeStream: Send {
    /// Takes latents `[T, D]` and returns the samples that are certain by now, possibly none.
    fn push(&mut self, latents: &[f32]) -> Vec<f32>;

    /// Ends the utterance and returns the samples that are left.
    fn finish(&mut self) -> Vec<f32>;
}
