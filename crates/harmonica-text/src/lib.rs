//! Text to symbol ids.
//!
//! In: any English text. Out: [`TextTokens`] of a fingerprinted [`Vocab`]. [`normalize()`] spells out numbers, money,
//! times, ordinals and abbreviations; [`TextTokenizer`] maps the characters that are left.
//! Invariant: the same text, normalizer version and vocabulary always give the same ids; nothing is dropped silently.

mod error;
mod normalize;
mod numbers;
mod tokenizer;
mod vocab;

pub use error::TextError;
pub use normalize::{NORMALIZER_VERSION, normalize};
pub use tokenizer::{TextTokenizer, TextTokens};
pub use vocab::Vocab;
