//! The road end to end, in small.

mod bundle;
mod cache;
mod models;
mod resume;
