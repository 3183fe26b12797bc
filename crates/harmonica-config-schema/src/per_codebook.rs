//! One number for each codebook, as people write it: `0.9`, `1=0.9,2..=0.6`, `1=0.9,2..=4=0.7,5..=0.5`.
//!
//! In: text; out: the value of a codebook, counted from 1. Invariant: what was parsed names every codebook at most once.

use crate::CodebookIndex;
use serde::{Deserialize, Serialize};
use std::fmt::{Display, Formatter};

/// Values by codebook; in files, their text form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PerCodebook {
    /// First and last codebook, counted from 1, and their value.
    ranges: Vec<(usize, usize, f64)>,
}

const SYNTAX: &str =
    "write one value for all codebooks (0.9), or values by codebook (1=0.9,2..=0.6 or 2..=4=0.7)";

impl TryFrom<String> for PerCodebook {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<PerCodebook> for String {
    fn from(values: PerCodebook) -> Self {
        values.to_string()
    }
}

impl PerCodebook {
    /// One value for every codebook.
    pub fn uniform(value: f64) -> Self {
        Self { ranges: vec![(1, usize::MAX, value)] }
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// What is wrong with it and how to write it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut ranges: Vec<(usize, usize, f64)> = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (codebooks, value) = part.rsplit_once('=').unwrap_or(("1..", part));
            let value: f64 = value.trim().parse().map_err(|_| format!("{value:?} is no number; {SYNTAX}"))?;
            if !value.is_finite() {
                return Err(format!("{value} is no finite number; {SYNTAX}"));
            }
            let number = |text: &str| {
                let n = text.trim().parse().ok().filter(|n| *n >= 1);
                n.ok_or_else(|| format!("{text:?} is no codebook, they count from 1; {SYNTAX}"))
            };
            let (first, last) = match codebooks.split_once("..") {
                None => (number(codebooks)?, number(codebooks)?),
                Some((first, "")) => (number(first)?, usize::MAX),
                Some((first, last)) => {
                    let last = last.strip_prefix('=').ok_or_else(|| {
                        format!("{codebooks:?} has an open end; write 2..=4 for the codebooks 2, 3 and 4")
                    })?;
                    (number(first)?, number(last)?)
                }
            };
            if last < first {
                return Err(format!("{codebooks:?} holds no codebook; {SYNTAX}"));
            }
            if let Some((a, b, _)) = ranges.iter().find(|(a, b, _)| first <= *b && *a <= last) {
                return Err(format!(
                    "the codebooks from {} to {} stand twice; {SYNTAX}",
                    first.max(*a),
                    last.min(*b)
                ));
            }
            ranges.push((first, last, value));
        }
        Ok(Self { ranges })
    }

    /// The value of a codebook, where one is named.
    pub fn at(&self, codebook: CodebookIndex) -> Option<f64> {
        let number = codebook.zero_based() + 1;
        self.ranges
            .iter()
            .find(|(first, last, _)| (*first..=*last).contains(&number))
            .map(|(.., value)| *value)
    }

    /// Whether a codebook from `first` on has a value.
    pub fn reaches(&self, first: CodebookIndex) -> bool {
        self.ranges.iter().any(|(_, last, _)| *last > first.zero_based())
    }

    /// All values.
    pub fn values(&self) -> impl Iterator<Item = f64> {
        self.ranges.iter().map(|(.., value)| *value)
    }
}

impl Display for PerCodebook {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        for (i, (first, last, value)) in self.ranges.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            match (*first, *last) {
                (1, usize::MAX) => write!(f, "{comma}{value}")?,
                (first, usize::MAX) => write!(f, "{comma}{first}..={value}")?,
                (first, last) if first == last => write!(f, "{comma}{first}={value}")?,
                (first, last) => write!(f, "{comma}{first}..={last}={value}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_codebook_gets_its_own_value() {
        let at = |text: &str, n: usize| {
            PerCodebook::parse(text).unwrap().at(CodebookIndex::from_zero_based(n - 1))
        };
        assert_eq!([1, 2, 9].map(|n| at("0.9", n)), [Some(0.9); 3]);
        assert_eq!([1, 2, 9].map(|n| at("1=0.9,2..=0.6", n)), [Some(0.9), Some(0.6), Some(0.6)]);
        assert_eq!([1, 2, 4, 5].map(|n| at("2..=4=0.7", n)), [None, Some(0.7), Some(0.7), None]);
        for text in ["0.9", "1=0.9,2..=0.6", "1=1,2..=4=0.7,5..=0.5"] {
            assert_eq!(PerCodebook::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn mistakes_say_how_to_write_it() {
        for (text, word) in [
            ("", "no number"),
            ("x", "no number"),
            ("1=0.9,", "no number"),
            ("0=0.9", "count from 1"),
            ("4..=2=0.9", "no codebook"),
            ("1..3=0.9", "2..=4"),
            ("0.9,2=0.5", "twice"),
            ("nan", "finite"),
        ] {
            let error = PerCodebook::parse(text).unwrap_err();
            assert!(error.contains(word) && error.contains("write"), "{text}: {error}");
        }
    }
}
