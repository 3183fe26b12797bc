//! One table for the whole corpus: LJSpeech's `metadata.csv` and our own `manifest.jsonl`.
//!
//! In: the table's text; out: its rows. Invariant: these are written for us, so a malformed line is an error with its number
//! and never skipped.

use super::lines::Lines;
use crate::DataError;
use crate::manifest::{MAX_LINE_BYTES, Manifest, Rows, Segment, Split, Utterance};
use harmonica_config_schema::CorpusLayout;
use serde::Deserialize;
use std::path::Path;

/// The table's file.
pub(super) fn name(layout: CorpusLayout) -> &'static str {
    match layout {
        CorpusLayout::Ljspeech => "metadata.csv",
        _ => "manifest.jsonl",
    }
}

pub(super) fn read(root: &Path, layout: CorpusLayout) -> Result<Manifest, DataError> {
    let path = root.join(name(layout));
    collect(&path, layout, Lines::open(&path)?)
}

pub(super) fn rows(path: &Path, layout: CorpusLayout, text: &str) -> Result<Manifest, DataError> {
    collect(path, layout, Lines::of_text(path, text))
}

fn collect(path: &Path, layout: CorpusLayout, mut lines: Lines<'_>) -> Result<Manifest, DataError> {
    let mut rows = Rows::new(path);
    lines = lines.limited(MAX_LINE_BYTES);
    while let Some((number, line)) = lines.next()? {
        let row = line.and_then(|line| match layout {
            CorpusLayout::Ljspeech => ljspeech_row(&line),
            _ => json_row(&line),
        });
        rows.push(number - 1, row.map_err(|reason| rows.refuse(number - 1, reason))?)?;
    }
    Ok(rows.into_manifest())
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
    start_s: Option<f64>,
    duration_s: Option<f64>,
}

fn single_speaker() -> String {
    "speaker".to_owned()
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
        ..Utterance::default()
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
    let segment = match (row.start_s, row.duration_s) {
        (None, None) => None,
        (start_s, Some(duration_s)) => Some(Segment { start_s: start_s.unwrap_or(0.0), duration_s }),
        (Some(_), None) => return Err("a start_s needs a duration_s".into()),
    };
    Ok(Utterance {
        id: row.id,
        audio: row.audio.into(),
        segment,
        text: row.text,
        speaker: row.speaker,
        split: row.split,
        ..Utterance::default()
    })
}
