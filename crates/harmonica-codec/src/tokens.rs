//! Codebook indices of one utterance.

use crate::CodecError;
use harmonica_config_schema::{CodebookIndex, CodecSpec};

/// Codes `[Q, T]` of one utterance. Invariant: every code is below the codebook size it was made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecTokens {
    codes: Vec<u16>,
    n_codebooks: usize,
    n_samples: usize,
}

impl CodecTokens {
    /// Wraps codes, codebook by codebook; `n_samples` is the length of the waveform they stand for.
    ///
    /// # Errors
    /// Codes that do not fill `n_codebooks` rows, more codebooks than the codec has, or a code out of range.
    pub fn new(
        codes: Vec<u16>,
        n_codebooks: usize,
        n_samples: usize,
        spec: &CodecSpec,
    ) -> Result<Self, CodecError> {
        let refuse = |reason: String| CodecError::Tokens { reason };
        if n_codebooks == 0 || n_codebooks > spec.n_codebooks {
            return Err(refuse(format!("{n_codebooks} codebooks, but the codec has {}", spec.n_codebooks)));
        }
        if codes.is_empty() || !codes.len().is_multiple_of(n_codebooks) {
            return Err(refuse(format!("{} codes do not fill {n_codebooks} codebooks", codes.len())));
        }
        if let Some(code) = codes.iter().find(|c| usize::from(**c) >= spec.codebook_size) {
            return Err(refuse(format!("code {code} is beyond the codebook size {}", spec.codebook_size)));
        }
        let n_frames = codes.len() / n_codebooks;
        let n_samples = n_samples.min(n_frames * spec.hop_samples);
        Ok(Self { codes, n_codebooks, n_samples })
    }

    /// Codebooks.
    pub fn n_codebooks(&self) -> usize {
        self.n_codebooks
    }

    /// Frames.
    pub fn n_frames(&self) -> usize {
        self.codes.len() / self.n_codebooks
    }

    /// Samples of the waveform.
    pub fn n_samples(&self) -> usize {
        self.n_samples
    }

    /// Codes of one codebook.
    ///
    /// # Panics
    /// If the codebook is not among these tokens.
    pub fn codebook(&self, codebook: CodebookIndex) -> &[u16] {
        let n_frames = self.n_frames();
        &self.codes[codebook.zero_based() * n_frames..(codebook.zero_based() + 1) * n_frames]
    }

    /// All codes, codebook by codebook.
    pub fn codes(&self) -> &[u16] {
        &self.codes
    }

    /// The first `n_codebooks` codebooks alone.
    pub fn truncated(&self, n_codebooks: usize) -> Self {
        let n = n_codebooks.clamp(1, self.n_codebooks);
        Self { codes: self.codes[..n * self.n_frames()].to_vec(), n_codebooks: n, n_samples: self.n_samples }
    }
}
