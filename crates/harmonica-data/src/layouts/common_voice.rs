//! Common Voice: tables of clips with a header line.
//!
//! In: `train.tsv`, `dev.tsv` and `test.tsv`, else `validated.tsv`; out: an utterance for every clip that is there. Invariant:
//! columns are found by their names, because releases differ in their order; quotes are ordinary characters.

use super::lines::{Line, Lines};
use crate::DataError;
use crate::manifest::{Manifest, Rows, Split, Utterance};
use std::path::Path;

pub(super) fn read(root: &Path) -> Result<Manifest, DataError> {
    let mut rows = Rows::new(root);
    let tables = [("train.tsv", Split::Train), ("dev.tsv", Split::Valid), ("test.tsv", Split::Test)];
    let there: Vec<_> = tables.into_iter().filter(|(name, _)| root.join(name).exists()).collect();
    for (name, split) in &there {
        let path = root.join(name);
        table(&mut rows, root, &path, Lines::open(&path)?, Some(*split), true)?;
    }
    if there.is_empty() {
        let path = root.join("validated.tsv");
        table(&mut rows, root, &path, Lines::open(&path)?, None, true)?;
    }
    Ok(rows.into_manifest())
}

/// Rows of a table's text; whether the clips are there is not asked.
pub(super) fn rows_of_text(root: &Path, text: &str) -> Result<Manifest, DataError> {
    let path = root.join("validated.tsv");
    let mut rows = Rows::new(&path);
    table(&mut rows, root, &path, Lines::of_text(&path, text), None, false)?;
    Ok(rows.into_manifest())
}

fn table(
    rows: &mut Rows<'_>,
    root: &Path,
    path: &Path,
    mut lines: Lines<'_>,
    split: Option<Split>,
    ask_disk: bool,
) -> Result<(), DataError> {
    let refuse = |reason: String| DataError::Manifest { path: path.to_owned(), line: 1, reason };
    let Some((_, header)) = lines.next()? else { return Ok(()) };
    let header = header.map_err(refuse)?;
    let names: Vec<&str> = header.split('\t').map(str::trim).collect();
    let column = |name: &str| {
        let at = names.iter().position(|n| *n == name);
        at.ok_or_else(|| refuse(format!("the header has no column `{name}`; is this a Common Voice table?")))
    };
    let (speaker, clip, sentence) = (column("client_id")?, column("path")?, column("sentence")?);
    while let Some((number, line)) = lines.next()? {
        match row(line, names.len(), [speaker, clip, sentence]) {
            Err(detail) => rows.skip(format!("line-{number}"), "malformed_row", detail),
            Ok([_, clip, text]) if text.is_empty() => {
                rows.skip(clip, "empty_text", "the sentence is empty".into());
            }
            Ok([speaker, clip, text]) => {
                let id = clip.rsplit_once('.').map_or(clip.as_str(), |(id, _)| id).to_owned();
                let audio = Path::new("clips").join(&clip);
                if ask_disk && !root.join(&audio).exists() {
                    rows.skip(id, "missing_audio", format!("there is no `{}`", audio.display()));
                } else {
                    rows.push_or_skip(Utterance { id, audio, text, speaker, split, ..Utterance::default() });
                }
            }
        }
    }
    Ok(())
}

fn row(line: Line, n_columns: usize, wanted: [usize; 3]) -> Result<[String; 3], String> {
    let line = line?;
    let columns: Vec<&str> = line.split('\t').collect();
    // Trailing columns that are empty are sometimes left away.
    if columns.len() > n_columns || wanted.iter().any(|at| *at >= columns.len()) {
        return Err(format!("{} columns where the header has {n_columns}", columns.len()));
    }
    Ok(wanted.map(|at| columns[at].trim().to_owned()))
}
