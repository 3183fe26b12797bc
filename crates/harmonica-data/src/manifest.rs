//! What a corpus holds: one row an utterance.
//!
//! Invariant: every audio path lies inside the corpus directory, ids are unique and safe as file names.

use crate::DataError;
use harmonica_config_schema::{CorpusLayout, Fingerprint};
use harmonica_storage::{is_plain_name, stays_inside};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

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
                _ if line.len() > MAX_LINE_BYTES => Err(format!(
                    "{} bytes, at most {MAX_LINE_BYTES} are one utterance; break the line",
                    line.len()
                )),
                CorpusLayout::Ljspeech => ljspeech_row(line),
                CorpusLayout::Manifest => json_row(line),
            };
            rows.push(i, row.map_err(|reason| rows.refuse(i, reason))?)?;
        }
        Ok(Self { root: root.to_owned(), utterances: rows.utterances })
    }

    /// The audio file of an utterance. Links that lead out of the corpus are followed only with `follow_links_outside`: a
    /// corpus from elsewhere must not make a program read other files.
    ///
    /// # Errors
    /// A file that is missing or leads out of the corpus.
    pub fn audio_path(
        &self,
        utterance: &Utterance,
        follow_links_outside: bool,
    ) -> Result<PathBuf, DataError> {
        let path = self.root.join(&utterance.audio);
        if !follow_links_outside {
            let real = |path: &Path| {
                path.canonicalize().map_err(|source| DataError::Read { path: path.to_owned(), source })
            };
            let target = real(&path)?;
            if !target.starts_with(real(&self.root)?) {
                return Err(DataError::OutsideCorpus { path, target });
            }
        }
        Ok(path)
    }

    /// Hash of every row; part of the cache fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.utterances)
    }
}

/// Longest line of a manifest; more is no utterance.
const MAX_LINE_BYTES: usize = 1 << 16;

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

fn checked(row: Utterance) -> Result<Utterance, String> {
    if !is_plain_name(&row.id) {
        let shown: String = row.id.chars().take(40).collect();
        return Err(format!("the id {shown:?} is not a plain name of letters, digits, `-`, `_`, `.`"));
    }
    if !stays_inside(&row.audio) {
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

    #[test]
    fn a_line_without_end_is_refused() {
        let text = format!(r#"{{"id": "a", "audio": "x.wav", "text": "{}"}}"#, "t".repeat(1 << 20));
        let error = Manifest::parse(Path::new("."), CorpusLayout::Manifest, &text).unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("65536"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn hostile_links_are_not_followed_unless_asked() {
        let dir = tempfile::tempdir().unwrap();
        let (corpus, wavs) = (dir.path().join("corpus"), dir.path().join("corpus/wavs"));
        std::fs::create_dir_all(&wavs).unwrap();
        std::fs::write(dir.path().join("secret.wav"), "").unwrap();
        std::fs::write(wavs.join("in.wav"), "").unwrap();
        for (to, name) in [("../../secret.wav", "out"), ("in.wav", "inner"), ("nowhere.wav", "broken")] {
            std::os::unix::fs::symlink(to, wavs.join(format!("{name}.wav"))).unwrap();
        }
        let manifest =
            Manifest::parse(&corpus, CorpusLayout::Ljspeech, "in|a|a\nout|a|a\ninner|a|a\nbroken|a|a\n")
                .unwrap();
        let open = |i: usize, follow: bool| manifest.audio_path(&manifest.utterances[i], follow);
        assert!(open(0, false).is_ok() && open(2, false).is_ok() && open(1, true).is_ok());
        let error = open(1, false).unwrap_err().to_string();
        for word in ["out.wav", "secret.wav", "follow_links_outside"] {
            assert!(error.contains(word), "{error}");
        }
        assert!(open(3, false).unwrap_err().to_string().contains("broken.wav"));
    }
}
