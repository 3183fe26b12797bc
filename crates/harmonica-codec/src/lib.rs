//! Waveform to codebook indices and back.
//!
//! In: [`harmonica_audio::Waveform`]s. Out: [`CodecTokens`] `[Q, T]`, and waveforms again. Every codec is an
//! [`AudioCodec`] trait object; [`MelRvq`] needs no download: it is fitted on the corpus in seconds; [`EnCodec`] is what a real run
//! uses.
//! Invariant: streaming decode equals offline decode sample for sample, because offline decoding is the stream.

mod audio_codec;
mod encodec;
mod encodec_files;
mod error;
mod kmeans;
mod linear_maps;
mod mel_inverse;
mod mel_rvq;
mod phase;
mod pytorch_file;
mod storage;
mod tokens;

pub use audio_codec::{AudioCodec, DecodeStream};
pub use encodec::{EnCodec, EnCodecConfig, EnCodecEncodeStream, EncodedChunk, NormType, PadMode};
pub use encodec_files::{Bandwidth, import_encodec, open_encodec};
pub use error::CodecError;
pub use mel_rvq::MelRvq;
pub use storage::{open, open_bytes, open_mel_rvq, parse_tokens, read_tokens, save, write_tokens};
pub use tokens::CodecTokens;
