//! A corpus as a few compressed streams and a table of offsets, unpacked to LJSpeech layout.

use crate::DataError;
use harmonica_audio::{Waveform, load, save};
use harmonica_storage::{collect_scratch, make_directory, replace};
use std::collections::BTreeMap;
use std::path::Path;

/// Unpacks `packed/index.tsv` and its streams to `corpus/metadata.csv` and `corpus/wavs/`. Returns the utterances written.
/// What was there is written again.
///
/// # Errors
/// Streams or tables that are missing or malformed, or a directory that cannot be written to.
pub fn unpack(packed: &Path, corpus: &Path) -> Result<usize, DataError> {
    let index = packed.join("index.tsv");
    let text =
        std::fs::read_to_string(&index).map_err(|source| DataError::Read { path: index.clone(), source })?;
    let metadata = corpus.join("metadata.csv");
    let mut rows = String::new();
    let mut streams: BTreeMap<String, Waveform> = BTreeMap::new();
    let wavs = corpus.join("wavs");
    make_directory(&wavs)?;
    collect_scratch(&wavs)?;
    let mut n = 0;
    for (number, line) in text.lines().enumerate().skip(1) {
        let refuse = |reason: &str| DataError::Manifest {
            path: index.clone(),
            line: number + 1,
            reason: reason.into(),
        };
        let columns: Vec<&str> = line.split('\t').collect();
        let [id, split, speaker, stream, start, length, text] = columns[..] else {
            return Err(refuse("expected id, split, speaker, stream, start_sample, n_samples, text"));
        };
        let number_in = |value: &str| value.parse::<usize>().map_err(|_| refuse("an offset is not a number"));
        let plain = |s: &str| {
            !s.is_empty()
                && !s.starts_with('.')
                && s.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        if !plain(id) || !plain(stream) || text.contains('|') {
            return Err(refuse("the id, the stream or the text is not plain"));
        }
        let (start, length) = (number_in(start)?, number_in(length)?);
        if !streams.contains_key(stream) {
            streams.insert(stream.to_owned(), load(&packed.join(stream))?);
        }
        let waveform = &streams[stream];
        if start.checked_add(length).is_none_or(|end| end > waveform.samples().len()) {
            return Err(refuse("the stream ends before this utterance"));
        }
        let path = wavs.join(format!("{id}.wav"));
        save(&path, &waveform.slice(start, start + length))?;
        rows.push_str(&format!("{id}|{text}|{text}|{speaker}|{split}\n"));
        n += 1;
    }
    // Written last: a corpus without its table is not a corpus yet.
    replace(&metadata, rows.as_bytes())?;
    Ok(n)
}
