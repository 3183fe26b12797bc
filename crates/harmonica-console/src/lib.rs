//! What the command lines of both programs have in common: mistakes in arguments, errors in words, help that is complete.
//!
//! In: the process's arguments, errors, a tree of commands. Out: parsed arguments, messages. Nothing is printed but what clap
//! says of a mistake; how results are told is each program's own.

mod causes;
mod help;
mod usage;

pub use causes::with_causes;
pub use help::help_faults;
pub use usage::{Mistake, parse, usage_message};
