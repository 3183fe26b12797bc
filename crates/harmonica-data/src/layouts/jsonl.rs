//! Manifests that other toolkits write, an object a line: NeMo and Lhotse.
//!
//! In: the lines; out: utterances, possibly several of one recording. Invariant: only what an utterance needs is read, other keys
//! are passed over; a path that leads out of the corpus is counted, never opened.

use super::lines::{Line, Lines};
use crate::DataError;
use crate::manifest::{Manifest, Rows, Segment, Utterance};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Segments that leave less than this of a recording are the whole of it, in seconds.
const WHOLE_S: f64 = 0.002;

#[derive(Deserialize)]
struct NemoRow {
    audio_filepath: String,
    text: Option<String>,
    duration: Option<f64>,
    offset: Option<f64>,
    speaker: Option<Name>,
}

/// A name that some write as a number.
#[derive(Deserialize)]
#[serde(from = "serde_json::Value")]
struct Name(String);

impl From<serde_json::Value> for Name {
    fn from(value: serde_json::Value) -> Self {
        Self(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }
}

/// The first of some files that is there; the first one where none is.
fn first_of(root: &Path, names: &[&str]) -> PathBuf {
    let paths: Vec<PathBuf> = names.iter().map(|name| root.join(name)).collect();
    paths.iter().find(|path| path.exists()).or(paths.first()).cloned().unwrap_or_default()
}

/// The path of an audio file in the corpus; absolute ones may lead there too.
fn inside(root: &Path, path: &str) -> Result<PathBuf, (&'static str, String)> {
    let outside = || ("outside_corpus", format!("`{}` leads out of the corpus", clip(path)));
    let path = Path::new(path);
    if !path.is_absolute() {
        // Names that lead up are found by the checks on every row.
        return Ok(path.to_owned());
    }
    let absolute = std::path::absolute(root).map_err(|_| outside())?;
    path.strip_prefix(&absolute)
        .or_else(|_| path.strip_prefix(root))
        .map(Path::to_owned)
        .map_err(|_| outside())
}

/// The beginning of a text, for messages.
fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}

/// A name for an utterance that has none: its path and where in it it begins.
pub(super) fn name_of(audio: &Path, segment: Option<Segment>) -> String {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    let name: String = audio.with_extension("").display().to_string().chars().map(plain).collect();
    let name = name.trim_start_matches('.').to_owned();
    segment.map_or(name.clone(), |s| format!("{name}-{:.0}", s.start_s * 1000.0))
}

fn object<T: DeserializeOwned>(line: Line) -> Result<T, (&'static str, String)> {
    let line = line.map_err(|detail| ("malformed_row", detail))?;
    serde_json::from_str(&line).map_err(|error| ("malformed_row", error.to_string()))
}

fn spoken(text: Option<String>) -> Result<String, (&'static str, String)> {
    let text = text.ok_or_else(|| ("missing_text", "it has no text".to_owned()))?;
    if text.trim().is_empty() {
        return Err(("empty_text", "its text is empty".to_owned()));
    }
    Ok(text.trim().to_owned())
}

/// `manifest.json` or `manifest.jsonl` of NeMo.
pub(super) fn nemo(root: &Path) -> Result<Manifest, DataError> {
    nemo_rows(root, Lines::open(&first_of(root, &["manifest.json", "manifest.jsonl"]))?)
}

pub(super) fn nemo_rows(root: &Path, mut lines: Lines<'_>) -> Result<Manifest, DataError> {
    let mut rows = Rows::new(root);
    while let Some((number, line)) = lines.next()? {
        let row = object::<NemoRow>(line).and_then(|row| {
            let audio = inside(root, &row.audio_filepath)?;
            let segment = match (row.offset, row.duration) {
                (None | Some(0.0), None) => None,
                (Some(start_s), Some(duration_s)) => Some(Segment { start_s, duration_s }),
                (None, Some(_)) => None,
                (Some(_), None) => return Err(("malformed_row", "an offset needs a duration".to_owned())),
            };
            let id = name_of(&audio, segment);
            let speaker = row.speaker.map_or_else(|| "speaker".to_owned(), |name| name.0);
            Ok(Utterance { id, audio, segment, text: spoken(row.text)?, speaker, ..Utterance::default() })
        });
        match row {
            Ok(row) => rows.push_or_skip(row),
            Err((reason, detail)) => rows.skip(format!("line-{number}"), reason, detail),
        }
    }
    Ok(rows.into_manifest())
}

#[derive(Deserialize)]
struct Cut {
    id: Name,
    #[serde(default)]
    start: f64,
    #[serde(default)]
    supervisions: Vec<Supervision>,
    recording: Option<Recording>,
}

#[derive(Deserialize)]
struct Recording {
    id: Name,
    sources: Vec<Source>,
    duration: f64,
}

#[derive(Deserialize)]
struct Source {
    #[serde(rename = "type")]
    kind: String,
    source: String,
}

#[derive(Deserialize)]
struct Supervision {
    id: Name,
    recording_id: Option<Name>,
    start: f64,
    duration: f64,
    text: Option<String>,
    speaker: Option<Name>,
}

impl Supervision {
    fn utterance(
        self,
        root: &Path,
        recording: Option<&Recording>,
        offset_s: f64,
    ) -> Result<Utterance, (&'static str, String)> {
        let recording =
            recording.ok_or_else(|| ("missing_audio", "its recording is not listed".to_owned()))?;
        let [source] = recording.sources.as_slice() else {
            return Err(("unsupported_source", format!("{} sources", recording.sources.len())));
        };
        if source.kind != "file" {
            return Err(("unsupported_source", format!("audio from a {:?} is not read", clip(&source.kind))));
        }
        let segment = Segment { start_s: offset_s + self.start, duration_s: self.duration };
        let is_whole =
            segment.start_s.abs() < WHOLE_S && (segment.duration_s - recording.duration).abs() < WHOLE_S;
        Ok(Utterance {
            id: self.id.0,
            audio: inside(root, &source.source)?,
            segment: (!is_whole).then_some(segment),
            text: spoken(self.text)?,
            speaker: self.speaker.map_or_else(|| "speaker".to_owned(), |name| name.0),
            ..Utterance::default()
        })
    }
}

fn take(rows: &mut Rows<'_>, id: String, row: Result<Utterance, (&'static str, String)>) {
    match row {
        Ok(row) => rows.push_or_skip(row),
        Err((reason, detail)) => rows.skip(clip(&id), reason, detail),
    }
}

/// `cuts.jsonl` of Lhotse, or its `recordings.jsonl` and `supervisions.jsonl`.
pub(super) fn lhotse(root: &Path) -> Result<Manifest, DataError> {
    let cuts = root.join("cuts.jsonl");
    if cuts.exists() {
        return lhotse_cuts(root, Lines::open(&cuts)?);
    }
    let mut rows = Rows::new(root);
    let mut recordings: BTreeMap<String, Recording> = BTreeMap::new();
    let mut lines = Lines::open(&root.join("recordings.jsonl"))?;
    while let Some((_, line)) = lines.next()? {
        // A recording that cannot be read is missing wherever it is named, and counted there.
        if let Ok(recording) = object::<Recording>(line) {
            recordings.insert(recording.id.0.clone(), recording);
        }
    }
    let mut lines = Lines::open(&root.join("supervisions.jsonl"))?;
    while let Some((number, line)) = lines.next()? {
        match object::<Supervision>(line) {
            Err((reason, detail)) => rows.skip(format!("line-{number}"), reason, detail),
            Ok(supervision) => {
                let recording = supervision.recording_id.as_ref().and_then(|id| recordings.get(&id.0));
                take(&mut rows, supervision.id.0.clone(), supervision.utterance(root, recording, 0.0));
            }
        }
    }
    Ok(rows.into_manifest())
}

pub(super) fn lhotse_cuts(root: &Path, mut lines: Lines<'_>) -> Result<Manifest, DataError> {
    let mut rows = Rows::new(root);
    while let Some((number, line)) = lines.next()? {
        match object::<Cut>(line) {
            Err((reason, detail)) => rows.skip(format!("line-{number}"), reason, detail),
            Ok(cut) if cut.supervisions.is_empty() => {
                rows.skip(clip(&cut.id.0), "missing_text", "the cut has no supervision".into());
            }
            Ok(cut) => {
                for supervision in cut.supervisions {
                    let id = supervision.id.0.clone();
                    take(&mut rows, id, supervision.utterance(root, cut.recording.as_ref(), cut.start));
                }
            }
        }
    }
    Ok(rows.into_manifest())
}
