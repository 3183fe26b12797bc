//! Encoding and decoding piece by piece.
//!
//! Invariant: memory is bounded by the block, however much a push holds.

use super::EnCodec;
use super::seanet::SeanetStream;
use crate::audio_codec::DecodeStream;

/// Frames that pass through the network together: enough to use each weight often, few enough for the caches.
const BLOCK_FRAMES: usize = 48;

/// An encoder in the middle of a waveform.
pub struct EnCodecEncodeStream<'a> {
    codec: &'a EnCodec,
    network: SeanetStream<'a>,
    n_codebooks: usize,
}

impl<'a> EnCodecEncodeStream<'a> {
    pub(crate) fn new(codec: &'a EnCodec, n_codebooks: usize) -> Self {
        Self { codec, network: codec.encoder.stream(), n_codebooks }
    }

    /// Takes interleaved samples at the codec's rate and returns the codes `[T, Q]`, frame by frame, that are certain by now.
    pub fn push(&mut self, samples: &[f32]) -> Vec<u16> {
        let config = &self.codec.config;
        let (mut codes, mut latents) = (Vec::new(), Vec::new());
        for block in samples.chunks(BLOCK_FRAMES * config.hop_samples() * config.audio_channels) {
            latents.clear();
            self.network.push(block, &mut latents);
            codes.extend(self.codec.quantizer.encode(&latents, self.n_codebooks));
        }
        codes
    }

    /// Ends the waveform, returns the codes that are left and is ready for another waveform.
    pub fn finish(&mut self) -> Vec<u16> {
        let mut latents = Vec::new();
        self.network.finish(&mut latents);
        self.codec.quantizer.encode(&latents, self.n_codebooks)
    }
}

/// A decoder in the middle of a waveform.
pub(crate) struct EnCodecDecodeStream<'a> {
    codec: &'a EnCodec,
    network: SeanetStream<'a>,
}

impl<'a> EnCodecDecodeStream<'a> {
    pub(crate) fn new(codec: &'a EnCodec) -> Self {
        Self { codec, network: codec.decoder.stream() }
    }
}

impl DecodeStream for EnCodecDecodeStream<'_> {
    fn push(&mut self, latents: &[f32]) -> Vec<f32> {
        let mut samples = Vec::new();
        for block in latents.chunks(BLOCK_FRAMES * self.codec.config.hidden_size) {
            self.network.push(block, &mut samples);
        }
        samples
    }

    fn finish(&mut self) -> Vec<f32> {
        let mut samples = Vec::new();
        self.network.finish(&mut samples);
        samples
    }
}
