//! Word and character errors by Levenshtein alignment.

use harmonica_text::normalize;

/// Edits that turn a reference into a hypothesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EditCounts {
    /// Replaced.
    pub substitutions: usize,
    /// Missing from the hypothesis.
    pub deletions: usize,
    /// Not in the reference.
    pub insertions: usize,
}

impl EditCounts {
    /// All edits.
    pub fn total(&self) -> usize {
        self.substitutions + self.deletions + self.insertions
    }
}

/// Fewest edits between two sequences; among equals the one with fewest substitutions.
fn align<T: PartialEq>(reference: &[T], hypothesis: &[T]) -> EditCounts {
    let add = |c: EditCounts, s, d, i| EditCounts {
        substitutions: c.substitutions + s,
        deletions: c.deletions + d,
        insertions: c.insertions + i,
    };
    let mut row: Vec<EditCounts> =
        (0..=hypothesis.len()).map(|j| EditCounts { insertions: j, ..EditCounts::default() }).collect();
    for r in reference {
        let mut next = vec![add(row[0], 0, 1, 0)];
        for (j, h) in hypothesis.iter().enumerate() {
            let diagonal = if r == h { row[j] } else { add(row[j], 1, 0, 0) };
            let options = [diagonal, add(row[j + 1], 0, 1, 0), add(next[j], 0, 0, 1)];
            let best = options.into_iter().min_by_key(|c| (c.total(), c.substitutions));
            next.push(best.unwrap_or(diagonal));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// Words of a text after normalization, without punctuation.
pub(crate) fn words(text: &str) -> Vec<String> {
    let letters = |c: char| if c.is_alphanumeric() || c == '\'' { c } else { ' ' };
    normalize(text).chars().map(letters).collect::<String>().split_whitespace().map(str::to_owned).collect()
}

/// Word edits between a reference and what was heard, and the reference's words. Both are normalized first.
pub fn word_errors(reference: &str, heard: &str) -> (EditCounts, usize) {
    let reference = words(reference);
    (align(&reference, &words(heard)), reference.len())
}

/// Character edits without spaces, and the reference's characters.
pub fn character_errors(reference: &str, heard: &str) -> (EditCounts, usize) {
    let characters = |text: &str| -> Vec<char> { words(text).concat().chars().collect() };
    let reference = characters(reference);
    (align(&reference, &characters(heard)), reference.len())
}

/// Word error rate of one pair.
pub fn word_error_rate(reference: &str, heard: &str) -> f64 {
    let (edits, n) = word_errors(reference, heard);
    edits.total() as f64 / n.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn edits_are_counted_by_kind() {
        let (edits, n) = word_errors("Open the red box.", "open a box now");
        assert_eq!((edits.substitutions, edits.deletions, edits.insertions, n), (1, 1, 1, 4));
        assert_eq!(word_error_rate("two", "2"), 0.0);
        assert_eq!(word_error_rate("a b", ""), 1.0);
    }

    proptest! {
        #[test]
        fn edits_bound_the_difference_in_length(a in "[a-c ]{0,20}", b in "[a-c ]{0,20}") {
            let (edits, n) = word_errors(&a, &b);
            let m = words(&b).len();
            prop_assert!(edits.total() >= n.abs_diff(m) && edits.total() <= n.max(m));
            prop_assert_eq!(n + edits.insertions, m + edits.deletions);
        }
    }
}
