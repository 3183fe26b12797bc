//! The two models, what they promise, how their weights are stored, how tokens are decoded from them, and whether they
//! are healthy.
//!
//! In: [`ArInput`] and [`NarInput`] (host arrays), on any burn device. Out: logits, losses, tokens, verdicts.
//! Invariant: an utterance's result never depends on its batch mates; code and special ids never overlap.

mod ar;
mod contract;
pub mod decode;
pub mod diagnosis;
mod error;
mod geometry;
mod input;
pub mod kernels;
mod latent_space;
mod nar;
mod objective;
mod parameters;
mod transformer;
mod weights;

pub use ar::{ArCache, ArModel};
pub use contract::{ContractRule, InterfaceContract};
pub use error::ModelError;
pub use geometry::CodecGeometry;
pub use input::{ArInput, NarInput, Prompt};
pub use nar::{NarModel, SpeakerEncoder};
pub use objective::{LossRegistry, LossReport, LossTerm, Objective, TermInput};
pub use parameters::{parameter_names, with_stable_ids};
pub use weights::{Tensors, WeightStore};
