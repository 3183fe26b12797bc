//! One file a command.

pub(crate) mod bundle;
pub(crate) mod checkpoint;
pub(crate) mod codec;
pub(crate) mod config;
pub(crate) mod data;
pub(crate) mod diagnose;
pub(crate) mod doctor;
pub(crate) mod evaluate;
pub(crate) mod gate;
pub(crate) mod judge;
mod judges;
pub(crate) mod preprocess;
pub(crate) mod prove_resume;
pub(crate) mod report;
pub(crate) mod runs;
pub(crate) mod slices;
pub(crate) mod train;
