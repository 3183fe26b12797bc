//! The sentences of an evaluation, fixed and fingerprinted.

use crate::EvalError;
use harmonica_config_schema::Fingerprint;
use harmonica_storage::is_plain_name;
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

/// A waveform and what it should say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// Its path as written, relative to the table.
    pub audio: String,
    /// Its text.
    pub text: String,
}

/// Reads a table of recordings: lines of path, tab, text. `path` stands for the table in errors.
///
/// # Errors
/// A malformed line with its number.
pub fn parse_recordings(path: &Path, text: &str) -> Result<Vec<Recording>, EvalError> {
    let row = |(i, line): (usize, &str)| {
        let refuse =
            |reason: &str| EvalError::Suite { path: path.to_owned(), line: i + 1, reason: reason.to_owned() };
        let (audio, text) = line.split_once('\t').ok_or_else(|| refuse("there is no tab"))?;
        if audio.trim().is_empty() || text.trim().is_empty() {
            return Err(refuse("the path or the text is empty"));
        }
        Ok(Recording { audio: audio.to_owned(), text: text.to_owned() })
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(row).collect()
}

impl EvalSuite {
    /// Reads a suite: a sentence a line as JSON.
    ///
    /// # Errors
    /// A missing file, or a malformed line with its number.
    pub fn read(path: &Path) -> Result<Self, EvalError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| EvalError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// As [`EvalSuite::read`], of a suite's text; `path` names it.
    ///
    /// # Errors
    /// A malformed line with its number.
    pub fn parse(path: &Path, text: &str) -> Result<Self, EvalError> {
        let mut seen: BTreeSet<String> = BTreeSet::new();
        let sentences = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(i, line)| {
                let refuse = |reason: String| EvalError::Suite { path: path.to_owned(), line: i + 1, reason };
                let row: Sentence = serde_json::from_str(line).map_err(|e| refuse(e.to_string()))?;
                if !is_plain_name(&row.id) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_have_a_path_and_a_text() {
        let parse = |text: &str| parse_recordings(Path::new("table.tsv"), text);
        let rows = parse("a.wav\tone two\n\nb.wav\tthree\tfour\n").unwrap();
        assert_eq!((rows.len(), rows[1].audio.as_str(), rows[1].text.as_str()), (2, "b.wav", "three\tfour"));
        for line in ["b.wav one", "\tone", "b.wav\t ", " \tone"] {
            let error = parse(&format!("a.wav\tone\n{line}\n")).unwrap_err().to_string();
            assert!(error.contains("line 2"), "{line:?}: {error}");
        }
    }

    #[test]
    fn suites_with_a_doubled_or_hostile_id_are_refused_with_their_line() {
        for id in ["a", "../a", ".a", "", "a/b"] {
            let text = format!("{{\"id\": \"a\", \"text\": \"t\"}}\n{{\"id\": \"{id}\", \"text\": \"t\"}}\n");
            let error = EvalSuite::parse(Path::new("s.jsonl"), &text).unwrap_err().to_string();
            assert!(error.contains("line 2"), "{id:?}: {error}");
        }
    }
}
