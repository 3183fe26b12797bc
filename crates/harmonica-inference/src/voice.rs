//! Voices: names that a model learned, and recordings that it goes on from.
//!
//! In: a recording and, where it is known, what is said in it; out: a [`Reference`], which a request, a bundle and a replay manifest
//! hold alike. Invariant: a transcript belongs to all frames of its reference.

use crate::InferenceError;
use harmonica_codec::{AudioCodec, CodecTokens};
use harmonica_config_schema::{CodebookIndex, Fingerprint};
use serde::{Deserialize, Serialize};

const FORMAT_VERSION: u32 = 1;

/// Directory of a bundle's voices that are recordings.
pub(crate) const VOICES: &str = "voices/";

/// A voice of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voice {
    /// Its name.
    pub name: String,
    /// The recording that it is, where the models go on from one.
    pub reference: Option<Reference>,
}

/// Frames of a recording that a model goes on from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Codes, codebook by codebook `[Q][P]`.
    codes: Vec<Vec<u16>>,
    /// What is said in all of it, normalized; absent where nobody knows.
    transcript: Option<String>,
}

impl Reference {
    /// Wraps the codes of a recording and its normalized transcript.
    pub fn new(tokens: &CodecTokens, transcript: Option<String>) -> Self {
        let row = |q| tokens.codebook(CodebookIndex::from_zero_based(q)).to_vec();
        Self { codes: (0..tokens.n_codebooks()).map(row).collect(), transcript }
    }

    /// Its first `n_frames`; what is left of a cut recording has no transcript.
    pub(crate) fn cut(mut self, n_frames: usize) -> Self {
        if n_frames < self.n_frames() {
            self.codes.iter_mut().for_each(|row| row.truncate(n_frames));
            self.transcript = None;
        }
        self
    }

    /// Codes, codebook by codebook `[Q][P]`.
    pub fn codes(&self) -> &[Vec<u16>] {
        &self.codes
    }

    /// What is said in all of it, normalized.
    pub fn transcript(&self) -> Option<&str> {
        self.transcript.as_deref()
    }

    /// Frames.
    pub fn n_frames(&self) -> usize {
        self.codes.first().map_or(0, Vec::len)
    }

    /// Whether a codec knows these codes.
    ///
    /// # Errors
    /// Rows of unequal length, too few or too many of them, or a code that the codec has not.
    pub(crate) fn check(&self, codec: &dyn AudioCodec) -> Result<(), InferenceError> {
        let spec = codec.spec();
        let refuse = |reason: String| Err(InferenceError::Reference { reason });
        if self.codes.len() != spec.n_codebooks {
            return refuse(format!("it has {} codebooks, the codec {}", self.codes.len(), spec.n_codebooks));
        }
        if self.n_frames() == 0 || self.codes.iter().any(|row| row.len() != self.n_frames()) {
            return refuse("its codebooks are empty or of unequal length".into());
        }
        match self.codes.iter().flatten().find(|code| usize::from(**code) >= spec.codebook_size) {
            Some(code) => refuse(format!("code {code} is beyond the codebook size {}", spec.codebook_size)),
            None => Ok(()),
        }
    }

    /// Codes as the models take them.
    pub(crate) fn ids(&self) -> Vec<Vec<i32>> {
        self.codes.iter().map(|row| row.iter().map(|code| i32::from(*code)).collect()).collect()
    }
}

/// A reference, and what whoever gave the recording should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// The reference.
    pub reference: Reference,
    /// What was left out of it.
    pub warnings: Vec<String>,
}

/// A voice as it stands in a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VoiceFile {
    format_version: u32,
    name: String,
    /// The codec whose codes these are.
    codec: Fingerprint,
    reference: Reference,
}

impl VoiceFile {
    /// The name of its file in a bundle: what of the voice's name every file system takes, and a hash of all of it.
    pub(crate) fn path(name: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        let readable: String = name.chars().take(40).map(plain).collect();
        let hash = blake3::hash(name.as_bytes()).to_hex();
        format!("{VOICES}{readable}-{}.json", &hash[..12])
    }

    pub(crate) fn bytes(
        name: &str,
        codec: &Fingerprint,
        reference: &Reference,
    ) -> serde_json::Result<Vec<u8>> {
        let file = Self {
            format_version: FORMAT_VERSION,
            name: name.to_owned(),
            codec: codec.clone(),
            reference: reference.clone(),
        };
        serde_json::to_vec(&file)
    }

    /// The voice in a file.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn read(
        path: &str,
        bytes: &[u8],
        codec: &dyn AudioCodec,
    ) -> Result<(String, Reference), String> {
        let file: Self = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if file.format_version != FORMAT_VERSION {
            return Err(format!("format version {} is not {FORMAT_VERSION}", file.format_version));
        }
        if Self::path(&file.name) != path {
            return Err(format!(
                "the voice in it is `{}`, whose place is `{}`",
                file.name,
                Self::path(&file.name)
            ));
        }
        if file.codec != *codec.fingerprint() {
            return Err(format!(
                "its codes are of the codec {}, the bundle has {}; enroll the voice again",
                file.codec.as_str(),
                codec.fingerprint().as_str()
            ));
        }
        file.reference.check(codec).map_err(|e| e.to_string())?;
        Ok((file.name, file.reference))
    }
}
