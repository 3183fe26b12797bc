//! The sentences of an evaluation, fixed and fingerprinted.
//!
//! In: a suite, a sentence a line, and `fingerprints.json` beside it, if it is there; out: an [`EvalSuite`]. Invariant: what is read
//! is what was fingerprinted, its recordings too where the suite has their hashes.

use crate::EvalError;
use harmonica_config_schema::Fingerprint;
use harmonica_storage::{StorageError, is_plain_name, make_directory, publish};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The file beside suites that says what they were when they were fixed: names and fingerprints.
const FINGERPRINTS: &str = "fingerprints.json";

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
    /// Hash of the recording's file, where it is to stay the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_hash: Option<Fingerprint>,
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
/// A malformed line with its number; an empty table.
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
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let rows = lines.map(row).collect::<Result<Vec<_>, _>>()?;
    if rows.is_empty() {
        return Err(EvalError::Suite { path: path.to_owned(), line: 1, reason: "the table is empty".into() });
    }
    Ok(rows)
}

impl EvalSuite {
    /// Reads a suite: a sentence a line as JSON. One that `fingerprints.json` beside it knows as another one is refused, and so are
    /// recordings that are not those of its hashes.
    ///
    /// # Errors
    /// A missing file, a malformed line with its number, or a suite that changed since it was fixed.
    pub fn read(path: &Path) -> Result<Self, EvalError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| EvalError::Read { path: path.to_owned(), source })?;
        let suite = Self::parse(path, &text)?;
        let found = suite.fingerprint();
        match fixed(&suite.root)?.remove(&suite.name) {
            Some(wanted) if wanted != found => {
                return Err(EvalError::ChangedSuite { path: path.to_owned(), wanted, found });
            }
            _ => {}
        }
        for sentence in &suite.sentences {
            let (Some(audio), Some(wanted)) = (&sentence.audio, &sentence.audio_hash) else { continue };
            let path = suite.root.join(audio);
            let bytes =
                std::fs::read(&path).map_err(|source| EvalError::Read { path: path.clone(), source })?;
            let found = Fingerprint::of_bytes(&bytes);
            if found != *wanted {
                return Err(EvalError::ChangedSuite { path, wanted: wanted.clone(), found });
            }
        }
        Ok(suite)
    }

    /// Whether suites may be fixed in a directory: nothing was there under their names and those of their recordings, or the same. Their
    /// fingerprints.
    ///
    /// # Errors
    /// Other suites in that directory.
    pub fn may_be_fixed(dir: &Path, suites: &[Self]) -> Result<BTreeMap<String, Fingerprint>, EvalError> {
        let fingerprints: BTreeMap<String, Fingerprint> =
            suites.iter().map(|suite| (suite.name.clone(), suite.fingerprint())).collect();
        let there = fixed(dir)?;
        let differing: Vec<String> = if there.is_empty() {
            // Whoever fixed some of them and was stopped left the same ones.
            suites
                .iter()
                .flat_map(|suite| suite.others_at(dir))
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect()
        } else {
            let names = there.keys().chain(fingerprints.keys()).collect::<BTreeSet<_>>();
            names.into_iter().filter(|name| there.get(*name) != fingerprints.get(*name)).cloned().collect()
        };
        if !differing.is_empty() {
            return Err(EvalError::FixedSuites { path: dir.to_owned(), differing });
        }
        Ok(fingerprints)
    }

    /// Names of what stands in a directory in the place of this suite and its recordings, and is another one.
    fn others_at(&self, dir: &Path) -> Vec<String> {
        let is_another = |path: &Path, is_same: &dyn Fn(&[u8]) -> bool| match std::fs::read(path) {
            Ok(bytes) => !is_same(&bytes),
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        };
        let path = dir.join(format!("{}.jsonl", self.name));
        let is_self = |bytes: &[u8]| {
            let suite = std::str::from_utf8(bytes).ok().and_then(|text| Self::parse(&path, text).ok());
            suite.is_some_and(|suite| suite.fingerprint() == self.fingerprint())
        };
        let mut others = Vec::new();
        if is_another(&path, &is_self) {
            others.push(self.name.clone());
        }
        for sentence in &self.sentences {
            let (Some(audio), Some(wanted)) = (&sentence.audio, &sentence.audio_hash) else { continue };
            if is_another(&dir.join(audio), &|bytes| Fingerprint::of_bytes(bytes) == *wanted) {
                others.push(audio.display().to_string());
            }
        }
        others
    }

    /// Fixes suites in a directory: `NAME.jsonl` of each, and `fingerprints.json` last. A directory that holds the same suites is left
    /// as it is.
    ///
    /// # Errors
    /// A directory that cannot be written to, or in which other suites were fixed.
    pub fn fix(dir: &Path, suites: &[Self]) -> Result<BTreeMap<String, Fingerprint>, EvalError> {
        let fingerprints = Self::may_be_fixed(dir, suites)?;
        make_directory(dir)?;
        let unspelled = |path: &Path, e: serde_json::Error| StorageError::encode(path, e);
        for suite in suites {
            let path = dir.join(format!("{}.jsonl", suite.name));
            let mut lines = String::new();
            for sentence in &suite.sentences {
                lines.push_str(&serde_json::to_string(sentence).map_err(|e| unspelled(&path, e))?);
                lines.push('\n');
            }
            publish(&path, lines.as_bytes())?;
        }
        let path = dir.join(FINGERPRINTS);
        let mut table = serde_json::to_string_pretty(&fingerprints).map_err(|e| unspelled(&path, e))?;
        table.push('\n');
        publish(&path, table.as_bytes())?;
        Ok(fingerprints)
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

/// Suites that were fixed in a directory; none where nothing says so.
fn fixed(dir: &Path) -> Result<BTreeMap<String, Fingerprint>, EvalError> {
    let path = dir.join(FINGERPRINTS);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(source) => return Err(EvalError::Read { path, source }),
    };
    serde_json::from_str(&text).map_err(|e| EvalError::Fingerprints { path, reason: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite(dir: &Path, name: &str, texts: &[&str]) -> EvalSuite {
        let sentence = |(i, text): (usize, &&str)| Sentence {
            id: format!("{name}-{i}"),
            text: (*text).to_owned(),
            speaker: "ann".into(),
            audio: None,
            audio_hash: None,
        };
        let sentences = texts.iter().enumerate().map(sentence).collect();
        EvalSuite { name: name.into(), root: dir.to_owned(), sentences }
    }

    #[test]
    fn a_fixed_suite_is_read_back_and_a_changed_one_refused_with_both_fingerprints() {
        let dir = tempfile::tempdir().unwrap();
        let written = suite(dir.path(), "short", &["one", "two"]);
        let fingerprints = EvalSuite::fix(dir.path(), std::slice::from_ref(&written)).unwrap();
        let path = dir.path().join("short.jsonl");
        assert_eq!(EvalSuite::read(&path).unwrap(), written);
        let whole = std::fs::read_to_string(&path).unwrap();
        let fewer: String = whole.lines().take(1).map(|line| format!("{line}\n")).collect();
        for changed in [whole.replace("two", "too"), fewer, whole.replace("ann", "bob")] {
            std::fs::write(&path, changed).unwrap();
            let error = EvalSuite::read(&path).unwrap_err().to_string();
            assert!(
                error.contains(fingerprints["short"].as_str()) && error.contains("short.jsonl"),
                "{error}"
            );
        }
        // Another spelling of the same sentences is the same suite.
        std::fs::write(&path, whole.replace("\",", "\" ,").replace('\n', "\n\n")).unwrap();
        assert_eq!(EvalSuite::read(&path).unwrap(), written);
    }

    #[test]
    fn a_changed_recording_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let recording = dir.path().join("a.wav");
        std::fs::write(&recording, "sound").unwrap();
        let mut written = suite(dir.path(), "short", &["one"]);
        written.sentences[0].audio = Some("a.wav".into());
        written.sentences[0].audio_hash = Some(Fingerprint::of_bytes(b"sound"));
        EvalSuite::fix(dir.path(), std::slice::from_ref(&written)).unwrap();
        assert_eq!(EvalSuite::read(&dir.path().join("short.jsonl")).unwrap(), written);
        std::fs::write(&recording, "noise").unwrap();
        let error = EvalSuite::read(&dir.path().join("short.jsonl")).unwrap_err();
        assert!(matches!(&error, EvalError::ChangedSuite { path, .. } if *path == recording), "{error}");
    }

    #[test]
    fn suites_are_fixed_once_and_never_replaced_by_others() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b] = [suite(dir.path(), "a", &["one"]), suite(dir.path(), "b", &["two"])];
        EvalSuite::fix(dir.path(), &[a.clone(), b.clone()]).unwrap();
        EvalSuite::fix(dir.path(), &[a.clone(), b.clone()]).unwrap();
        let mut other = b;
        other.sentences[0].text = "three".into();
        let error = EvalSuite::fix(dir.path(), &[a, other]).unwrap_err();
        assert!(matches!(&error, EvalError::FixedSuites { differing, .. } if *differing == ["b"]), "{error}");
    }

    #[test]
    fn what_stands_in_a_directory_without_fingerprints_is_gone_on_with_or_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b] = [suite(dir.path(), "a", &["one"]), suite(dir.path(), "b", &["two"])];
        EvalSuite::fix(dir.path(), &[a.clone(), b.clone()]).unwrap();
        std::fs::write(dir.path().join(FINGERPRINTS), "{").unwrap();
        let error = EvalSuite::read(&dir.path().join("a.jsonl")).unwrap_err();
        assert!(matches!(&error, EvalError::Fingerprints { .. }), "{error}");
        // As if it had been stopped between two files.
        std::fs::remove_file(dir.path().join(FINGERPRINTS)).unwrap();
        std::fs::remove_file(dir.path().join("b.jsonl")).unwrap();
        EvalSuite::fix(dir.path(), &[a.clone(), b.clone()]).unwrap();
        std::fs::remove_file(dir.path().join(FINGERPRINTS)).unwrap();
        std::fs::write(dir.path().join("b.jsonl"), "somebody's own").unwrap();
        let error = EvalSuite::fix(dir.path(), &[a, b]).unwrap_err();
        assert!(matches!(&error, EvalError::FixedSuites { differing, .. } if *differing == ["b"]), "{error}");
        assert_eq!(std::fs::read_to_string(dir.path().join("b.jsonl")).unwrap(), "somebody's own");
    }

    #[test]
    fn recordings_have_a_path_and_a_text() {
        let parse = |text: &str| parse_recordings(Path::new("table.tsv"), text);
        let rows = parse("a.wav\tone two\n\nb.wav\tthree\tfour\n").unwrap();
        assert_eq!((rows.len(), rows[1].audio.as_str(), rows[1].text.as_str()), (2, "b.wav", "three\tfour"));
        assert!(parse("\n").unwrap_err().to_string().contains("empty"));
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
