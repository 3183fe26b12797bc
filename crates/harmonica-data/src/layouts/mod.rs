//! Corpora as others lay them out.
//!
//! In: a corpus directory and its layout; out: utterances, and what was skipped and why. Invariant: every row of a corpus is
//! counted once, as an utterance or with a reason; nothing outside of the corpus directory is opened, nothing that does not end is
//! read, and a line is never longer than its limit in memory.

mod common_voice;
mod jsonl;
mod lines;
#[cfg(feature = "parquet")]
mod parquet;
mod tables;
#[cfg(test)]
mod tests;
mod trees;

pub(crate) use tables::{ljspeech_line, ljspeech_row};

use crate::DataError;
use crate::manifest::Manifest;
use harmonica_config_schema::CorpusLayout;
use std::path::Path;

/// Reads a corpus. Tables that are links out of it are read only with `follow_links_outside`.
pub(crate) fn read(
    root: &Path,
    layout: CorpusLayout,
    follow_links_outside: bool,
) -> Result<Manifest, DataError> {
    // Audio that is a file of its own is not opened here.
    #[cfg(not(feature = "parquet"))]
    let _ = follow_links_outside;
    match layout {
        CorpusLayout::Ljspeech | CorpusLayout::Manifest => tables::read(root, layout),
        CorpusLayout::Libritts => trees::libritts(root),
        CorpusLayout::Vctk => trees::vctk(root),
        CorpusLayout::CommonVoice => common_voice::read(root),
        CorpusLayout::Nemo => jsonl::nemo(root),
        CorpusLayout::Lhotse => jsonl::lhotse(root),
        #[cfg(feature = "parquet")]
        CorpusLayout::Parquet => parquet::read(root, follow_links_outside),
        #[cfg(not(feature = "parquet"))]
        CorpusLayout::Parquet => Err(DataError::NotBuilt { path: root.to_owned() }),
    }
}

#[cfg(feature = "parquet")]
pub(crate) use parquet::embedded;

/// Audio in a table, which this program was built without.
#[cfg(not(feature = "parquet"))]
pub(crate) fn embedded(path: &Path, _row: u64) -> Result<Vec<u8>, DataError> {
    Err(DataError::NotBuilt { path: path.to_owned() })
}

/// Reads a manifest's text, of a layout that has one manifest.
pub(crate) fn parse(root: &Path, layout: CorpusLayout, text: &str) -> Result<Manifest, DataError> {
    let lines = lines::Lines::of_text(&root.join("manifest"), text);
    match layout {
        CorpusLayout::Nemo => jsonl::nemo_rows(root, lines),
        CorpusLayout::Lhotse => jsonl::lhotse_cuts(root, lines),
        CorpusLayout::CommonVoice => common_voice::rows_of_text(root, text),
        CorpusLayout::Parquet => read(root, layout, false),
        _ => tables::rows(&root.join(tables::name(layout)), layout, text),
    }
}
