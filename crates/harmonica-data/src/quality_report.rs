//! What was kept and dropped of a corpus, and why: for programs, for spreadsheets, and as a list of names.
//!
//! In: [`QualityRow`]s; out: `quality.json`, `quality.csv`, `blacklist.txt` and `quality.html`.
//! Invariant: rows = kept + dropped by reason.

use crate::{DataError, quality_page};
use harmonica_audio::QualityStats;
use harmonica_config_schema::QualityThresholds;
use harmonica_storage::{StorageError, make_directory, publish};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// One judged utterance.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct QualityRow {
    /// Utterance.
    pub id: String,
    /// Speaker.
    pub speaker: String,
    /// Audio file, relative to the corpus.
    pub audio: String,
    /// Transcript, normalized where that was possible.
    pub text: String,
    /// Characters of the normalized transcript a second; absent if the audio or the text could not be used.
    pub chars_per_s: Option<f64>,
    /// How far the characters a second are from the speaker's median, in robust standard deviations.
    pub rate_deviation: Option<f64>,
    /// How badly a model predicts the codes from the text, in nats a token, where one was asked: high values are suspected
    /// transcripts.
    pub cross_entropy: Option<f64>,
    /// How far the cross-entropy is from the speaker's median, in robust standard deviations.
    pub cross_entropy_deviation: Option<f64>,
    /// Its figures; absent if the audio could not be read.
    pub stats: Option<QualityStats>,
    /// Why it was dropped; empty if it was kept.
    pub reasons: Vec<String>,
    /// What went wrong in words, where the audio or text could not be used at all.
    pub detail: Option<String>,
}

/// All judged utterances of a corpus.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QualityReport {
    /// Version of this record.
    pub format_version: u32,
    /// Rows of the manifest; always `kept` plus the sum of `dropped_utterances`.
    pub rows: usize,
    /// Utterances kept.
    pub kept: usize,
    /// Utterances dropped.
    pub dropped_utterances: usize,
    /// Utterances dropped by their first reason.
    pub dropped: BTreeMap<String, usize>,
    /// Thresholds that were applied.
    pub thresholds: QualityThresholds,
    /// Every utterance.
    pub utterances: Vec<QualityRow>,
}

impl QualityReport {
    /// Sums rows up.
    pub fn new(thresholds: QualityThresholds, utterances: Vec<QualityRow>) -> Self {
        let mut dropped = BTreeMap::new();
        for reason in utterances.iter().filter_map(|u| u.reasons.first()) {
            *dropped.entry(reason.clone()).or_insert(0) += 1;
        }
        let dropped_utterances = dropped.values().sum();
        Self {
            format_version: 3,
            rows: utterances.len(),
            kept: utterances.len() - dropped_utterances,
            dropped_utterances,
            dropped,
            thresholds,
            utterances,
        }
    }

    /// Writes [`Self::files`] into a directory.
    ///
    /// # Errors
    /// A directory that cannot be written to.
    pub fn write(&self, dir: &Path) -> Result<(), DataError> {
        make_directory(dir)?;
        for (name, content) in self.files()? {
            publish(&dir.join(name), &content)?;
        }
        Ok(())
    }

    /// Names and contents of `quality.json`, `quality.csv`, `blacklist.txt` and `quality.html`.
    ///
    /// # Errors
    /// A figure that cannot be written down.
    pub fn files(&self) -> Result<[(&'static str, Vec<u8>); 4], DataError> {
        let (json, (csv, page)) = rayon::join(
            || serde_json::to_vec_pretty(self),
            || rayon::join(|| self.csv(), || quality_page::page(self)),
        );
        let json = json.map_err(|e| StorageError::encode(Path::new("quality.json"), e))?;
        let dropped = self.utterances.iter().filter(|r| !r.reasons.is_empty());
        let blacklist: String = dropped.map(|r| format!("{}\n", r.id)).collect();
        Ok([
            ("quality.json", json),
            ("quality.csv", csv.into_bytes()),
            ("blacklist.txt", blacklist.into_bytes()),
            ("quality.html", page.into_bytes()),
        ])
    }

    /// A line an utterance.
    fn csv(&self) -> String {
        let mut csv =
            "id,speaker,kept,reasons,duration_s,peak,rms_db,clipped_share,longest_silence_s,snr_db,voiced_share,sample_rate_hz,chars_per_s,rate_deviation,cross_entropy,cross_entropy_deviation\n"
                .to_owned();
        for row in &self.utterances {
            let figures = row.stats.map_or_else(
                || ",,,,,,,".to_owned(),
                |s| {
                    format!(
                        "{:.3},{:.4},{:.2},{:.6},{:.2},{:.1},{:.3},{}",
                        s.duration_s,
                        s.peak,
                        s.rms_db,
                        s.clipped_share,
                        s.longest_silence_s,
                        s.snr_db,
                        s.voiced_share,
                        s.sample_rate_hz
                    )
                },
            );
            let speaker = format!("\"{}\"", row.speaker.replace('"', "\"\""));
            csv.push_str(&format!(
                "{},{speaker},{},{},{figures},{},{},{},{}\n",
                row.id,
                row.reasons.is_empty(),
                row.reasons.join(" "),
                figure(row.chars_per_s),
                figure(row.rate_deviation),
                row.cross_entropy.map_or_else(String::new, |nats| format!("{nats:.4}")),
                figure(row.cross_entropy_deviation)
            ));
        }
        csv
    }
}

fn figure(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{value:.2}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_and_dropped_add_up() {
        let row = |id: &str, reasons: &[&str]| QualityRow {
            id: id.into(),
            speaker: "s".into(),
            reasons: reasons.iter().map(|r| (*r).to_owned()).collect(),
            ..QualityRow::default()
        };
        let rows = vec![row("a", &[]), row("b", &["clipped", "noisy"]), row("c", &["noisy"])];
        let report = QualityReport::new(QualityThresholds::default(), rows);
        assert_eq!((report.rows, report.kept, report.dropped_utterances), (3, 1, 2));
        assert_eq!(report.dropped.values().sum::<usize>(), 2);
    }
}
