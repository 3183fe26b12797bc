//! What can be wrong with models and their files.

use std::path::PathBuf;

/// Why a model or its files were refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A weight file cannot be read.
    #[error("cannot read weights `{}`: {reason}; take a checkpoint that this version wrote", path.display())]
    ReadWeights {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Weights of another model.
    #[error("the weights do not fit the model: {}; load them with the configuration they were trained with", problems.join("; "))]
    WeightsMismatch {
        /// Each tensor that is missing, unknown, misshapen or not finite.
        problems: Vec<String>,
    },
    /// Two models, or a model and a codec or vocabulary, do not belong together.
    #[error("{left} and {right} do not belong together: {}; retrain one of them, or pass parts of the same run", violations.join("; "))]
    ContractViolated {
        /// Which side set the terms.
        left: String,
        /// Which side broke them.
        right: String,
        /// Each violated field with both values.
        violations: Vec<String>,
    },
    /// An objective names a term that nobody registered.
    #[error("the objective term `{name}` is unknown; registered terms: {}", known.join(", "))]
    UnknownTerm {
        /// The name in the configuration.
        name: String,
        /// All registered names.
        known: Vec<String>,
    },
    /// A model that takes its voice from a prompt got none.
    #[error(
        "the model takes its voice from a reference recording and got none; give one, or train with speaker = \"embedding\""
    )]
    MissingPrompt,
    /// Refinement asks for a model that has seen masked codes.
    #[error(
        "{steps} refinement passes were asked for but the model was not trained with masked codes; set decode.nar.refine_steps = 1 (--nar-refine-steps 1)"
    )]
    NotTrainedToRefine {
        /// Passes asked for.
        steps: usize,
    },
    /// More frames or symbols than the model has positions for.
    #[error(
        "{what} has {found} positions but the model holds {limit}; shorten it, or train with a larger limit"
    )]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The model's limit.
        limit: usize,
    },
}
