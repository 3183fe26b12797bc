//! EnCodec (Défossez et al. 2022): a neural codec, exact to its reference implementation.
//!
//! In: a model's `config.json` and `model.safetensors`, then waveforms. Out: tokens and waveforms. The network is causal in the 24 kHz
//! model, so both directions stream.
//! Invariant: streaming equals offline bit for bit, however the pushes are cut and whatever the number of threads: offline is the stream.

mod activation;
mod chunks;
mod config;
mod conv;
mod conv_transposed;
mod fingerprint;
mod layer;
mod lstm;
mod matrix;
mod quantizer;
mod residual;
mod rows;
mod seanet;
mod streams;
mod weights;

pub use chunks::EncodedChunk;
pub use config::{EnCodecConfig, NormType, PadMode};
pub use streams::EnCodecEncodeStream;

use crate::audio_codec::{AudioCodec, DecodeStream};
use crate::{CodecError, CodecTokens};
use harmonica_audio::{Waveform, resample};
use harmonica_config_schema::{CodebookIndex, CodecSpec, Fingerprint};
use quantizer::Quantizer;
use seanet::Seanet;
use std::borrow::Cow;
use streams::EnCodecDecodeStream;
use weights::Weights;

/// An EnCodec model.
#[derive(Debug, Clone)]
pub struct EnCodec {
    config: EnCodecConfig,
    pub(crate) spec: CodecSpec,
    /// Of the model, however many codebooks are used.
    model: Fingerprint,
    pub(crate) fingerprint: Fingerprint,
    encoder: Seanet,
    decoder: Seanet,
    quantizer: Quantizer,
}

impl EnCodec {
    /// Builds a model from its configuration and the bytes of a safetensors file in any of the layouts in use; it speaks in as many codebooks as
    /// it has.
    ///
    /// # Errors
    /// What is wrong, naming the key or the tensor.
    pub fn from_bytes(config: EnCodecConfig, safetensors: &[u8]) -> Result<Self, String> {
        let mut weights = Weights::parse(safetensors)?;
        let model = fingerprint::of_model(&config, &weights);
        let encoder = Seanet::encoder(&config, &mut weights)?;
        let decoder = Seanet::decoder(&config, &mut weights)?;
        let shape = [config.codebook_size, config.hidden_size];
        let codebooks = (0..config.n_codebooks())
            .map(|k| weights.take(&format!("quantizer.layers.{k}.codebook.embed"), &shape))
            .collect::<Result<_, _>>()?;
        weights.finish()?;
        let spec = CodecSpec {
            id: "encodec".into(),
            sample_rate_hz: config.sampling_rate,
            hop_samples: config.hop_samples(),
            n_codebooks: config.n_codebooks(),
            codebook_size: config.codebook_size,
        };
        let quantizer = Quantizer::new(codebooks, config.hidden_size);
        let fingerprint = fingerprint::with_codebooks(&model, spec.n_codebooks);
        Ok(Self { config, spec, model, fingerprint, encoder, decoder, quantizer })
    }

    /// The same model, speaking in its first `n_codebooks` codebooks.
    ///
    /// # Errors
    /// A number that the model does not have.
    pub fn with_codebooks(mut self, n_codebooks: usize) -> Result<Self, CodecError> {
        if !(1..=self.config.n_codebooks()).contains(&n_codebooks) {
            let reason = format!("{n_codebooks} codebooks, but the codec has {}", self.config.n_codebooks());
            return Err(CodecError::Tokens { reason });
        }
        self.spec.n_codebooks = n_codebooks;
        self.fingerprint = fingerprint::with_codebooks(&self.model, n_codebooks);
        Ok(self)
    }

    /// Shape and rules of the model.
    pub fn config(&self) -> &EnCodecConfig {
        &self.config
    }

    /// Starts an encoder that takes samples at the codec's rate piece by piece.
    pub fn encode_stream(&self) -> EnCodecEncodeStream<'_> {
        EnCodecEncodeStream::new(self, self.spec.n_codebooks)
    }

    /// What each layer of the encoder makes of samples, and each layer of the decoder of latents, `[T, C]` with the number that the layer
    /// has in the reference implementation: for holding the one against the other.
    pub fn activations(&self, samples: &[f32], latents: &[f32]) -> [Vec<(usize, Vec<f32>)>; 2] {
        [self.encoder.activations(samples), self.decoder.activations(latents)]
    }

    /// Codes `[T, Q]` of interleaved samples.
    fn encode_whole(&self, samples: &[f32], n_codebooks: usize) -> Vec<u16> {
        let mut stream = EnCodecEncodeStream::new(self, n_codebooks);
        let mut codes = stream.push(samples);
        codes.extend(stream.finish());
        codes
    }

    /// Interleaved samples of latents `[T, D]`.
    fn decode_whole(&self, latents: &[f32]) -> Vec<f32> {
        let mut stream = EnCodecDecodeStream::new(self);
        let mut samples = stream.push(latents);
        samples.extend(stream.finish());
        samples
    }

    /// Latents `[T, D]` of codes `[T, Q]`.
    fn sum_vectors(&self, codes: &[u16], n_codebooks: usize) -> Vec<f32> {
        let width = self.config.hidden_size;
        let mut latents = vec![0.0; codes.len() / n_codebooks * width];
        for (codes, latent) in codes.chunks_exact(n_codebooks).zip(latents.chunks_exact_mut(width)) {
            for (q, code) in codes.iter().enumerate() {
                let vector = &self.quantizer.vectors(q)[usize::from(*code) * width..][..width];
                latent.iter_mut().zip(vector).for_each(|(sum, v)| *sum += v);
            }
        }
        latents
    }
}

impl AudioCodec for EnCodec {
    fn spec(&self) -> &CodecSpec {
        &self.spec
    }

    fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    fn latent_width(&self) -> usize {
        self.config.hidden_size
    }

    fn codebook_vectors(&self, codebook: CodebookIndex) -> &[f32] {
        self.quantizer.vectors(codebook.zero_based())
    }

    fn encode(&self, waveform: &Waveform) -> Result<CodecTokens, CodecError> {
        if self.config.audio_channels != 1 || self.config.normalize || self.config.chunk_length_s.is_some() {
            let reason =
                "this model's chunks carry scales beside their codes, for which `encode_chunks` is there";
            return Err(CodecError::Tokens { reason: reason.into() });
        }
        let waveform = if waveform.sample_rate_hz() == self.spec.sample_rate_hz {
            Cow::Borrowed(waveform)
        } else {
            Cow::Owned(resample(waveform, self.spec.sample_rate_hz)?)
        };
        let n_samples = waveform.samples().len();
        if n_samples == 0 {
            return Err(CodecError::Tokens { reason: "the waveform has no samples".into() });
        }
        let n_codebooks = self.spec.n_codebooks;
        let by_frame = self.encode_whole(waveform.samples(), n_codebooks);
        let n_frames = by_frame.len() / n_codebooks;
        let codes = (0..n_codebooks).flat_map(|q| (0..n_frames).map(move |t| (q, t)));
        let codes = codes.map(|(q, t)| by_frame[t * n_codebooks + q]).collect();
        CodecTokens::new(codes, n_codebooks, n_samples, &self.spec)
    }

    fn decode_stream(&self) -> Box<dyn DecodeStream + '_> {
        Box::new(EnCodecDecodeStream::new(self))
    }
}
