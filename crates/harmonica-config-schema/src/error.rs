//! What can be wrong with a configuration, all of it at once.
//!
//! In: what layers, inspection and relations found. Out: one [`ConfigError`] whose text is a line a problem, `place: key:
//! what is wrong; what to do`, and their number. Invariant: a [`Problem`] says where, what, and what would be right.

use serde::{Deserialize, Serialize};
use std::fmt::{Display, Formatter, Result as Written};
use std::path::PathBuf;

/// Why a configuration was refused: every problem of every layer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub struct ConfigError {
    /// The problems, in the order of layers and lines; never empty.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// An error if there is any problem.
    pub(crate) fn unless_empty(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }
}

impl Display for ConfigError {
    fn fmt(&self, f: &mut Formatter<'_>) -> Written {
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        let n = self.problems.len();
        write!(f, "{n} problem{}", if n == 1 { "" } else { "s" })
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Place {
    /// No layer sets it.
    Default,
    /// A file that could not be read at all.
    WholeFile {
        /// The file.
        path: PathBuf,
    },
    /// A place in a TOML file.
    File {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// A `--set` argument.
    Override {
        /// The argument as typed.
        argument: String,
    },
    /// A configuration that was built in memory.
    Program,
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> Written {
        match self {
            Self::Default => f.write_str("default"),
            Self::WholeFile { path } => write!(f, "{}", path.display()),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Override { argument } => write!(f, "--set {argument}"),
            Self::Program => f.write_str("this run"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// Where it stands.
    pub place: Place,
    /// Dotted key, such as `training.ar.max_updates`; empty where a layer is not TOML.
    pub key: String,
    /// What is wrong.
    pub kind: ProblemKind,
}

/// What is wrong at a place.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProblemKind {
    /// The file cannot be read.
    Unreadable {
        /// What the file system said.
        reason: String,
    },
    /// The file holds bytes that are not UTF-8.
    NotUtf8,
    /// Not TOML.
    Syntax {
        /// What the parser said.
        message: String,
    },
    /// A key or a table stands twice in one layer.
    Duplicate,
    /// A `--set` argument is malformed.
    Override {
        /// What is wrong with it.
        reason: String,
    },
    /// No such key here.
    UnknownKey {
        /// Keys that it resembles.
        similar: Vec<String>,
        /// Tables that do have a key of this name.
        belongs: Vec<String>,
    },
    /// The key belongs to another kind of its table.
    OtherKind {
        /// The key that names the kind.
        tag: String,
        /// The kind in force.
        kind: String,
        /// Kinds that have this key.
        belongs: Vec<String>,
    },
    /// A value of another type.
    WrongType {
        /// What was found.
        found: String,
        /// What is expected.
        expected: String,
    },
    /// A value that is not allowed.
    OutOfRange {
        /// The value.
        value: String,
        /// What is allowed, with unit.
        allowed: String,
        /// A choice that it resembles.
        similar: Option<String>,
    },
    /// A value that does not fit the value of another key.
    Misfit {
        /// The value.
        value: String,
        /// What would fit.
        allowed: String,
        /// The key whose setting broke the fit, where it is not the key itself.
        because: Option<String>,
    },
    /// What the types refuse beyond all of the above, such as a missing key.
    Refused {
        /// What they said.
        reason: String,
    },
}

fn alternatives(items: &[String]) -> String {
    items.iter().map(|item| format!("`{item}`")).collect::<Vec<_>>().join(" or ")
}

impl Display for ProblemKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> Written {
        match self {
            Self::Unreadable { reason } => {
                write!(f, "cannot be read ({reason}); give an existing TOML file to --config")
            }
            Self::NotUtf8 => f.write_str("a byte that is not UTF-8; save the file as UTF-8"),
            Self::Syntax { message } => write!(f, "not TOML: {message}; correct the line"),
            Self::Duplicate => f.write_str("stands twice in this layer; keep one"),
            Self::Override { reason } => write!(f, "{reason}; write it as --set a.b=VALUE with a TOML value"),
            Self::UnknownKey { similar, belongs } => match (similar.as_slice(), belongs.as_slice()) {
                ([], []) => {
                    f.write_str("unknown key; delete it, `harmonica-lab config docs` lists every key")
                }
                (similar, []) => write!(f, "unknown key; did you mean {}?", alternatives(similar)),
                ([], belongs) => write!(f, "unknown key here; it belongs under {}", belongs.join(" or ")),
                (similar, belongs) => write!(
                    f,
                    "unknown key here; did you mean {}? A key of this name belongs under {}",
                    alternatives(similar),
                    belongs.join(" or ")
                ),
            },
            Self::OtherKind { tag, kind, belongs } => {
                write!(f, "no key of {tag} = \"{kind}\"; delete it or set {tag} to {}", alternatives(belongs))
            }
            Self::WrongType { found, expected } => write!(f, "found {found}; write {expected}"),
            Self::OutOfRange { value, allowed, similar: None } => {
                write!(f, "{value} is not allowed; write {allowed}")
            }
            Self::OutOfRange { value, allowed, similar: Some(similar) } => {
                write!(f, "{value} is not allowed; did you mean {similar}? Write {allowed}")
            }
            Self::Misfit { value, allowed, because: None } => {
                write!(f, "{value} does not fit other keys; write {allowed}")
            }
            Self::Misfit { value, allowed, because: Some(key) } => {
                write!(f, "its default {value} does not fit `{key}`, which is set here; write {allowed}")
            }
            Self::Refused { reason } => write!(f, "{reason}; `harmonica-lab config docs` lists every key"),
        }
    }
}

impl Problem {
    /// The problem without its place: `key: what is wrong; what to do`.
    pub fn message(&self) -> String {
        if self.key.is_empty() { self.kind.to_string() } else { format!("{}: {}", self.key, self.kind) }
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut Formatter<'_>) -> Written {
        write!(f, "{}: {}", self.place, self.message())
    }
}
