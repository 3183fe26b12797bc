//! Arithmetic on slices that the models and the codecs both do: products of matrices, and the exponential function in a form that
//! vectorises.
//!
//! Invariant: the same operands give the same bits, whatever the number of threads. The one place with `unsafe` for arithmetic.

mod exponential;
mod matrix;

pub use exponential::{Exponential, exp};
pub use matrix::{View, multiply};
