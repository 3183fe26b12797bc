//! Text and a voice in, speech out: the crate that others embed.
//!
//! ```no_run
//! use harmonica_inference::{SynthesisRequest, SynthesizerBuilder};
//!
//! # fn main() -> Result<(), harmonica_inference::InferenceError> {
//! let synthesizer = SynthesizerBuilder::new("assets/demo-bundle").open()?;
//! let speech = synthesizer.speak(&SynthesisRequest::new("open the red box").voice("slt"))?;
//! speech.save("hello.wav".as_ref())?;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Synthesizer`] is opened once and shared between threads; a [`SynthesisRequest`] is a value. Nothing here is global.
//! A [`ReplayManifest`] beside a wav holds all that decided its samples; [`ReplayManifest::replay`] speaks it again and compares.
//! Invariant: on the CPU the same bundle, request and seed give the same samples.

mod bundle;
mod candidates;
mod error;
mod replay;
mod request;
mod speech;
mod synthesizer;
mod voice;

pub use bundle::{
    BUNDLE_VERSION, Bundle, BundleEvaluation, BundleManifest, BundleOrigin, BundleParts, SystemFigures,
};
pub use error::InferenceError;
pub use harmonica_audio::Waveform;
pub use harmonica_codec::CodecTokens;
pub use harmonica_config_schema::{CodebookIndex, DecodeConfig, NarDecodeKind, PerCodebook};
pub use harmonica_model_core::decode::TextAttention;
pub use harmonica_runtime::DevicePreference;
pub use replay::{Difference, RecordedSpeech, Replay, ReplayManifest, WavState};
pub use request::SynthesisRequest;
pub use speech::{Speech, StopReason};
pub use synthesizer::{Synthesizer, SynthesizerBuilder};
pub use voice::{Enrolment, Reference, Voice};
