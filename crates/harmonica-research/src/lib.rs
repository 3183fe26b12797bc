//! Experimental objectives, one file each; what a run with one of them found goes to the research log.
//!
//! The composition root calls [`register`]; a term acts only where a configuration names it under
//! `objective.registered`. Invariant: nothing here runs unless it is asked for by name.

mod focal;

use harmonica_model_core::LossRegistry;

/// Adds every experimental term to a registry.
pub fn register(registry: &mut LossRegistry) {
    registry.register(Box::new(focal::Focal));
}
