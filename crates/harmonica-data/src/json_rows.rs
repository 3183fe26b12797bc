//! A JSON object that ends with a list of rows, written row by row.
//!
//! In: the other fields, then one row after the other; out: the bytes that `serde_json` makes of the whole. Invariant: no more than
//! one row is held.

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;
use std::io::{Result, Write, sink};

/// An object whose list is being written.
#[derive(Debug)]
pub(crate) struct JsonRows<W, F> {
    out: W,
    /// As it is within the list.
    formatter: F,
    is_first: bool,
}

impl<W: Write, F: Formatter + Clone> JsonRows<W, F> {
    /// Begins with all fields of `head`, whose last one is the list, empty.
    pub(crate) fn begin(mut out: W, mut formatter: F, head: &impl Serialize) -> Result<Self> {
        let mut bytes = Vec::new();
        head.serialize(&mut Serializer::with_formatter(&mut bytes, formatter.clone()))?;
        let end = bytes.iter().rposition(|byte| *byte == b']').unwrap_or(bytes.len());
        out.write_all(&bytes[..end])?;
        formatter.begin_object(&mut sink())?;
        formatter.begin_array(&mut sink())?;
        Ok(Self { out, formatter, is_first: true })
    }

    /// Writes one more row.
    pub(crate) fn push(&mut self, row: &impl Serialize) -> Result<()> {
        self.formatter.begin_array_value(&mut self.out, self.is_first)?;
        row.serialize(&mut Serializer::with_formatter(&mut self.out, self.formatter.clone()))?;
        self.is_first = false;
        self.formatter.end_array_value(&mut self.out)
    }

    /// Ends list and object.
    pub(crate) fn end(mut self) -> Result<W> {
        self.formatter.end_array(&mut self.out)?;
        self.formatter.end_object_value(&mut self.out)?;
        self.formatter.end_object(&mut self.out)?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::ser::{CompactFormatter, PrettyFormatter};

    #[derive(Serialize)]
    struct Table {
        name: String,
        kinds: Vec<u8>,
        rows: Vec<(f64, Option<String>, Vec<u8>)>,
    }

    #[test]
    fn rows_one_by_one_are_the_bytes_of_the_whole() {
        for n in 0..4 {
            let row = |i: u8| (f64::from(i) / 3.0, (i > 0).then(|| format!("a]\n\"{i}")), (0..i).collect());
            let whole = Table { name: "]}".into(), kinds: vec![1, 2], rows: (0..n).map(row).collect() };
            let head = Table { name: "]}".into(), kinds: vec![1, 2], rows: Vec::new() };
            fn written(formatter: impl Formatter + Clone, head: &Table, whole: &Table) -> Vec<u8> {
                let mut rows = JsonRows::begin(Vec::new(), formatter, head).unwrap();
                whole.rows.iter().for_each(|row| rows.push(row).unwrap());
                rows.end().unwrap()
            }
            assert_eq!(written(CompactFormatter, &head, &whole), serde_json::to_vec(&whole).unwrap());
            assert_eq!(
                written(PrettyFormatter::new(), &head, &whole),
                serde_json::to_vec_pretty(&whole).unwrap()
            );
        }
    }
}
