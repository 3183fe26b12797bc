//! Hugging Face data sets: tables with the audio in them.
//!
//! In: `*.parquet` anywhere below the corpus; out: utterances that name a file and a row of it, and the bytes of one row.
//! Invariant: audio is never read to list a corpus; the texts of a table never take much more memory than it takes on disk; a file
//! that is damaged or made to do harm is an error that names it, even where the reader of the format gives up.

mod audio;
mod pages;

pub(crate) use audio::embedded;

use super::jsonl::name_of;
use crate::DataError;
use crate::manifest::{Manifest, Rows, Split, Utterance};
use pages::column_reader;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader};
use parquet::file::serialized_reader::SerializedFileReader;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Names under which data sets keep the same thing, the best one first.
const AUDIO: [&str; 1] = ["audio.bytes"];
const TEXT: [&str; 6] =
    ["normalized_text", "text_normalized", "text", "transcription", "sentence", "transcript"];
const SPEAKER: [&str; 3] = ["speaker_id", "speaker", "client_id"];
const ID: [&str; 2] = ["id", "utterance_id"];
const PATH: [&str; 1] = ["audio.path"];

/// Directories below a corpus in which tables are looked for.
const DEPTH: usize = 4;
/// Rows of a column that are decoded at a time.
const PIECE: usize = 1024;
/// Longest text of a row, in bytes; more is no utterance.
const MAX_TEXT_BYTES: usize = 1 << 16;
/// What the texts of a small table may take in memory, in bytes. A larger one may fill four times its length: a dictionary names a text once
/// for any number of rows.
const SMALL_TABLE_TEXTS: u64 = 1 << 28;

/// What helps against damage.
const DAMAGED: &str = "download it again, or leave it out";
/// What helps where a table is not made as expected.
const NO_COLUMN: &str = "rename its columns, or leave it out";

/// What is wrong with a table, and what helps.
struct Wrong {
    reason: String,
    remedy: &'static str,
}

impl Wrong {
    fn new(reason: String, remedy: &'static str) -> Self {
        Self { reason, remedy }
    }
}

impl From<String> for Wrong {
    fn from(reason: String) -> Self {
        Self { reason, remedy: DAMAGED }
    }
}

impl From<ParquetError> for Wrong {
    fn from(error: ParquetError) -> Self {
        error.to_string().into()
    }
}

fn refuse(path: &Path, Wrong { reason, remedy }: Wrong) -> DataError {
    DataError::Table { path: path.to_owned(), reason, remedy }
}

/// Runs the reader of the format, whose panics are errors of the file.
fn contained<T>(path: &Path, read: impl FnOnce() -> Result<T, Wrong>) -> Result<T, DataError> {
    let gave_up = || Err("the reader gave up on malformed data".to_owned().into());
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| gave_up()).map_err(|wrong| refuse(path, wrong))
}

/// All tables below `dir`, in the order of their names. Links are followed for files only.
fn tables(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), DataError> {
    let failed = |source| DataError::Read { path: dir.to_owned(), source };
    let mut entries =
        std::fs::read_dir(dir).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_type().map_err(failed)?.is_dir() {
            if depth > 0 && !entry.file_name().to_string_lossy().starts_with('.') {
                tables(&path, depth - 1, found)?;
            }
        } else if path.extension().is_some_and(|e| e == "parquet") {
            found.push(path);
        }
    }
    Ok(())
}

/// The split that a table's name or directory tells, as `train-00000-of-00004.parquet` and `test/0000.parquet` do: by its first word, so that
/// `validated`, which is everything that somebody has heard, is no validation split.
fn split_of(table: &Path) -> Option<Split> {
    let names = table.components().rev().filter_map(|part| part.as_os_str().to_str());
    let split = |name: &str| match name.split(|c: char| !c.is_ascii_alphabetic()).next() {
        Some("train" | "training") => Some(Split::Train),
        Some("valid" | "validation" | "val" | "dev" | "development") => Some(Split::Valid),
        Some("test" | "testing") => Some(Split::Test),
        _ => None,
    };
    names.filter_map(split).next()
}

/// Reads every table below a corpus; those that are links out of it only with `follow_links_outside`.
pub(super) fn read(root: &Path, follow_links_outside: bool) -> Result<Manifest, DataError> {
    let mut paths = Vec::new();
    tables(root, DEPTH, &mut paths)?;
    if paths.is_empty() {
        let remedy = "name the directory that holds the tables";
        return Err(refuse(root, Wrong::new("there is no *.parquet below it".into(), remedy)));
    }
    let real_root =
        root.canonicalize().map_err(|source| DataError::Read { path: root.to_owned(), source })?;
    let mut rows = Rows::new(root);
    for path in paths {
        let table = path.strip_prefix(root).unwrap_or(&path).to_owned();
        let shown = table.display().to_string();
        match path.canonicalize() {
            Ok(target) if !follow_links_outside && !target.starts_with(&real_root) => {
                rows.skip(shown, "outside_corpus", DataError::OutsideCorpus { path, target }.to_string());
                continue;
            }
            Err(error) => {
                rows.skip(shown, "unreadable_table", error.to_string());
                continue;
            }
            Ok(_) => {}
        }
        take(&mut rows, &path, &table)?;
    }
    Ok(rows.into_manifest())
}

fn take(rows: &mut Rows<'_>, path: &Path, table: &Path) -> Result<(), DataError> {
    let reader = open(path)?;
    let columns = contained(path, || Columns::find(&reader))?;
    let split = split_of(table);
    let mut first = 0_u64;
    let mut budget = Budget::of(path)?;
    for group in 0..reader.num_row_groups() {
        let read = contained(path, || columns.read(&reader, group, &mut budget))?;
        for (row, cells) in (first..).zip(&read) {
            match cells.utterance(table, row, split) {
                Ok(utterance) => rows.push_or_skip(utterance),
                Err((reason, detail)) => rows.skip(format!("{}-{row}", stem(table)), reason, detail),
            }
        }
        first += read.len() as u64;
    }
    Ok(())
}

fn stem(table: &Path) -> String {
    name_of(table, None)
}

fn open(path: &Path) -> Result<SerializedFileReader<File>, DataError> {
    let failed = |source| DataError::Read { path: path.to_owned(), source };
    // A FIFO could block for ever, so it is asked before it is opened.
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(refuse(path, Wrong::new("it is no regular file".into(), "leave it out")));
    }
    let file = File::open(path).map_err(failed)?;
    let reader = contained(path, || Ok(SerializedFileReader::new(file)?))?;
    let groups = reader.metadata().row_groups();
    let n_rows =
        groups.iter().try_fold(0_u64, |sum, group| sum.checked_add(u64::try_from(group.num_rows()).ok()?));
    match n_rows {
        Some(n) if n <= metadata.len() => Ok(reader),
        _ => Err(refuse(
            path,
            format!("it claims more rows than its {} bytes can hold", metadata.len()).into(),
        )),
    }
}

/// Bytes that the texts of a table may still take.
struct Budget {
    all: u64,
    left: u64,
}

impl Budget {
    fn of(path: &Path) -> Result<Self, DataError> {
        let metadata =
            std::fs::metadata(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
        let all = metadata.len().saturating_mul(4).max(SMALL_TABLE_TEXTS);
        Ok(Self { all, left: all })
    }

    fn spend(&mut self, cell: &Cell) -> Result<(), Wrong> {
        let n = cell.as_ref().ok().and_then(Option::as_ref).map_or(0, |text| text.len() as u64);
        self.left = self.left.checked_sub(n).ok_or_else(|| {
            let reason = format!("its texts, names and paths take more than {} MiB", self.all >> 20);
            Wrong::new(reason, "shorten or split it, or leave it out")
        })?;
        Ok(())
    }
}

/// Places of the columns that make an utterance.
struct Columns {
    text: usize,
    speaker: Option<usize>,
    id: Option<usize>,
    path: Option<usize>,
}

impl Columns {
    fn find(reader: &impl FileReader) -> Result<Self, Wrong> {
        let text = column(reader, &TEXT)?;
        let missing = |what: &str, names: &[&str]| {
            Wrong::new(
                format!("there is no column of {what}, which is called {}", names.join(" or ")),
                NO_COLUMN,
            )
        };
        column(reader, &AUDIO)?.ok_or_else(|| missing("audio", &AUDIO))?;
        Ok(Self {
            text: text.ok_or_else(|| missing("texts", &TEXT))?,
            speaker: column(reader, &SPEAKER)?,
            id: column(reader, &ID)?,
            path: column(reader, &PATH)?,
        })
    }

    /// The rows of one group, without their audio.
    fn read(&self, reader: &impl FileReader, group: usize, budget: &mut Budget) -> Result<Vec<Cells>, Wrong> {
        let group = reader.get_row_group(group)?;
        let n_rows = usize::try_from(group.metadata().num_rows()).map_err(|e| e.to_string())?;
        let mut words = |at: Option<usize>| match at {
            Some(at) => words(group.as_ref(), at, n_rows, budget),
            None => Ok(vec![Ok(None); n_rows]),
        };
        let (text, speaker) = (words(Some(self.text))?, words(self.speaker)?);
        let (id, path) = (words(self.id)?, words(self.path)?);
        let cells = text.into_iter().zip(speaker).zip(id).zip(path);
        let knows_speakers = self.speaker.is_some();
        Ok(cells
            .map(|(((text, speaker), id), path)| Cells { text, speaker, knows_speakers, id, path })
            .collect())
    }
}

/// Place of the first of some columns that is there and holds one value a row.
fn column(reader: &impl FileReader, names: &[&str]) -> Result<Option<usize>, Wrong> {
    let schema = reader.metadata().file_metadata().schema_descr();
    let place = |name: &&str| schema.columns().iter().position(|column| column.path().string() == **name);
    let Some(at) = names.iter().find_map(place) else { return Ok(None) };
    if schema.column(at).max_rep_level() > 0 {
        let reason = format!("the column {} holds lists", schema.column(at).path());
        return Err(Wrong::new(reason, NO_COLUMN));
    }
    Ok(Some(at))
}

/// A cell: a text, nothing, or why it cannot be read.
type Cell = Result<Option<String>, &'static str>;

/// What a row says beside its audio.
struct Cells {
    text: Cell,
    speaker: Cell,
    /// Whether the table has a column of speakers; without one it is of one speaker.
    knows_speakers: bool,
    id: Cell,
    path: Cell,
}

impl Cells {
    fn utterance(
        &self,
        table: &Path,
        row: u64,
        split: Option<Split>,
    ) -> Result<Utterance, (&'static str, String)> {
        let cell = |cell: &Cell| cell.clone().map_err(|detail| ("malformed_row", detail.to_owned()));
        let text = cell(&self.text)?.ok_or_else(|| ("missing_text", "its text is null".to_owned()))?;
        if text.trim().is_empty() {
            return Err(("empty_text", "its text is empty".to_owned()));
        }
        let speaker = match cell(&self.speaker)? {
            Some(speaker) => speaker,
            // Who is not named may be anybody: no common voice is made of them.
            None if self.knows_speakers => {
                return Err(("missing_speaker", "its speaker is null".to_owned()));
            }
            None => "speaker".to_owned(),
        };
        let path = cell(&self.path)?.filter(|path| !path.is_empty());
        let named = path.map(|path| name_of(Path::new(&path), None)).filter(|name| !name.is_empty());
        let id = cell(&self.id)?.or(named).unwrap_or_else(|| format!("{}-{row}", stem(table)));
        Ok(Utterance {
            id,
            audio: table.to_owned(),
            row: Some(row),
            text: text.trim().to_owned(),
            speaker,
            split,
            ..Utterance::default()
        })
    }
}

/// The values of a column as words, a cell a row.
fn words(
    group: &dyn RowGroupReader,
    at: usize,
    n_rows: usize,
    budget: &mut Budget,
) -> Result<Vec<Cell>, Wrong> {
    let text = |bytes: &ByteArray| match bytes.len() {
        0..=MAX_TEXT_BYTES => String::from_utf8(bytes.data().to_vec()).map_err(|_| "it is not UTF-8"),
        _ => Err("it is longer than any utterance"),
    };
    let depth = group.metadata().schema_descr().column(at).max_def_level();
    match column_reader(group, at)? {
        ColumnReader::ByteArrayColumnReader(reader) => cells(reader, depth, n_rows, budget, text),
        ColumnReader::Int64ColumnReader(reader) => {
            cells(reader, depth, n_rows, budget, |n| Ok(n.to_string()))
        }
        ColumnReader::Int32ColumnReader(reader) => {
            cells(reader, depth, n_rows, budget, |n| Ok(n.to_string()))
        }
        _ => {
            let path = group.metadata().schema_descr().column(at).path().string();
            let reason = format!("the column {path} holds neither texts nor whole numbers");
            Err(Wrong::new(reason, NO_COLUMN))
        }
    }
}

fn cells<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    depth: i16,
    n_rows: usize,
    budget: &mut Budget,
    cell: impl Fn(&T::T) -> Result<String, &'static str>,
) -> Result<Vec<Cell>, Wrong> {
    let mut cells = Vec::new();
    while cells.len() < n_rows {
        let (mut levels, mut values) = (Vec::new(), Vec::new());
        let rows = PIECE.min(n_rows - cells.len());
        let (n, ..) = reader.read_records(rows, Some(&mut levels), None, &mut values)?;
        if n == 0 {
            return Err(format!("a column ends after {} of {n_rows} rows", cells.len()).into());
        }
        let mut values = values.iter();
        // A column that cannot be null has no levels.
        let is_there = |i: usize| depth == 0 || levels.get(i) == Some(&depth);
        for i in 0..n {
            let cell = match is_there(i).then(|| values.next()).flatten() {
                Some(value) => cell(value).map(Some),
                None => Ok(None),
            };
            budget.spend(&cell)?;
            cells.push(cell);
        }
    }
    Ok(cells)
}

#[cfg(test)]
#[path = "parquet_tests.rs"]
mod tests;
