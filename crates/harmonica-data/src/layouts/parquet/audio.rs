//! The audio in the rows of a table.
//!
//! In: a table and a row; out: its bytes. Tables are usually written with one page a row group, and a page is decompressed as a whole, so
//! each thread keeps the last column that it read, with its page, until it has read that group's last row or asks for another table:
//! reading on costs the next row alone. In memory are thus as many pages as there are threads, as when all of them read at once.

use super::pages::column_reader;
use super::{AUDIO, DAMAGED, NO_COLUMN, Wrong, column, contained, open, refuse};
use crate::DataError;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::reader::FileReader;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Largest recording in a table, in bytes.
const MAX_AUDIO_BYTES: usize = 1 << 30;

thread_local! {
    static KEPT: RefCell<Option<Place>> = const { RefCell::new(None) };
}

/// What tells a table from another one and from itself after a change.
#[derive(PartialEq)]
struct Identity {
    path: PathBuf,
    n_bytes: u64,
    modified: Option<SystemTime>,
}

/// A row group of a table, read up to a row.
struct Place {
    table: Identity,
    /// Row of the table that is read next.
    next: u64,
    /// Row after the group's last one.
    end: u64,
    column: ColumnReaderImpl<ByteArrayType>,
}

impl Place {
    /// The beginning of the group that holds a row.
    fn find(path: &Path, table: Identity, row: u64) -> Result<Self, DataError> {
        let reader = open(path)?;
        contained(path, || {
            let at = column(&reader, &AUDIO)?
                .ok_or_else(|| Wrong::new(format!("there is no column {}", AUDIO[0]), NO_COLUMN))?;
            let mut next = 0_u64;
            for group in 0..reader.num_row_groups() {
                let end = next + u64::try_from(reader.metadata().row_group(group).num_rows()).unwrap_or(0);
                if row >= end {
                    next = end;
                    continue;
                }
                let group = reader.get_row_group(group)?;
                let ColumnReader::ByteArrayColumnReader(column) = column_reader(group.as_ref(), at)? else {
                    return Err(Wrong::new(format!("the column {} holds no bytes", AUDIO[0]), NO_COLUMN));
                };
                return Ok(Self { table, next, end, column });
            }
            Err(Wrong::new(format!("there is no row {row}"), DAMAGED))
        })
    }

    /// The bytes of a row from [`Self::next`] on, if it holds any.
    fn read(&mut self, row: u64) -> Result<Option<Vec<u8>>, Wrong> {
        let before = usize::try_from(row - self.next).map_err(|e| e.to_string())?;
        let (mut levels, mut values) = (Vec::new(), Vec::<ByteArray>::new());
        let skipped = self.column.skip_records(before)?;
        self.column.read_records(1, Some(&mut levels), None, &mut values)?;
        self.next = row + 1;
        match values.first() {
            Some(bytes) if skipped == before && bytes.len() <= MAX_AUDIO_BYTES => {
                Ok(Some(bytes.data().to_vec()))
            }
            Some(_) => Err(format!("row {row} is damaged or too large").into()),
            None => Ok(None),
        }
    }
}

/// The audio in a row of a table; pages before it are passed over undecoded.
///
/// # Errors
/// A table that is damaged or has no such row, a row without audio.
pub(crate) fn embedded(path: &Path, row: u64) -> Result<Vec<u8>, DataError> {
    let metadata =
        std::fs::metadata(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
    let table =
        Identity { path: path.to_owned(), n_bytes: metadata.len(), modified: metadata.modified().ok() };
    let kept = KEPT.take().filter(|kept| kept.table == table && (kept.next..kept.end).contains(&row));
    let mut place = match kept {
        Some(kept) => kept,
        None => Place::find(path, table, row)?,
    };
    let audio = contained(path, || place.read(row))?;
    if place.next < place.end {
        KEPT.set(Some(place));
    }
    audio.ok_or_else(|| refuse(path, Wrong::new(format!("row {row} holds no audio"), "leave the row out")))
}
