//! How tokens are drawn from the models.
//!
//! In: a model, a text, settings, a seed. Out: codes. Invariant: the same of all four gives the same codes on the CPU.

mod alignment;
mod ar;
mod filter;
mod guard;
mod nar;
mod ranking;
mod repeats;

pub use alignment::TextAttention;
pub use ar::{ArDecoder, ArOutput, ArRequest, ArStop};
pub use filter::LogitFilter;
pub(crate) use filter::draw;
pub use guard::{LoopEvent, LoopKind, trailing_loop};
pub use nar::{Centroids, NarDecoder, NarOutput};
pub use ranking::{CandidateScore, best, score};
pub use repeats::SpokenText;
