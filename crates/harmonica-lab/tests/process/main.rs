//! The program as other programs call it: a process, its exit code, its output.

#[cfg(test)]
mod bundles;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod program;
