//! The road end to end, in small.

#[cfg(test)]
mod bundle;
#[cfg(test)]
mod cache;
#[cfg(test)]
mod models;
#[cfg(test)]
mod resume;
