//! A corpus as a few compressed streams and a table of offsets, unpacked to LJSpeech layout.
//!
//! In: `index.tsv` and the streams it names. Out: `metadata.csv` and `wavs/`.
//! Invariant: what is unpacked reads back as the same utterances; a table that could not is refused before anything is
//! written.

use crate::layouts::{ljspeech_line, ljspeech_row};
use crate::manifest::Rows;
use crate::{DataError, Utterance};
use harmonica_audio::{Waveform, load, save};
use harmonica_storage::{collect_scratch, is_plain_name, make_directory, replace};
use std::collections::BTreeMap;
use std::path::Path;

/// One row of `index.tsv`.
#[derive(Debug, Clone, PartialEq)]
pub struct PackedUtterance {
    /// The utterance as the unpacked corpus names it.
    pub utterance: Utterance,
    /// File that holds its samples, beside the table.
    pub stream: String,
    /// Where it begins in the stream.
    pub first_sample: usize,
    /// Its length, at least 1.
    pub n_samples: usize,
}

/// Reads the text of `index.tsv`; `path` stands for it in errors.
///
/// # Errors
/// A malformed row with its line number.
pub fn parse_index(path: &Path, text: &str) -> Result<Vec<PackedUtterance>, DataError> {
    let mut rows = Rows::new(path);
    let mut packed = Vec::new();
    for (i, line) in text.lines().enumerate().skip(1) {
        let row = packed_row(line).map_err(|reason| rows.refuse(i, reason))?;
        rows.push(i, row.utterance.clone())?;
        packed.push(row);
    }
    Ok(packed)
}

fn packed_row(line: &str) -> Result<PackedUtterance, String> {
    let columns: Vec<&str> = line.split('\t').collect();
    let [id, split, speaker, stream, first_sample, n_samples, text] = columns[..] else {
        return Err("expected id, split, speaker, stream, start_sample, n_samples, text".into());
    };
    let number = |value: &str| value.parse::<usize>().map_err(|_| "an offset is not a number".to_owned());
    if !is_plain_name(stream) {
        return Err(format!("the stream {stream:?} is not a plain file name"));
    }
    let (first_sample, n_samples) = (number(first_sample)?, number(n_samples)?);
    if n_samples == 0 {
        return Err("it has no samples".into());
    }
    let utterance = ljspeech_row(&[id, text, text, speaker, split].join("|"))?;
    let read_back = (utterance.id.as_str(), utterance.text.as_str(), utterance.speaker.as_str());
    if text.is_empty() || read_back != (id, text, speaker) {
        return Err("the id, the text or the speaker is empty or begins or ends with a space".into());
    }
    Ok(PackedUtterance { utterance, stream: stream.to_owned(), first_sample, n_samples })
}

/// The `metadata.csv` of the unpacked corpus.
pub fn packed_metadata(rows: &[PackedUtterance]) -> String {
    rows.iter().map(|row| ljspeech_line(&row.utterance)).collect()
}

/// Unpacks `packed/index.tsv` and its streams to `corpus/metadata.csv` and `corpus/wavs/`. Returns the utterances written.
/// What was there is written again.
///
/// # Errors
/// Streams or tables that are missing or malformed, or a directory that cannot be written to.
pub fn unpack(packed: &Path, corpus: &Path) -> Result<usize, DataError> {
    let index = packed.join("index.tsv");
    let text =
        std::fs::read_to_string(&index).map_err(|source| DataError::Read { path: index.clone(), source })?;
    let rows = parse_index(&index, &text)?;
    let mut streams: BTreeMap<&str, Waveform> = BTreeMap::new();
    let wavs = corpus.join("wavs");
    make_directory(&wavs)?;
    collect_scratch(&wavs)?;
    for (i, row) in rows.iter().enumerate() {
        let stream = row.stream.as_str();
        if !streams.contains_key(stream) {
            streams.insert(stream, load(&packed.join(stream))?);
        }
        let waveform = &streams[stream];
        let end = row.first_sample.checked_add(row.n_samples);
        let Some(end) = end.filter(|end| *end <= waveform.samples().len()) else {
            // The table's first line is its header.
            return Err(Rows::new(&index).refuse(i + 1, "the stream ends before this utterance".into()));
        };
        save(&corpus.join(&row.utterance.audio), &waveform.slice(row.first_sample, end))?;
    }
    // Written last: a corpus without its table is not a corpus yet.
    replace(&corpus.join("metadata.csv"), packed_metadata(&rows).as_bytes())?;
    Ok(rows.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Manifest;
    use harmonica_config_schema::CorpusLayout;

    const HEADER: &str = "id\tsplit\tspeaker\tstream\tstart_sample\tn_samples\ttext\n";

    #[test]
    fn what_is_unpacked_reads_back_as_the_same_utterances() {
        let table =
            format!("{HEADER}a-1\ttrain\tslt\ts.ogg\t0\t9\tone two\nb\ttest\tawb\ts.ogg\t9\t4\tsix\n");
        let rows = parse_index(Path::new("index.tsv"), &table).unwrap();
        let manifest = Manifest::parse(Path::new("."), CorpusLayout::Ljspeech, &packed_metadata(&rows));
        let utterances: Vec<Utterance> = rows.into_iter().map(|row| row.utterance).collect();
        assert_eq!(manifest.unwrap().utterances, utterances);
    }

    #[test]
    fn rows_that_would_not_read_back_are_refused_with_their_line() {
        for (row, word) in [
            ("a\ttrain\tslt\ts.ogg\t0\t9\tone", "twice"),
            ("b\ttraining\tslt\ts.ogg\t0\t9\tone", "training"),
            ("b\ttrain\tsl|t\ts.ogg\t0\t9\tone", "columns"),
            ("b\ttrain\t\ts.ogg\t0\t9\tone", "empty"),
            ("b\ttrain\tslt\ts.ogg\t0\t9\tone ", "space"),
            ("b\ttrain\tslt\ts.ogg\t0\t9\t", "empty"),
            ("b\ttrain\tslt\ts.ogg\t0\t0\tone", "no samples"),
            ("b\ttrain\tslt\t../s.ogg\t0\t9\tone", "plain"),
            ("b\ttrain\tslt\ts.ogg\t-1\t9\tone", "number"),
        ] {
            let table = format!("{HEADER}a\ttrain\tslt\ts.ogg\t0\t9\tone\n{row}\n");
            let error = parse_index(Path::new("index.tsv"), &table).unwrap_err().to_string();
            assert!(error.contains("line 3") && error.contains(word), "{row}: {error}");
        }
    }
}
