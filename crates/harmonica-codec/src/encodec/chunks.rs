//! Models that encode long chunks as wholes (48 kHz, stereo): each chunk has its own loudness, neighbours are faded into each other.

use super::EnCodec;
use crate::CodecError;
use rayon::prelude::*;

/// A chunk of a waveform.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedChunk {
    /// Codes `[T, Q]`, frame by frame.
    pub codes: Vec<u16>,
    /// Codebooks.
    pub n_codebooks: usize,
    /// What its samples were divided by.
    pub scale: f32,
}

impl EnCodec {
    /// Codes of interleaved samples at the model's own rate, chunk by chunk.
    ///
    /// # Errors
    /// No samples, a frame of channels that is not whole, or more codebooks than the model has.
    pub fn encode_chunks(
        &self,
        samples: &[f32],
        n_codebooks: usize,
    ) -> Result<Vec<EncodedChunk>, CodecError> {
        let channels = self.config.audio_channels;
        let refuse = |reason: String| Err(CodecError::Tokens { reason });
        if samples.is_empty() || !samples.len().is_multiple_of(channels) {
            return refuse(format!("{} samples are no waveform of {channels} channels", samples.len()));
        }
        if n_codebooks == 0 || n_codebooks > self.config.n_codebooks() {
            return refuse(format!(
                "{n_codebooks} codebooks, but the codec has {}",
                self.config.n_codebooks()
            ));
        }
        let n = samples.len() / channels;
        let (length, stride) = self.config.chunking().unwrap_or((n, n));
        let starts: Vec<usize> = (0..n).step_by(stride).collect();
        let encode = |start: usize| {
            let samples = &samples[start * channels..(start + length).min(n) * channels];
            let scale = if self.config.normalize { loudness(samples, channels) } else { 1.0 };
            let scaled: Vec<f32> = samples.iter().map(|v| v / scale).collect();
            EncodedChunk { codes: self.encode_whole(&scaled, n_codebooks), n_codebooks, scale }
        };
        Ok(starts.into_par_iter().map(encode).collect())
    }

    /// Interleaved samples of chunks.
    ///
    /// # Errors
    /// No chunk, or codes that are not this model's.
    pub fn decode_chunks(&self, chunks: &[EncodedChunk]) -> Result<Vec<f32>, CodecError> {
        let channels = self.config.audio_channels;
        let valid = |chunk: &EncodedChunk| {
            (1..=self.config.n_codebooks()).contains(&chunk.n_codebooks)
                && !chunk.codes.is_empty()
                && chunk.codes.len().is_multiple_of(chunk.n_codebooks)
                && chunk.codes.iter().all(|code| usize::from(*code) < self.config.codebook_size)
        };
        if chunks.is_empty() || !chunks.iter().all(valid) {
            return Err(CodecError::Tokens { reason: "a chunk has no frames or codes out of range".into() });
        }
        let decode = |chunk: &EncodedChunk| -> Vec<f32> {
            let mut samples = self.decode_whole(&self.sum_vectors(&chunk.codes, chunk.n_codebooks));
            samples.iter_mut().for_each(|v| *v *= chunk.scale);
            samples
        };
        let waveforms: Vec<Vec<f32>> = chunks.par_iter().map(decode).collect();
        Ok(match self.config.chunking() {
            None => waveforms.concat(),
            Some((_, stride)) => overlap_add(&waveforms, stride, channels),
        })
    }
}

/// Root mean square of the mean of the channels.
fn loudness(samples: &[f32], channels: usize) -> f32 {
    let mono = samples.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() / channels as f32);
    let square: f64 = mono.map(|v| f64::from(v * v)).sum();
    (square / (samples.len() / channels) as f64).sqrt() as f32 + 1e-8
}

/// Fades each waveform in and out by a triangle and divides by the sum of the triangles.
fn overlap_add(waveforms: &[Vec<f32>], stride: usize, channels: usize) -> Vec<f32> {
    let (Some(first), Some(last)) = (waveforms.first(), waveforms.last()) else { return Vec::new() };
    let frame_length = first.len() / channels;
    let total = stride * (waveforms.len() - 1) + last.len() / channels;
    let weight = |i: usize| 0.5 - ((i + 1) as f32 / (frame_length + 1) as f32 - 0.5).abs();
    let mut sums = vec![0.0_f32; total * channels];
    let mut weights = vec![0.0_f32; total];
    for (waveform, start) in waveforms.iter().zip((0..).step_by(stride)) {
        for (i, frame) in waveform.chunks_exact(channels).enumerate().take(total.saturating_sub(start)) {
            weights[start + i] += weight(i);
            let out = &mut sums[(start + i) * channels..][..channels];
            out.iter_mut().zip(frame).for_each(|(out, v)| *out += weight(i) * v);
        }
    }
    sums.chunks_exact_mut(channels)
        .zip(weights)
        .for_each(|(out, weight)| out.iter_mut().for_each(|v| *v /= weight));
    sums
}
