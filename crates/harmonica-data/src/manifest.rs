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
        let name = match layout {
            CorpusLayout::Ljspeech => "metadata.csv",
            CorpusLayout::Manifest => "manifest.jsonl",
        };
        let path = root.join(name);
        let text = std::fs::read_to_string(&path)
            .map_err(|source| DataError::Read { path: path.clone(), source })?;
        let mut ids = BTreeSet::new();
        let mut utterances = Vec::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let refuse =
                |reason: String| DataError::Manifest { path: path.clone(), line: number + 1, reason };
            let row = match layout {
                CorpusLayout::Ljspeech => ljspeech_row(line),
                CorpusLayout::Manifest => json_row(line),
            }
            .and_then(checked)
            .map_err(refuse)?;
            if !ids.insert(row.id.clone()) {
                return Err(refuse(format!("the id `{}` occurs twice; ids must be unique", row.id)));
            }
            utterances.push(row);
        }
        Ok(Self { root: root.to_owned(), utterances })
    }

    /// Hash of every row; part of the cache fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.utterances)
    }
}

/// `id|raw|normalized[|speaker[|split]]`: LJSpeech's own columns, quotes are ordinary characters.
fn ljspeech_row(line: &str) -> Result<Utterance, String> {
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

fn checked(row: Utterance) -> Result<Utterance, String> {
    let safe = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if row.id.is_empty() || row.id.len() > 200 || !row.id.chars().all(safe) || row.id.starts_with('.') {
        let shown: String = row.id.chars().take(40).collect();
        return Err(format!("the id {shown:?} is not a plain name of letters, digits, `-`, `_`, `.`"));
    }
    if !row.audio.components().all(|c| matches!(c, Component::Normal(_))) {
        return Err(format!("the audio path `{}` leaves the corpus directory", row.audio.display()));
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str, layout: CorpusLayout) -> Result<Manifest, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(name), text).unwrap();
        Manifest::read(dir.path(), layout).map_err(|e| e.to_string())
    }

    #[test]
    fn ljspeech_and_jsonl_rows_are_read() {
        let lj = read("metadata.csv", "a-1|\"Dr.\" X|doctor x\nb|hello||slt|test\n", CorpusLayout::Ljspeech)
            .unwrap();
        assert_eq!((lj.utterances[0].text.as_str(), lj.utterances[1].text.as_str()), ("doctor x", "hello"));
        assert_eq!((lj.utterances[1].speaker.as_str(), lj.utterances[1].split), ("slt", Some(Split::Test)));
        let json = r#"{"id": "u1", "audio": "x/u1.flac", "text": "hi"}"#;
        let jsonl = read("manifest.jsonl", json, CorpusLayout::Manifest).unwrap();
        assert_eq!(jsonl.utterances[0].audio, Path::new("x/u1.flac"));
    }

    #[test]
    fn hostile_and_malformed_rows_are_refused_with_their_line() {
        for (line, word) in [
            (r#"{"id": "u", "audio": "../x.wav", "text": "t"}"#, "leaves"),
            (r#"{"id": "u", "audio": "/etc/x.wav", "text": "t"}"#, "leaves"),
            (r#"{"id": "a/b", "audio": "x.wav", "text": "t"}"#, "plain name"),
            (r#"{"id": "u", "audio": "x.wav", "text": "t", "spk": 1}"#, "spk"),
            (r#"{"id": "ok", "audio": "x.wav", "text": "t"}"#, "twice"),
        ] {
            let text = format!("{}\n{line}\n", r#"{"id": "ok", "audio": "x.wav", "text": "t"}"#);
            let error = read("manifest.jsonl", &text, CorpusLayout::Manifest).unwrap_err();
            assert!(error.contains("line 2") && error.contains(word), "{error}");
        }
    }
}
