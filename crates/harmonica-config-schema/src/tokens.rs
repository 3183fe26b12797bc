//! Ids of codec tokens: real codes from 0, specials above them.
//!
//! Invariant: no real code is ever a padding index (the predecessor froze code 0 that way).

use serde::{Deserialize, Serialize};

/// Which codebook of a codec. Docs and messages count from 1, code counts from 0: this type hides the difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CodebookIndex(usize);

impl CodebookIndex {
    /// Codebook 1, the one that the AR model writes.
    pub const FIRST: Self = Self(0);

    /// From a position counted from 0.
    pub fn from_zero_based(index: usize) -> Self {
        Self(index)
    }

    /// The position counted from 0.
    pub fn zero_based(self) -> usize {
        self.0
    }

    /// Codebooks 2 to `n_codebooks`: the stages of the NAR model.
    pub fn stages(n_codebooks: usize) -> impl Iterator<Item = Self> {
        (1..n_codebooks).map(Self)
    }
}

impl std::fmt::Display for CodebookIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0 + 1)
    }
}

/// Special ids that stand above the real codes `0..codebook_size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpecialTokens {
    /// End of speech; only the AR head has it.
    pub eos: usize,
    /// Between the prompt and the target.
    pub bos: usize,
    /// A code that is not known yet (refinement).
    pub mask: usize,
    /// No frame at all.
    pub pad: usize,
}

impl SpecialTokens {
    /// Special ids for codebooks of `codebook_size` entries.
    pub fn above(codebook_size: usize) -> Self {
        Self { eos: codebook_size, bos: codebook_size + 1, mask: codebook_size + 2, pad: codebook_size + 3 }
    }

    /// Rows that an embedding table needs to hold every code and every special id.
    pub fn table_rows(&self) -> usize {
        self.pad + 1
    }

    /// Classes of the AR head: the real codes and the end of speech.
    pub fn ar_classes(&self) -> usize {
        self.eos + 1
    }
}
