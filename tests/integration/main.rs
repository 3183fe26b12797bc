//! The road end to end, in small.

#![cfg(test)]

mod baselines;
mod bundle;
mod cache;
mod checkpoints;
mod control;
mod crashes;
mod damage;
mod decoding;
mod disk;
mod errors;
mod faults;
mod models;
mod planted_failures;
mod poison;
mod preprocessing;
mod replay;
mod resume;
mod runs;
mod struck;
mod voices;
mod watching;
