//! The symbols that a model reads.

use crate::TextError;
use harmonica_config_schema::Fingerprint;
use serde::{Deserialize, Serialize};

/// Symbols in the order of their ids. Id 0 is padding, id 1 separates a prompt's transcript from the text.
///
/// Invariant: ids never change for a stored vocabulary; its fingerprint is part of every contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vocab {
    /// Version of this record.
    pub format_version: u32,
    /// Characters, the first with id [`Vocab::FIRST_CHARACTER`].
    pub characters: Vec<char>,
}

impl Vocab {
    /// Id of padding.
    pub const PAD: usize = 0;
    /// Id of the separator between a prompt's transcript and the text.
    pub const SEPARATOR: usize = 1;
    /// Id of the first character.
    pub const FIRST_CHARACTER: usize = 2;

    /// Lower-case English letters, space and the punctuation that the normalizer keeps.
    pub fn english() -> Self {
        Self { format_version: 1, characters: " abcdefghijklmnopqrstuvwxyz.,!?;:'\"-".chars().collect() }
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        Self::FIRST_CHARACTER + self.characters.len()
    }

    /// Whether no character is known.
    pub fn is_empty(&self) -> bool {
        self.characters.is_empty()
    }

    /// Id of a character.
    pub fn id(&self, character: char) -> Option<usize> {
        self.characters.iter().position(|c| *c == character).map(|i| i + Self::FIRST_CHARACTER)
    }

    /// Fingerprint of the symbols and their order.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self)
    }

    /// Reads a stored vocabulary.
    ///
    /// # Errors
    /// JSON that is not a vocabulary, or one with a symbol twice.
    pub fn from_json(json: &str) -> Result<Self, TextError> {
        let vocab: Self =
            serde_json::from_str(json).map_err(|e| TextError::Vocabulary { reason: e.to_string() })?;
        vocab.check()?;
        Ok(vocab)
    }

    /// Checks a vocabulary that was read as a part of something else.
    ///
    /// # Errors
    /// Another format version, or a symbol twice.
    pub fn check(&self) -> Result<(), TextError> {
        let refuse = |reason: String| Err(TextError::Vocabulary { reason });
        if self.format_version != 1 {
            return refuse(format!("format version {} is not 1", self.format_version));
        }
        let distinct: std::collections::BTreeSet<char> = self.characters.iter().copied().collect();
        if distinct.len() != self.characters.len() {
            return refuse("it lists a symbol twice".into());
        }
        Ok(())
    }
}
