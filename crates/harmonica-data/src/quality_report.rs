//! What was kept and dropped of a corpus, and why: for programs, for spreadsheets, and as a list of names.
//!
//! In: [`QualityRow`]s, one after the other; out: `quality.json`, `quality.csv`, `blacklist.txt` and `quality.html`.
//! Invariant: rows = kept + dropped by reason; of a row nothing stays in memory but the figures that the page is drawn from.

use crate::DataError;
use crate::json_rows::JsonRows;
use crate::quality_page::Page;
use harmonica_audio::QualityStats;
use harmonica_config_schema::QualityThresholds;
use harmonica_storage::{FileCheck, Sealed, StorageError, make_directory, publish, publish_from};
use serde::{Deserialize, Serialize};
use serde_json::ser::PrettyFormatter;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

const JSON: &str = "quality.json";
const CSV: &str = "quality.csv";
const BLACKLIST: &str = "blacklist.txt";
/// Written last, because it shows all rows together.
pub(crate) const PAGE: &str = "quality.html";
/// Files with something for each row.
pub(crate) const ROW_FILES: [&str; 3] = [JSON, CSV, BLACKLIST];

const CSV_HEAD: &str = "id,speaker,kept,reasons,duration_s,peak,rms_db,clipped_share,longest_silence_s,snr_db,voiced_share,sample_rate_hz,chars_per_s,rate_deviation,cross_entropy,cross_entropy_deviation\n";

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

/// What was kept and dropped of a corpus, in sum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QualitySummary {
    /// Version of this record.
    pub format_version: u32,
    /// Rows of the manifest; always `kept` plus the sum of `dropped`.
    pub rows: usize,
    /// Utterances kept.
    pub kept: usize,
    /// Utterances dropped.
    pub dropped_utterances: usize,
    /// Utterances dropped by their first reason.
    pub dropped: BTreeMap<String, usize>,
    /// Thresholds that were applied.
    pub thresholds: QualityThresholds,
}

impl QualitySummary {
    /// Of a corpus without rows.
    pub(crate) fn new(thresholds: QualityThresholds) -> Self {
        Self {
            format_version: 3,
            rows: 0,
            kept: 0,
            dropped_utterances: 0,
            dropped: BTreeMap::new(),
            thresholds,
        }
    }

    /// Counts one more row.
    pub(crate) fn count(&mut self, row: &QualityRow) {
        self.rows += 1;
        match row.reasons.first() {
            None => self.kept += 1,
            Some(reason) => {
                self.dropped_utterances += 1;
                *self.dropped.entry(reason.clone()).or_default() += 1;
            }
        }
    }

    /// Reads it from the report in a cache.
    pub(crate) fn read(cache: &Path) -> Result<Self, DataError> {
        let damaged = |reason: String| DataError::DamagedCache { path: cache.to_owned(), reason };
        let sealed = Sealed::open(cache).map_err(|check| damaged(check.to_string()))?;
        let json = sealed.reader(JSON).map_err(|check| damaged(check.to_string()))?;
        serde_json::from_reader(json).map_err(|e| damaged(format!("{JSON}: {e}")))
    }
}

/// All judged utterances of a corpus, as `quality.json` holds them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QualityReport {
    /// What was kept and dropped, in sum.
    #[serde(flatten)]
    pub summary: QualitySummary,
    /// Every utterance.
    pub utterances: Vec<QualityRow>,
}

impl QualityReport {
    /// Sums rows up.
    pub fn new(thresholds: QualityThresholds, utterances: Vec<QualityRow>) -> Self {
        let mut summary = QualitySummary::new(thresholds);
        utterances.iter().for_each(|row| summary.count(row));
        Self { summary, utterances }
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
        let written = || {
            let mut writer = ReportWriter::begin(&self.summary, [(); 3].map(|()| Vec::new()))?;
            self.utterances.iter().try_for_each(|row| writer.push(row))?;
            writer.end(&self.summary)
        };
        let ([json, csv, blacklist], page) =
            written().map_err(|e| StorageError::encode(Path::new(JSON), e))?;
        Ok([(JSON, json), (CSV, csv), (BLACKLIST, blacklist), (PAGE, page.into_bytes())])
    }
}

/// Writes the report that lies in a cache into another directory too.
///
/// # Errors
/// A cache that is damaged, or a directory that cannot be written to.
pub fn copy_report(cache: &Path, to: &Path) -> Result<(), DataError> {
    let damaged =
        |check: FileCheck| DataError::DamagedCache { path: cache.to_owned(), reason: check.to_string() };
    let sealed = Sealed::open(cache).map_err(damaged)?;
    make_directory(to)?;
    for name in [JSON, CSV, BLACKLIST, PAGE] {
        publish_from(&to.join(name), &mut sealed.reader(name).map_err(damaged)?)?;
    }
    Ok(())
}

/// The files of a report, written row by row.
pub(crate) struct ReportWriter<W> {
    json: JsonRows<W, PrettyFormatter<'static>>,
    csv: W,
    blacklist: W,
    page: Page,
}

impl<W: Write> ReportWriter<W> {
    /// Begins the report of rows that were counted already, in the files of [`ROW_FILES`].
    pub(crate) fn begin(
        summary: &QualitySummary,
        [json, mut csv, blacklist]: [W; 3],
    ) -> std::io::Result<Self> {
        csv.write_all(CSV_HEAD.as_bytes())?;
        let head = QualityReport { summary: summary.clone(), utterances: Vec::new() };
        let json = JsonRows::begin(json, PrettyFormatter::new(), &head)?;
        Ok(Self { json, csv, blacklist, page: Page::default() })
    }

    /// Writes one more row.
    pub(crate) fn push(&mut self, row: &QualityRow) -> std::io::Result<()> {
        self.json.push(row)?;
        self.csv.write_all(csv_line(row).as_bytes())?;
        if !row.reasons.is_empty() {
            writeln!(self.blacklist, "{}", row.id)?;
        }
        self.page.push(row);
        Ok(())
    }

    /// Gives the files back, and the content of `quality.html`.
    pub(crate) fn end(self, summary: &QualitySummary) -> std::io::Result<([W; 3], String)> {
        Ok(([self.json.end()?, self.csv, self.blacklist], self.page.html(summary)))
    }
}

/// A line of `quality.csv`.
fn csv_line(row: &QualityRow) -> String {
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
    format!(
        "{},{speaker},{},{},{figures},{},{},{},{}\n",
        row.id,
        row.reasons.is_empty(),
        row.reasons.join(" "),
        figure(row.chars_per_s),
        figure(row.rate_deviation),
        row.cross_entropy.map_or_else(String::new, |nats| format!("{nats:.4}")),
        figure(row.cross_entropy_deviation)
    )
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
        let summary = &report.summary;
        assert_eq!((summary.rows, summary.kept, summary.dropped_utterances), (3, 1, 2));
        assert_eq!(summary.dropped.values().sum::<usize>(), 2);
        let json = serde_json::to_vec_pretty(&report).unwrap();
        assert_eq!(report.files().unwrap()[0].1, json);
        assert_eq!(*summary, serde_json::from_slice(&json).unwrap());
    }
}
