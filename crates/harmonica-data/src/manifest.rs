//! What a corpus holds: one row an utterance.
//!
//! In: corpora on disk, read by their layouts; out: [`Utterance`]s, and what was skipped and why.
//! Invariant: every audio path lies inside the corpus directory, ids are unique and safe as file names.

use crate::{DataError, layouts};
use harmonica_audio::{Waveform, load_bytes};
use harmonica_config_schema::{CorpusLayout, DataConfig, Fingerprint};
use harmonica_storage::{is_plain_name, stays_inside};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
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

    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Train, Self::Valid, Self::Test].into_iter().find(|s| s.name() == name)
    }
}

/// A part of an audio file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// Where it begins, in seconds.
    pub start_s: f64,
    /// How long it is, in seconds.
    pub duration_s: f64,
}

/// One row of a corpus.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Utterance {
    /// Unique name.
    pub id: String,
    /// Name of its corpus; empty where there is only one.
    pub corpus: String,
    /// Audio file, relative to the corpus.
    pub audio: PathBuf,
    /// Row of the table that it is embedded in, counted from 0, where its file is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<u64>,
    /// Which part of the file it is, where it is not all of it.
    pub segment: Option<Segment>,
    /// Transcript as written.
    pub text: String,
    /// Who speaks.
    pub speaker: String,
    /// Split, where the corpus names one.
    pub split: Option<Split>,
}

impl Utterance {
    /// Where its audio is, for messages.
    pub(crate) fn place(&self) -> String {
        let file = self.audio.display().to_string();
        self.row.map_or(file.clone(), |row| format!("{file} row {row}"))
    }

    /// Its part of the waveform of its file.
    pub(crate) fn cut(&self, waveform: Waveform) -> Waveform {
        let Some(Segment { start_s, duration_s }) = self.segment else { return waveform };
        let at = |s: f64| (s * f64::from(waveform.sample_rate_hz())).round() as usize;
        waveform.slice(at(start_s), at(start_s + duration_s))
    }
}

/// What an importer could make no utterance of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SkippedRow {
    /// What it is called, as far as that is known.
    pub id: String,
    /// Why it was skipped, as a short name such as `missing_text`.
    pub reason: &'static str,
    /// What is wrong, in words.
    pub detail: String,
}

/// One corpus or several.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Manifest {
    /// Corpus directories by name; the only one has the empty name.
    pub roots: BTreeMap<String, PathBuf>,
    /// Rows in the order of the corpora and their manifests.
    pub utterances: Vec<Utterance>,
    /// Rows that are no utterances.
    pub skipped: Vec<SkippedRow>,
}

impl Manifest {
    /// Reads the corpus, or all corpora, of a configuration. Names of several corpora go before ids and speakers.
    ///
    /// # Errors
    /// A corpus that cannot be read as its layout says.
    pub fn of(config: &DataConfig) -> Result<Self, DataError> {
        if config.corpora.is_empty() {
            return Self::read(Path::new(&config.corpus_dir), config.layout, config.follow_links_outside);
        }
        let mut all = Self::default();
        for (name, corpus) in &config.corpora {
            let one = Self::read(Path::new(&corpus.dir), corpus.layout, config.follow_links_outside)?;
            all.roots.insert(name.clone(), PathBuf::from(&corpus.dir));
            all.utterances.extend(one.utterances.into_iter().map(|utterance| Utterance {
                id: format!("{name}-{}", utterance.id),
                speaker: format!("{name}-{}", utterance.speaker),
                corpus: name.clone(),
                ..utterance
            }));
            all.skipped.extend(
                one.skipped.into_iter().map(|row| SkippedRow { id: format!("{name}-{}", row.id), ..row }),
            );
        }
        Ok(all)
    }

    /// Reads one corpus. Tables with audio in them that are links out of it are read only with `follow_links_outside`, as audio is.
    ///
    /// # Errors
    /// A corpus that cannot be read as its layout says, or a malformed line with its number.
    pub fn read(root: &Path, layout: CorpusLayout, follow_links_outside: bool) -> Result<Self, DataError> {
        let found = layouts::read(root, layout, follow_links_outside)?;
        Ok(Self { roots: BTreeMap::from([(String::new(), root.to_owned())]), ..found })
    }

    /// As [`Manifest::read`], of a manifest's text, for the layouts that have only one.
    ///
    /// # Errors
    /// A malformed line with its number.
    pub fn parse(root: &Path, layout: CorpusLayout, text: &str) -> Result<Self, DataError> {
        let found = layouts::parse(root, layout, text)?;
        Ok(Self { roots: BTreeMap::from([(String::new(), root.to_owned())]), ..found })
    }

    /// Names of the corpora, in order.
    pub fn corpora(&self) -> Vec<String> {
        self.roots.keys().cloned().collect()
    }

    /// Where the corpus is, for messages.
    pub(crate) fn place(&self) -> PathBuf {
        self.roots.values().next().cloned().unwrap_or_default()
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
        let root = self.roots.get(&utterance.corpus).map_or(Path::new(""), PathBuf::as_path);
        let path = root.join(&utterance.audio);
        if !follow_links_outside {
            let real = |path: &Path| {
                path.canonicalize().map_err(|source| DataError::Read { path: path.to_owned(), source })
            };
            let target = real(&path)?;
            if !target.starts_with(real(root)?) {
                return Err(DataError::OutsideCorpus { path, target });
            }
        }
        Ok(path)
    }

    /// The bytes of the audio file of an utterance, or of its row of a table; where it is a segment, those of the whole file.
    ///
    /// # Errors
    /// As [`Self::audio_path`], and a table that cannot be read.
    pub fn audio_bytes(
        &self,
        utterance: &Utterance,
        follow_links_outside: bool,
    ) -> Result<Vec<u8>, DataError> {
        let path = self.audio_path(utterance, follow_links_outside)?;
        match utterance.row {
            None => Ok(harmonica_audio::read(&path)?),
            Some(row) => layouts::embedded(&path, row),
        }
    }

    /// What an utterance sounds like, without any conditioning.
    ///
    /// # Errors
    /// As [`Self::audio_path`], and audio that cannot be decoded.
    pub fn waveform(&self, utterance: &Utterance, follow_links_outside: bool) -> Result<Waveform, DataError> {
        let bytes = self.audio_bytes(utterance, follow_links_outside)?;
        let whole = load_bytes(&bytes, &utterance.place())?;
        Ok(utterance.cut(whole))
    }

    /// Hash of every row; part of the cache fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_lists(&self.utterances, &self.skipped)
    }
}

/// Longest line of a manifest; more is no utterance.
pub(crate) const MAX_LINE_BYTES: usize = 1 << 16;

/// Rows of a table that were found right so far.
pub(crate) struct Rows<'a> {
    path: &'a Path,
    ids: BTreeSet<String>,
    utterances: Vec<Utterance>,
    skipped: Vec<SkippedRow>,
}

impl<'a> Rows<'a> {
    /// No rows yet of the table at a path.
    pub(crate) fn new(path: &'a Path) -> Self {
        Self { path, ids: BTreeSet::new(), utterances: Vec::new(), skipped: Vec::new() }
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

    /// Takes a row if its names are safe and its id is new; else it counts as skipped. For layouts that are found on disk rather
    /// than written down in one file.
    pub(crate) fn push_or_skip(&mut self, row: Utterance) {
        let id = row.id.chars().take(80).collect::<String>();
        match checked(row) {
            Err(detail) => self.skip(id, "unsafe_name", detail),
            Ok(row) if self.ids.contains(&row.id) => {
                self.skip(id, "duplicate_id", "the id occurs twice; ids must be unique".into());
            }
            Ok(row) => {
                self.ids.insert(row.id.clone());
                self.utterances.push(row);
            }
        }
    }

    /// Counts what is no utterance.
    pub(crate) fn skip(&mut self, id: String, reason: &'static str, detail: String) {
        self.skipped.push(SkippedRow { id, reason, detail });
    }

    /// Everything that was taken and skipped.
    pub(crate) fn into_manifest(self) -> Manifest {
        Manifest { utterances: self.utterances, skipped: self.skipped, ..Manifest::default() }
    }

    /// What is wrong with line `i`, counted from 0.
    pub(crate) fn refuse(&self, i: usize, reason: String) -> DataError {
        DataError::Manifest { path: self.path.to_owned(), line: i + 1, reason }
    }
}

fn checked(row: Utterance) -> Result<Utterance, String> {
    if !is_plain_name(&row.id) {
        let shown: String = row.id.chars().take(40).collect();
        return Err(format!("the id {shown:?} is not a plain name of letters, digits, `-`, `_`, `.`"));
    }
    if let Some(Segment { start_s, duration_s }) = row.segment
        && !(start_s >= 0.0 && duration_s > 0.0 && (start_s + duration_s).is_finite())
    {
        return Err(format!("a segment of {duration_s} s at {start_s} s is none"));
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
