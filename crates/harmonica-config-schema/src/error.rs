//! What can be wrong with a configuration, all of it at once.

use std::fmt::Display;
use std::path::PathBuf;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A layer could not be read.
    #[error("cannot read config `{}`; give an existing TOML file to --config", path.display())]
    Read {
        /// The file asked for.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: std::io::Error,
    },
    /// A layer is not TOML.
    #[error("config `{}` is not valid TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What the parser said, with line and column.
        message: String,
    },
    /// A `--set` argument is malformed.
    #[error("cannot understand `--set {argument}`: {reason}; write it as --set a.b=VALUE with a TOML value")]
    Override {
        /// The argument as typed.
        argument: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A key is unknown or its value has the wrong type.
    #[error("{message}; `harmonica-lab config show` lists every key with its default")]
    Schema {
        /// The offending key, its layer and what was expected.
        message: String,
    },
    /// Values out of their range.
    #[error("{} invalid value{}:{}", problems.len(), if problems.len() == 1 { "" } else { "s" }, list(problems))]
    Invalid {
        /// Every problem found.
        problems: Vec<Problem>,
    },
}

/// One value that is out of range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Dotted key, such as `training.ar.max_updates`.
    pub key: String,
    /// The value given.
    pub value: String,
    /// What is allowed, with unit.
    pub allowed: String,
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(|p| format!("\n  {} = {} must be {}", p.key, p.value, p.allowed)).collect()
}

/// Collects problems so that all of them are reported together.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) problems: Vec<Problem>,
}

impl Checks {
    pub(crate) fn require(&mut self, holds: bool, key: String, value: impl Display, allowed: &str) {
        if !holds {
            self.problems.push(Problem { key, value: value.to_string(), allowed: allowed.to_owned() });
        }
    }

    /// Requires `low <= value <= high`; `unit` ends the sentence.
    pub(crate) fn range<T: PartialOrd + Display>(
        &mut self,
        key: String,
        value: T,
        low: T,
        high: T,
        unit: &str,
    ) {
        let allowed = format!("from {low} to {high} {unit}");
        self.require(value >= low && value <= high, key, value, allowed.trim_end());
    }
}
