//! Whether a model is healthy, undertrained or collapsed, codebook by codebook; whether it uses its text and its prompt.
//!
//! In: predictions over a window of held-out tokens ([`CodebookHealth`]), what wrong conditions cost ([`PairedCost`]). Out: a
//! [`VerdictRecord`](harmonica_config_schema::record::VerdictRecord) with its evidence, and [`Alerts`] that neither flicker nor cry wolf.
//! Measured on sampled predictions and on the mean predicted distribution, always as a ratio to the targets of the same
//! window, never on the argmax against the whole vocabulary: a healthy young model has few distinct argmaxes.
//! Invariant: a constant and a uniform model both fail, whatever the window.

mod alerts;
mod heads;
mod verdict;
mod window;

#[cfg(test)]
mod planted;

pub use alerts::{AlertChange, Alerts};
pub(crate) use heads::HeadWatch;
pub use heads::{AttentionHealth, HeadFigures};
pub use verdict::{PairedCost, Probes, Verdict, judge, predecessor_warns, verdict};
pub use window::{CodebookHealth, draw_plainly, free_running, token_costs};
