//! What a corpus holds: one row an utterance.
//!
//! Invariant: every audio path lies inside the corpus directory, ids are unique and safe as file names.

use crate::DataError;
use harmonica_config_schema::{CorpusLayout, Fingerprint};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// Which part of an experiment may see an utterance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Seen in training.
    Train,
    /// Judged while training, to choose checkpoints and settings.
    Valid,
    /// Judged once, at the end.
    Test,
}

impl Split {
    /// The name in manifests and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Valid => "valid",
            Self::Test => "test",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Train, Self::Valid, Self::Test].into_iter().find(|s| s.name() == name)
    }
}

/// One row of a corpus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Utterance {
    /// Unique name.
    pub id: String,
    /// Audio file, relative to the corpus.
    pub audio: PathBuf,
    /// Transcript as written.
    pub text: String,
    /// Who speaks.
    pub speaker: String,
    /// Split, where the corpus names one.
    pub split: Option<Split>,
}

/// A corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Corpus directory.
    pub root: PathBuf,
    /// Rows in the order of the manifest.
    pub utterances: Vec<Utterance>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonRow {
    id: String,
    audio: String,
    text: String,
    #[serde(default = "single_speaker")]
    speaker: String,
    split: Option<Split>,
}

fn single_speaker() -> String {
    "speaker".to_owned()
}

impl Manifest {
    /// Reads the manifest of a corpus.
    ///
    /// # Errors
    /// A missing manifest, or a malformed line with its number.
    pub fn read(root: &Path, layout: CorpusLayout) -> Result<Self, DataError> {
        let path = path_in(root, layout);
        let text = std::fs::read_to_string(&path).map_err(|source| DataError::Read { path, source })?;
        Self::parse(root, layout, &text)
    }

    /// As [`Manifest::read`], of a manifest's text.
    ///
    /// # Errors
    /// A malformed line with its number.
    pub fn parse(root: &Path, layout: CorpusLayout, text: &str) -> Result<Self, DataError> {
        let path = path_in(root, layout);
        let mut rows = Rows::new(&path);
        for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let row = match layout {
                CorpusLayout::Ljspeech => ljspeech_row(line),
                CorpusLayout::Manifest => json_row(line),
            };
            rows.push(i, row.map_err(|reason| rows.refuse(i, reason))?)?;
        }
        Ok(Self { root: root.to_owned(), utterances: rows.utterances })
    }

    /// Hash of every row; part of the cache fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.utterances)
    }
}

/// Rows of a table that were found right so far.
pub(crate) struct Rows<'a> {
    path: &'a Path,
    ids: BTreeSet<String>,
    utterances: Vec<Utterance>,
}

impl<'a> Rows<'a> {
    /// No rows yet of the table at a path.
    pub(crate) fn new(path: &'a Path) -> Self {
        Self { path, ids: BTreeSet::new(), utterances: Vec::new() }
    }

    /// Takes a row from line `i`, counted from 0, if its names are safe and its id is new.
    pub(crate) fn push(&mut self, i: usize, row: Utterance) -> Result<(), DataError> {
        let row = checked(row).map_err(|reason| self.refuse(i, reason))?;
        if !self.ids.insert(row.id.clone()) {
            return Err(self.refuse(i, format!("the id `{}` occurs twice; ids must be unique", row.id)));
        }
        self.utterances.push(row);
        Ok(())
    }

    /// What is wrong with line `i`, counted from 0.
    pub(crate) fn refuse(&self, i: usize, reason: String) -> DataError {
        DataError::Manifest { path: self.path.to_owned(), line: i + 1, reason }
    }
}

fn path_in(root: &Path, layout: CorpusLayout) -> PathBuf {
    root.join(match layout {
        CorpusLayout::Ljspeech => "metadata.csv",
        CorpusLayout::Manifest => "manifest.jsonl",
    })
}

/// `id|raw|normalized[|speaker[|split]]`: LJSpeech's own columns, quotes are ordinary characters.
pub(crate) fn ljspeech_row(line: &str) -> Result<Utterance, String> {
    let columns: Vec<&str> = line.split('|').map(str::trim).collect();
    if !(2..=5).contains(&columns.len()) {
        return Err(format!("{} columns, expected id|text|normalized[|speaker[|split]]", columns.len()));
    }
    let split = match columns.get(4) {
        None => None,
        Some(name) => {
            Some(Split::parse(name).ok_or_else(|| format!("split {name:?} is not train, valid or test"))?)
        }
    };
    let text = columns.get(2).filter(|t| !t.is_empty()).unwrap_or(&columns[1]);
    Ok(Utterance {
        id: columns[0].to_owned(),
        audio: Path::new("wavs").join(format!("{}.wav", columns[0])),
        text: (*text).to_owned(),
        speaker: columns.get(3).filter(|s| !s.is_empty()).map_or_else(single_speaker, |s| (*s).to_owned()),
        split,
    })
}

/// The line that [`ljspeech_row`] reads as this utterance.
pub(crate) fn ljspeech_line(utterance: &Utterance) -> String {
    let Utterance { id, text, speaker, split, .. } = utterance;
    let split = split.map_or_else(String::new, |split| format!("|{}", split.name()));
    format!("{id}|{text}|{text}|{speaker}{split}\n")
}

fn json_row(line: &str) -> Result<Utterance, String> {
    let row: JsonRow = serde_json::from_str(line).map_err(|e| e.to_string())?;
    Ok(Utterance {
        id: row.id,
        audio: row.audio.into(),
        text: row.text,
        speaker: row.speaker,
        split: row.split,
    })
}

/// Whether a relative path names something in its directory.
pub(crate) fn is_inside(path: &Path) -> bool {
    path.file_name().is_some() && path.components().all(|c| matches!(c, Component::Normal(_)))
}

fn checked(row: Utterance) -> Result<Utterance, String> {
    let safe = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if row.id.is_empty() || row.id.len() > 200 || !row.id.chars().all(safe) || row.id.starts_with('.') {
        let shown: String = row.id.chars().take(40).collect();
        return Err(format!("the id {shown:?} is not a plain name of letters, digits, `-`, `_`, `.`"));
    }
    if !is_inside(&row.audio) {
        return Err(format!("the audio path `{}` leaves the corpus directory", row.audio.display()));
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(layout: CorpusLayout, text: &str) -> Result<Manifest, String> {
        Manifest::parse(Path::new("corpus"), layout, text).map_err(|e| e.to_string())
    }

    #[test]
    fn ljspeech_and_jsonl_rows_are_read() {
        let lj = parse(CorpusLayout::Ljspeech, "a-1|\"Dr.\" X|doctor x\nb|hello||slt|test\n").unwrap();
        assert_eq!((lj.utterances[0].text.as_str(), lj.utterances[1].text.as_str()), ("doctor x", "hello"));
        assert_eq!((lj.utterances[1].speaker.as_str(), lj.utterances[1].split), ("slt", Some(Split::Test)));
        let json = r#"{"id": "u1", "audio": "x/u1.flac", "text": "hi"}"#;
        let jsonl = parse(CorpusLayout::Manifest, json).unwrap();
        assert_eq!(jsonl.utterances[0].audio, Path::new("x/u1.flac"));
    }

    #[test]
    fn hostile_and_malformed_rows_are_refused_with_their_line() {
        for (line, word) in [
            (r#"{"id": "u", "audio": "../x.wav", "text": "t"}"#, "leaves"),
            (r#"{"id": "u", "audio": "/etc/x.wav", "text": "t"}"#, "leaves"),
            (r#"{"id": "u", "audio": "", "text": "t"}"#, "leaves"),
            (r#"{"id": "a/b", "audio": "x.wav", "text": "t"}"#, "plain name"),
            (r#"{"id": "u", "audio": "x.wav", "text": "t", "spk": 1}"#, "spk"),
            (r#"{"id": "ok", "audio": "x.wav", "text": "t"}"#, "twice"),
        ] {
            let text = format!("{}\n{line}\n", r#"{"id": "ok", "audio": "x.wav", "text": "t"}"#);
            let error = parse(CorpusLayout::Manifest, &text).unwrap_err();
            assert!(error.contains("line 2") && error.contains(word), "{error}");
        }
    }
}
