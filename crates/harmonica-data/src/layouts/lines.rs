//! Text from outside, line by line.
//!
//! In: a file; out: its lines. Invariant: what is no regular file is not opened, and a line that is too long is passed over
//! without being kept.

use crate::DataError;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Error, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Longest line; more is no utterance.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Largest text file that describes one utterance.
const MAX_TEXT_BYTES: u64 = 1 << 16;

/// A line, or what is wrong with it.
pub(super) type Line = Result<String, String>;

/// Lines of one file, counted from 1.
pub(super) struct Lines<'a> {
    path: PathBuf,
    reader: Box<dyn BufRead + 'a>,
    number: usize,
    max_bytes: usize,
}

fn open_regular(path: &Path) -> Result<(File, u64), DataError> {
    let refuse = |source: Error| DataError::Read { path: path.to_owned(), source };
    // A FIFO or a device could block for ever, so it is asked before it is opened.
    let data = std::fs::metadata(path).map_err(refuse)?;
    if !data.is_file() {
        return Err(refuse(Error::new(ErrorKind::InvalidInput, "not a regular file")));
    }
    Ok((File::open(path).map_err(refuse)?, data.len()))
}

impl<'a> Lines<'a> {
    /// Lines of a file.
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        let (file, _) = open_regular(path)?;
        let reader: Box<dyn BufRead> = Box::new(BufReader::new(file));
        Ok(Self { path: path.to_owned(), reader, number: 0, max_bytes: MAX_LINE_BYTES })
    }

    /// Lines of a text that is already in memory; `path` stands for it in errors.
    pub(super) fn of_text(path: &Path, text: &'a str) -> Self {
        Self {
            path: path.to_owned(),
            reader: Box::new(Cursor::new(text.as_bytes())),
            number: 0,
            max_bytes: MAX_LINE_BYTES,
        }
    }

    /// The same lines, with another limit.
    pub(super) fn limited(self, max_bytes: usize) -> Self {
        Self { max_bytes, ..self }
    }

    /// The next line that is not blank, with its number.
    pub(super) fn next(&mut self) -> Result<Option<(usize, Line)>, DataError> {
        loop {
            let mut bytes = Vec::new();
            let failed = |source| DataError::Read { path: self.path.clone(), source };
            let limit = self.max_bytes as u64 + 1;
            let n = self.reader.by_ref().take(limit).read_until(b'\n', &mut bytes).map_err(failed)?;
            if n == 0 {
                return Ok(None);
            }
            self.number += 1;
            if bytes.last() != Some(&b'\n') && n as u64 == limit {
                self.reader.skip_until(b'\n').map_err(failed)?;
                let reason = format!("more than {} bytes are no utterance; break the line", self.max_bytes);
                return Ok(Some((self.number, Err(reason))));
            }
            let line = match String::from_utf8(bytes) {
                Ok(line) if line.trim().is_empty() => continue,
                Ok(line) => Ok(line.trim_end_matches(['\r', '\n']).to_owned()),
                Err(_) => Err("it is not UTF-8".to_owned()),
            };
            return Ok(Some((self.number, line)));
        }
    }
}

/// The text of a small file, if it is a regular file within `root` and not empty; else why not.
pub(super) fn small_text(root: &Path, path: &Path) -> Result<String, (&'static str, String)> {
    let unreadable = |error: &dyn std::error::Error| ("unreadable_text", error.to_string());
    let inside = path.canonicalize().and_then(|real| Ok(real.starts_with(root.canonicalize()?)));
    match inside {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(("missing_text", format!("there is no `{}`", shown(root, path))));
        }
        Err(error) => return Err(unreadable(&error)),
        Ok(false) => {
            return Err(("outside_corpus", format!("`{}` leads out of the corpus", shown(root, path))));
        }
        Ok(true) => {}
    }
    let (file, bytes) = open_regular(path).map_err(|error| unreadable(&error))?;
    if bytes > MAX_TEXT_BYTES {
        return Err(("unreadable_text", format!("{bytes} bytes are no transcript")));
    }
    let mut text = String::new();
    file.take(MAX_TEXT_BYTES).read_to_string(&mut text).map_err(|error| unreadable(&error))?;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.is_empty() {
        return Err(("empty_text", format!("`{}` is empty", shown(root, path))));
    }
    Ok(text)
}

/// A path as it lies in the corpus.
pub(super) fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}
