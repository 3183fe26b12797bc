//! Decides which utterances may be trained on. In: [`QualityStats`]; out: [`QualityVerdict`].
//!
//! Measuring is `harmonica_audio`'s job; this module only judges and reports.
//! Invariant: the same stats and thresholds always give the same verdict and the same reasons.

use crate::DataError;
use harmonica_audio::QualityStats;
use harmonica_config_schema::QualityThresholds;
use harmonica_storage::{StorageError, make_directory, publish};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Judges utterances by thresholds.
#[derive(Debug, Clone)]
pub struct QualityFilter {
    thresholds: QualityThresholds,
}

/// Whether an utterance may be trained on. Kept if no reason speaks against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QualityVerdict {
    /// Short names of what speaks against it, such as `clipped`.
    pub reasons: Vec<String>,
}

impl QualityVerdict {
    /// Whether the utterance may be trained on.
    pub fn kept(&self) -> bool {
        self.reasons.is_empty()
    }
}

impl QualityFilter {
    /// A filter with these thresholds.
    pub fn new(thresholds: QualityThresholds) -> Self {
        Self { thresholds }
    }

    /// Judges one utterance by its figures and the length of its normalized text.
    pub fn judge(&self, stats: &QualityStats, n_characters: usize) -> QualityVerdict {
        let t = &self.thresholds;
        let chars_per_s = n_characters as f64 / stats.duration_s.max(1e-9);
        let checks = [
            (stats.duration_s < t.min_duration_s, "too_short"),
            (stats.duration_s > t.max_duration_s, "too_long"),
            (stats.longest_silence_s > t.max_silence_s, "long_silence"),
            (stats.clipped_share > t.max_clipped_share, "clipped"),
            (stats.snr_db < t.min_snr_db, "noisy"),
            (chars_per_s < t.min_chars_per_s, "text_too_short"),
            (chars_per_s > t.max_chars_per_s, "text_too_long"),
        ];
        let reasons =
            checks.into_iter().filter(|(against, _)| *against).map(|(_, reason)| reason.to_owned()).collect();
        QualityVerdict { reasons }
    }
}

/// One judged utterance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QualityRow {
    /// Utterance.
    pub id: String,
    /// Speaker.
    pub speaker: String,
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
            format_version: 1,
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

    /// Names and contents of `quality.json`, `quality.csv` and `blacklist.txt`.
    ///
    /// # Errors
    /// A figure that cannot be written down.
    pub fn files(&self) -> Result<[(&'static str, Vec<u8>); 3], DataError> {
        let json = serde_json::to_vec_pretty(self)
            .map_err(|e| StorageError::encode(Path::new("quality.json"), e))?;
        let mut csv =
            "id,speaker,kept,reasons,duration_s,peak,rms_db,clipped_share,longest_silence_s,snr_db\n"
                .to_owned();
        for row in &self.utterances {
            let figures = row.stats.map_or_else(
                || ",,,,,".to_owned(),
                |s| {
                    format!(
                        "{:.3},{:.4},{:.2},{:.6},{:.2},{:.1}",
                        s.duration_s, s.peak, s.rms_db, s.clipped_share, s.longest_silence_s, s.snr_db
                    )
                },
            );
            let speaker = format!("\"{}\"", row.speaker.replace('"', "\"\""));
            csv.push_str(&format!(
                "{},{speaker},{},{},{figures}\n",
                row.id,
                row.reasons.is_empty(),
                row.reasons.join(" ")
            ));
        }
        let dropped = self.utterances.iter().filter(|r| !r.reasons.is_empty());
        let blacklist: String = dropped.map(|r| format!("{}\n", r.id)).collect();
        Ok([
            ("quality.json", json),
            ("quality.csv", csv.into_bytes()),
            ("blacklist.txt", blacklist.into_bytes()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> QualityStats {
        QualityStats {
            duration_s: 2.0,
            peak: 0.7,
            rms_db: -20.0,
            clipped_share: 0.0,
            longest_silence_s: 0.1,
            snr_db: 40.0,
        }
    }

    #[test]
    fn each_threshold_drops_with_its_own_reason() {
        let filter = QualityFilter::new(QualityThresholds::default());
        assert!(filter.judge(&good(), 30).kept());
        for (stats, n_characters, reason) in [
            (QualityStats { duration_s: 0.1, ..good() }, 2, "too_short"),
            (QualityStats { duration_s: 16.0, ..good() }, 200, "too_long"),
            (QualityStats { longest_silence_s: 3.0, ..good() }, 30, "long_silence"),
            (QualityStats { clipped_share: 0.01, ..good() }, 30, "clipped"),
            (QualityStats { snr_db: 3.0, ..good() }, 30, "noisy"),
            (good(), 2, "text_too_short"),
            (good(), 200, "text_too_long"),
        ] {
            assert_eq!(filter.judge(&stats, n_characters).reasons, [reason]);
        }
    }

    #[test]
    fn kept_and_dropped_add_up() {
        let row = |id: &str, reasons: &[&str]| QualityRow {
            id: id.into(),
            speaker: "s".into(),
            stats: None,
            reasons: reasons.iter().map(|r| (*r).to_owned()).collect(),
            detail: None,
        };
        let rows = vec![row("a", &[]), row("b", &["clipped", "noisy"]), row("c", &["noisy"])];
        let report = QualityReport::new(QualityThresholds::default(), rows);
        assert_eq!((report.rows, report.kept, report.dropped_utterances), (3, 1, 2));
        assert_eq!(report.dropped.values().sum::<usize>(), 2);
    }
}
