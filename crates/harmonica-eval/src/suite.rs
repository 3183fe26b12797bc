//! The sentences of an evaluation, fixed and fingerprinted.

use crate::EvalError;
use harmonica_config_schema::Fingerprint;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One sentence to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sentence {
    /// Unique name; names the files.
    pub id: String,
    /// What to say.
    pub text: String,
    /// Voice.
    #[serde(default)]
    pub speaker: String,
    /// Natural recording of it, relative to the suite.
    #[serde(default)]
    pub audio: Option<PathBuf>,
}

/// Sentences of an evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvalSuite {
    /// Name in reports.
    pub name: String,
    /// Directory that recordings are relative to.
    pub root: PathBuf,
    /// The sentences.
    pub sentences: Vec<Sentence>,
}

impl EvalSuite {
    /// Reads a suite: a sentence a line as JSON.
    ///
    /// # Errors
    /// A missing file, or a malformed line with its number.
    pub fn read(path: &Path) -> Result<Self, EvalError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| EvalError::Read { path: path.to_owned(), source })?;
        let mut seen: BTreeSet<String> = BTreeSet::new();
        let sentences = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(i, line)| {
                let refuse = |reason: String| EvalError::Suite { path: path.to_owned(), line: i + 1, reason };
                let row: Sentence = serde_json::from_str(line).map_err(|e| refuse(e.to_string()))?;
                let safe = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
                if row.id.is_empty() || row.id.starts_with('.') || !row.id.chars().all(safe) {
                    return Err(refuse(format!("the id {:?} is no plain file name", row.id)));
                }
                if !seen.insert(row.id.clone()) {
                    return Err(refuse(format!("the id `{}` occurs twice", row.id)));
                }
                Ok(row)
            })
            .collect::<Result<Vec<Sentence>, _>>()?;
        if sentences.is_empty() {
            return Err(EvalError::Suite {
                path: path.to_owned(),
                line: 1,
                reason: "the suite is empty".into(),
            });
        }
        Ok(Self {
            name: path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned()),
            root: path.parent().unwrap_or(Path::new(".")).to_owned(),
            sentences,
        })
    }

    /// Fingerprint of the sentences.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.sentences)
    }
}
