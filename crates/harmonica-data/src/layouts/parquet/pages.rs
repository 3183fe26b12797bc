//! Columns of a table, page by page.
//!
//! In: the pages that the reader of the format gives; out: the same ones. Invariant: a dictionary that claims more values than its
//! bytes can hold never reaches a decoder, which would make room for all of them first.

use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::RowGroupReader;

/// Fewest bytes of a value of a dictionary: a whole number of four bytes, or the length before a text.
const VALUE_BYTES: usize = 4;

/// The reader of one column of a group.
pub(super) fn column_reader(group: &dyn RowGroupReader, at: usize) -> Result<ColumnReader> {
    let pages = Believable(group.get_column_page_reader(at)?);
    Ok(get_column_reader(group.metadata().schema_descr().column(at), Box::new(pages)))
}

/// Pages whose claims were looked at.
pub(super) struct Believable(pub(super) Box<dyn PageReader>);

fn believable(page: Option<Page>) -> Result<Option<Page>> {
    #[cfg(test)]
    super::tests::PAGES.with(|pages| pages.set(pages.get() + usize::from(page.is_some())));
    match &page {
        Some(Page::DictionaryPage { buf, num_values, .. })
            if *num_values as usize > buf.len() / VALUE_BYTES =>
        {
            let claim = format!("a dictionary claims {num_values} values in {} bytes", buf.len());
            Err(ParquetError::General(claim))
        }
        _ => Ok(page),
    }
}

impl Iterator for Believable {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Believable {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        self.0.get_next_page().and_then(believable)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.0.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.0.skip_next_page()
    }

    fn supports_deferred_dictionary(&self) -> bool {
        self.0.supports_deferred_dictionary()
    }

    fn take_deferred_dictionary(&mut self) -> Result<Option<Page>> {
        self.0.take_deferred_dictionary().and_then(believable)
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.0.at_record_boundary()
    }
}
