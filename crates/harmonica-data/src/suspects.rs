//! Transcripts that a model does not believe.
//!
//! In: a table of cross-entropies, one an utterance, that somebody measured with a trained model; out: the same quality report with
//! every figure and how far it is from what is usual for the speaker. Invariant: nothing is kept or dropped for it; whom to
//! believe, the model or the transcript, is for people to hear.

use crate::selection::median_and_spread;
use crate::{DataError, QualityReport, QualityRow};
use std::collections::BTreeMap;
use std::path::Path;

/// Robust standard deviations above a speaker's median from which a transcript is suspected.
pub(crate) const SUSPECT_DEVIATIONS: f64 = 4.0;

/// Fewest figures of which a median and a spread are made: of three, one that is a little off is many deviations away. Speakers with fewer are
/// held against the corpus as a whole, and in a corpus with fewer nobody is suspected.
const FEWEST_FIGURES: usize = 8;

/// Reads a table of cross-entropies: lines of id, tab, nats a token.
///
/// # Errors
/// A file that cannot be read, or a malformed line with its number.
pub fn read_cross_entropies(path: &Path) -> Result<BTreeMap<String, f64>, DataError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<BTreeMap<String, f64>, DataError> {
    let mut figures = BTreeMap::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let refuse = |reason: String| DataError::Manifest { path: path.to_owned(), line: i + 1, reason };
        let (id, nats) = line.split_once('\t').ok_or_else(|| refuse("expected id, tab, nats".into()))?;
        let nats: f64 = nats.trim().parse().map_err(|e| refuse(format!("{nats:?} is no number: {e}")))?;
        if !(nats.is_finite() && nats >= 0.0) {
            return Err(refuse(format!("{nats} nats are no cross-entropy")));
        }
        if figures.insert(id.to_owned(), nats).is_some() {
            return Err(refuse(format!("`{id}` occurs twice")));
        }
    }
    Ok(figures)
}

impl QualityReport {
    /// Puts a model's cross-entropies beside the other figures. Utterances without one stay as they are.
    ///
    /// # Errors
    /// The name of an utterance that the corpus does not have: the table is of another one.
    pub fn with_cross_entropies(mut self, mut figures: BTreeMap<String, f64>) -> Result<Self, DataError> {
        let mut by_speaker: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for row in &mut self.utterances {
            row.cross_entropy = figures.remove(&row.id);
            by_speaker.entry(row.speaker.clone()).or_default().extend(row.cross_entropy);
        }
        if let Some(id) = figures.into_keys().next() {
            return Err(DataError::UnknownUtterance { id });
        }
        let usual = |values: Vec<f64>| (values.len() >= FEWEST_FIGURES).then(|| median_and_spread(values));
        let of_corpus = usual(by_speaker.values().flatten().copied().collect());
        let of_speaker: BTreeMap<String, Option<(f64, f64)>> =
            by_speaker.into_iter().map(|(speaker, values)| (speaker, usual(values).or(of_corpus))).collect();
        for row in &mut self.utterances {
            row.cross_entropy_deviation = match (row.cross_entropy, of_speaker[&row.speaker]) {
                (Some(nats), Some((median, spread))) => Some((nats - median) / spread),
                _ => None,
            };
        }
        Ok(self)
    }

    /// Utterances that a model predicts far worse than is usual for their speaker, the worst first.
    pub fn suspects(&self) -> Vec<&QualityRow> {
        let far = |row: &QualityRow| row.cross_entropy_deviation.unwrap_or(f64::NEG_INFINITY);
        let mut rows: Vec<&QualityRow> =
            self.utterances.iter().filter(|row| far(row) >= SUSPECT_DEVIATIONS).collect();
        rows.sort_by(|a, b| far(b).total_cmp(&far(a)).then_with(|| a.id.cmp(&b.id)));
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harmonica_config_schema::QualityThresholds;

    fn report() -> QualityReport {
        let row = |i: usize| QualityRow {
            id: format!("u{i}"),
            speaker: ["ann", "bob"][i % 2].into(),
            ..QualityRow::default()
        };
        QualityReport::new(QualityThresholds::default(), (0..80).map(row).collect())
    }

    /// Bob is harder to predict than Ann in general.
    fn figures() -> BTreeMap<String, f64> {
        let usual = |i: usize| [3.0, 5.0][i % 2] + (i * 37 % 11) as f64 * 0.02;
        (0..78).map(|i| (format!("u{i}"), usual(i))).collect()
    }

    #[test]
    fn suspects_are_far_from_their_own_speaker_and_the_worst_come_first() {
        let mut figures = figures();
        // Usual for Bob, and not for Ann.
        figures.insert("u4".into(), 5.1);
        figures.insert("u7".into(), 9.0);
        let report = report().with_cross_entropies(figures).unwrap();
        let suspects: Vec<&str> = report.suspects().iter().map(|row| row.id.as_str()).collect();
        assert_eq!(suspects, ["u7", "u4"]);
        assert_eq!((report.summary.kept, report.summary.dropped_utterances), (80, 0));
        assert!(report.utterances[79].cross_entropy.is_none());
        let files = report.files().unwrap();
        let csv = String::from_utf8(files[1].1.clone()).unwrap();
        assert!(csv.lines().next().unwrap().ends_with(",cross_entropy,cross_entropy_deviation"));
        assert!(csv.lines().nth(8).unwrap().contains(",9.0000,"), "{csv}");
        assert!(csv.lines().all(|line| line.split(',').count() == 16), "{csv}");
        let page = String::from_utf8(files[3].1.clone()).unwrap();
        assert!(page.contains("Suspected transcripts (2)") && page.find("u7") < page.find("u4"));
    }

    #[test]
    fn speakers_of_few_utterances_are_held_against_the_corpus_and_a_corpus_of_few_suspects_nobody() {
        let suspects = |n: usize, nats: [f64; 3]| {
            let row = |id: String, speaker: &str| QualityRow {
                id,
                speaker: speaker.into(),
                ..QualityRow::default()
            };
            let mut rows: Vec<QualityRow> = (0..n).map(|i| row(format!("a{i}"), "ann")).collect();
            rows.extend((0..3).map(|i| row(format!("c{i}"), "cid")));
            let ann = (0..n).map(|i| (format!("a{i}"), 3.0 + (i * 37 % 11) as f64 * 0.05));
            let figures = ann.chain((0..3).map(|i| (format!("c{i}"), nats[i]))).collect();
            let report = QualityReport::new(QualityThresholds::default(), rows).with_cross_entropies(figures);
            report.unwrap().suspects().iter().map(|row| row.id.clone()).collect::<Vec<_>>()
        };
        // A little off, by any measure but that of three figures.
        assert!(suspects(40, [3.20, 3.21, 3.40]).is_empty());
        assert_eq!(suspects(40, [3.20, 3.21, 9.0]), ["c2"]);
        assert!(suspects(4, [3.20, 3.21, 9.0]).is_empty());
    }

    #[test]
    fn a_table_of_another_corpus_or_with_a_malformed_line_is_refused() {
        let mut figures = figures();
        figures.insert("stranger".into(), 3.0);
        let error = report().with_cross_entropies(figures).unwrap_err().to_string();
        assert!(error.contains("stranger"), "{error}");
        for line in ["u1 3.0", "u1\tx", "u1\tNaN", "u1\t-1", "u0\t3.0"] {
            let error = parse(Path::new("ce.tsv"), &format!("u0\t3.0\n\n{line}\n")).unwrap_err().to_string();
            assert!(error.contains("line 3") && error.contains("ce.tsv"), "{line}: {error}");
        }
    }
}
