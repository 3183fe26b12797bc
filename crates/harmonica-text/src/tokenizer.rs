//! Normalized characters to ids.

use crate::{TextError, Vocab, normalize};
use std::ops::Range;

/// Ids of one text. Invariant: at least one id, none of them padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextTokens {
    /// Symbol ids.
    pub ids: Vec<usize>,
    /// The normalized text that they spell.
    pub normalized: String,
}

impl TextTokens {
    /// Ranges of ids that are words: what stands between spaces.
    pub fn words(&self) -> Vec<Range<usize>> {
        let mut words: Vec<Range<usize>> = Vec::new();
        for (i, character) in self.normalized.chars().enumerate() {
            match words.last_mut() {
                _ if character == ' ' => {}
                Some(word) if word.end == i => word.end = i + 1,
                _ => words.push(i..i + 1),
            }
        }
        words
    }
}

/// Turns text into [`TextTokens`].
#[derive(Debug, Clone)]
pub struct TextTokenizer {
    vocab: Vocab,
}

impl TextTokenizer {
    /// A tokenizer over a vocabulary.
    pub fn new(vocab: Vocab) -> Self {
        Self { vocab }
    }

    /// The vocabulary.
    pub fn vocab(&self) -> &Vocab {
        &self.vocab
    }

    /// Normalizes and tokenizes a text.
    ///
    /// # Errors
    /// A text without a letter, or with a character that the vocabulary does not know.
    pub fn tokenize(&self, text: &str) -> Result<TextTokens, TextError> {
        let normalized = normalize(text);
        if !normalized.chars().any(char::is_alphanumeric) {
            return Err(TextError::Empty { text: text.chars().take(80).collect() });
        }
        let ids = normalized
            .chars()
            .map(|c| self.vocab.id(c).ok_or(TextError::UnknownCharacter { character: c }))
            .collect::<Result<_, _>>()?;
        Ok(TextTokens { ids, normalized })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_the_vocabulary_and_never_are_padding() {
        let tokens = TextTokenizer::new(Vocab::english()).tokenize("Open the 2 doors!").unwrap();
        assert_eq!(tokens.normalized, "open the two doors!");
        assert_eq!(tokens.ids.len(), tokens.normalized.chars().count());
        assert_eq!(tokens.words(), [0..4, 5..8, 9..12, 13..19]);
        assert!(tokens.ids.iter().all(|id| *id >= Vocab::FIRST_CHARACTER && *id < Vocab::english().len()));
    }

    #[test]
    fn empty_and_foreign_texts_are_refused_by_name() {
        let tokenizer = TextTokenizer::new(Vocab::english());
        for text in ["", "   ", "?!", "()"] {
            assert!(tokenizer.tokenize(text).unwrap_err().to_string().contains("nothing to say"));
        }
        assert!(tokenizer.tokenize("\u{65e5}\u{672c}").unwrap_err().to_string().contains('\u{65e5}'));
    }

    #[test]
    fn stored_vocabularies_round_trip_and_doubles_are_refused() {
        let json = serde_json::to_string(&Vocab::english()).unwrap();
        assert_eq!(Vocab::from_json(&json).unwrap(), Vocab::english());
        assert!(Vocab::from_json(r#"{"format_version":1,"characters":["a","a"]}"#).is_err());
        assert!(Vocab::from_json(r#"{"format_version":2,"characters":["a"]}"#).is_err());
    }
}
