//! What can be wrong with a text.

/// Why a text or vocabulary was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// Nothing is left to say.
    #[error("the text {text:?} holds nothing to say; give at least one word")]
    Empty {
        /// The text as given.
        text: String,
    },
    /// The text is longer than the model can read.
    #[error("the text has {symbols} symbols but the model reads at most {limit}; split it into sentences")]
    TooLong {
        /// Symbols after normalization.
        symbols: usize,
        /// The model's limit.
        limit: usize,
    },
    /// A character has no symbol.
    #[error("the text holds {character:?}, which the vocabulary does not know; spell it out or remove it")]
    UnknownCharacter {
        /// The first unknown character.
        character: char,
    },
    /// A stored vocabulary cannot be used.
    #[error("the vocabulary is unusable: {reason}; take the one stored beside the checkpoint")]
    Vocabulary {
        /// What is wrong.
        reason: String,
    },
}
