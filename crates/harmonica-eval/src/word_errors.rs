//! Word and character errors by Levenshtein alignment.

use harmonica_text::{NORMALIZER_VERSION, normalize};

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

/// Fewest edits between two sequences. Among equally short alignments the one that the reference implementations (RapidFuzz,
/// and jiwer on top of it) report: common ends are matched first; from the end on a deletion is preferred to an insertion,
/// an insertion to a substitution.
fn align<T: PartialEq>(reference: &[T], hypothesis: &[T]) -> EditCounts {
    let prefix = reference.iter().zip(hypothesis).take_while(|(r, h)| r == h).count();
    let (reference, hypothesis) = (&reference[prefix..], &hypothesis[prefix..]);
    let suffix = reference.iter().rev().zip(hypothesis.iter().rev()).take_while(|(r, h)| r == h).count();
    let (reference, hypothesis) =
        (&reference[..reference.len() - suffix], &hypothesis[..hypothesis.len() - suffix]);
    let width = hypothesis.len() + 1;
    let mut cost: Vec<u32> = (0..width as u32).collect();
    cost.reserve(reference.len() * width);
    for (i, r) in reference.iter().enumerate() {
        cost.push(i as u32 + 1);
        for (j, h) in hypothesis.iter().enumerate() {
            let above = i * width + j;
            let diagonal = cost[above] + u32::from(r != h);
            cost.push(diagonal.min(cost[above + 1] + 1).min(cost[above + width] + 1));
        }
    }
    let at = |i: usize, j: usize| cost[i * width + j];
    let mut edits = EditCounts::default();
    let (mut i, mut j) = (reference.len(), hypothesis.len());
    while i > 0 && j > 0 {
        if at(i, j) == at(i - 1, j) + 1 {
            edits.deletions += 1;
            i -= 1;
        } else if at(i, j - 1) + 1 == at(i - 1, j - 1) {
            edits.insertions += 1;
            j -= 1;
        } else {
            edits.substitutions += usize::from(reference[i - 1] != hypothesis[j - 1]);
            i -= 1;
            j -= 1;
        }
    }
    edits.deletions += i;
    edits.insertions += j;
    edits
}

/// Name of what is done to both texts before they are compared: the normalizer, then punctuation except apostrophes is dropped.
pub fn comparison_normalizer() -> String {
    format!("{NORMALIZER_VERSION}, words without punctuation")
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
        assert_eq!((edits.substitutions, edits.deletions, edits.insertions, n), (3, 0, 0, 4));
        let (edits, _) = word_errors("open the red box", "please open red ball");
        assert_eq!((edits.substitutions, edits.deletions, edits.insertions), (1, 1, 1));
        assert_eq!(word_error_rate("two", "2"), 0.0);
        assert_eq!(word_error_rate("a b", ""), 1.0);
    }

    #[derive(serde::Deserialize)]
    struct Golden {
        pairs: Vec<(String, String, [usize; 3], [usize; 3])>,
        corpus_wer: f64,
        corpus_cer: f64,
        mean_wer: f64,
        interval: [f64; 2],
        n_samples: usize,
    }

    /// Made by jiwer and numpy (`tools/golden_errors.py`).
    #[test]
    fn edits_rates_and_interval_equal_the_reference_implementations() {
        let golden: Golden = serde_json::from_str(include_str!("../tests/golden/errors.json")).unwrap();
        for (reference, heard, words, characters) in &golden.pairs {
            let counts = |e: EditCounts| [e.substitutions, e.deletions, e.insertions];
            assert_eq!(counts(word_errors(reference, heard).0), *words, "{reference:?} | {heard:?}");
            assert_eq!(
                counts(character_errors(reference, heard).0),
                *characters,
                "{reference:?} | {heard:?}"
            );
        }
        let judged = |(text, heard, ..): &(String, String, _, _)| crate::Judged {
            record: harmonica_config_schema::record::JudgedUtterance {
                heard: Some(heard.clone()),
                ..crate::judgement::unmeasured("", text, 1.0)
            },
        };
        let summary = crate::summarise("s", golden.pairs.iter().map(judged).collect(), golden.n_samples);
        let rate = summary.word_error_rate.unwrap();
        let pairs = [
            (rate.value, golden.corpus_wer),
            (rate.low, golden.interval[0]),
            (rate.high, golden.interval[1]),
            (summary.character_error_rate.unwrap(), golden.corpus_cer),
            (summary.word_error_rate_utterance_mean.unwrap(), golden.mean_wer),
        ];
        assert!(pairs.iter().all(|(ours, theirs)| (ours - theirs).abs() < 1e-12), "{pairs:?}");
        let sum = |k: usize| golden.pairs.iter().map(|p| p.2[k]).sum::<usize>();
        assert_eq!(summary.word_errors.unwrap(), [sum(0), sum(1), sum(2)]);
        assert_eq!(summary.text_normalizer.unwrap(), comparison_normalizer());
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
