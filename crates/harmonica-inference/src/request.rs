//! What to say, and how: a value.

use crate::Reference;
use harmonica_config_schema::DecodeConfig;
use serde::{Deserialize, Serialize};

/// What to say, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SynthesisRequest {
    pub(crate) text: String,
    pub(crate) voice: Option<String>,
    /// Decides where it is given; `voice` beside it only says where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reference: Option<Reference>,
    pub(crate) seed: u64,
    pub(crate) decode: Option<DecodeConfig>,
}

impl SynthesisRequest {
    /// Says a text with the bundle's first voice and its own settings, seed 1.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), voice: None, reference: None, seed: 1, decode: None }
    }

    /// Chooses a voice of the bundle.
    pub fn voice(mut self, name: impl Into<String>) -> Self {
        self.voice = Some(name.into());
        self.reference = None;
        self
    }

    /// Speaks in the voice of a recording; see [`crate::Synthesizer::reference`].
    pub fn reference(mut self, reference: Reference) -> Self {
        self.reference = Some(reference);
        self.voice = None;
        self
    }

    /// Chooses the seed of the draws.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Replaces the bundle's decode settings.
    pub fn decode(mut self, decode: DecodeConfig) -> Self {
        self.decode = Some(decode);
        self
    }
}
