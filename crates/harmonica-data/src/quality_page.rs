//! `quality.html`: a corpus at a glance, in one file.
//!
//! In: [`QualityRow`]s, one after the other; out: a page with histograms, a table of speakers and the worst examples with players. Invariant: the
//! page loads nothing from a network; players point at the corpus beside it, by the paths of the manifest. What lies in a table has no
//! player, because no browser plays a row of it.
//! Of a row that is not shown only its figures are held.

use crate::suspects::SUSPECT_DEVIATIONS;
use crate::{QualityRow, QualitySummary};
use harmonica_audio::QualityStats;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Worst examples shown a reason.
const EXAMPLES: usize = 8;
/// Bars of a histogram.
const BARS: usize = 40;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222}\
table{border-collapse:collapse;width:100%}td,th{padding:.2rem .6rem;border-bottom:1px solid #ddd;text-align:right}\
td:first-child,th:first-child{text-align:left}figure{display:inline-block;margin:0 1.5rem 1rem 0}figcaption{font-size:13px;color:#555}\
rect{fill:#4a7ab5}audio{height:1.8rem;width:16rem}.note{color:#555}";

type Figure = fn(&QualityRow) -> Option<f64>;

/// What the histograms show.
const FIGURES: [(&str, Figure); 7] = [
    ("duration, s", |row| of(row, |s| s.duration_s)),
    ("characters a second", |row| row.chars_per_s),
    ("robust deviations from the speaker's rate", |row| row.rate_deviation),
    ("signal over noise, dB", |row| of(row, |s| s.snr_db)),
    ("longest silence, s", |row| of(row, |s| s.longest_silence_s)),
    ("voiced share", |row| of(row, |s| s.voiced_share)),
    ("a model's cross-entropy, nats a token", |row| row.cross_entropy),
];

fn of(row: &QualityRow, figure: fn(&QualityStats) -> f64) -> Option<f64> {
    row.stats.as_ref().map(figure)
}

/// What the page will show of the rows so far.
#[derive(Debug, Default)]
pub(crate) struct Page {
    figures: [Vec<f64>; FIGURES.len()],
    speakers: BTreeMap<String, Speaker>,
    /// By the first reason against them.
    examples: BTreeMap<String, Worst>,
    suspects: Worst,
}

#[derive(Debug, Default)]
struct Speaker {
    rows: usize,
    kept: usize,
    kept_s: f64,
    /// Of those kept.
    chars_per_s: Vec<f64>,
    /// Of those kept.
    snr_db: Vec<f64>,
}

/// The rows that are furthest from what is usual, and how many there were in all.
#[derive(Debug, Default)]
struct Worst {
    n: usize,
    rows: Vec<(f64, QualityRow)>,
}

impl Worst {
    fn push(&mut self, far: f64, row: &QualityRow, most: usize) {
        self.n += 1;
        let comes_first = |(other, known): &(f64, QualityRow)| {
            far.total_cmp(other).then_with(|| known.id.cmp(&row.id)).is_le()
        };
        let at = self.rows.partition_point(comes_first);
        if at < most {
            self.rows.insert(at, (far, row.clone()));
            self.rows.truncate(most);
        }
    }
}

impl Page {
    /// Takes one more row.
    pub(crate) fn push(&mut self, row: &QualityRow) {
        for (values, (_, figure)) in self.figures.iter_mut().zip(FIGURES) {
            values.extend(figure(row));
        }
        let speaker = self.speakers.entry(row.speaker.clone()).or_default();
        speaker.rows += 1;
        match row.reasons.first() {
            None => {
                speaker.kept += 1;
                speaker.kept_s += row.stats.map_or(0.0, |stats| stats.duration_s);
                speaker.chars_per_s.extend(row.chars_per_s);
                speaker.snr_db.extend(of(row, |s| s.snr_db));
            }
            Some(reason) => {
                // A model's doubts count first.
                let far = row.cross_entropy.or(row.rate_deviation.map(f64::abs)).unwrap_or(0.0);
                self.examples.entry(reason.clone()).or_default().push(far, row, EXAMPLES);
            }
        }
        if let Some(far) = row.cross_entropy_deviation.filter(|far| *far >= SUSPECT_DEVIATIONS) {
            self.suspects.push(far, row, 5 * EXAMPLES);
        }
    }

    /// The page, of rows that were summed up.
    pub(crate) fn html(self, summary: &QualitySummary) -> String {
        let mut html = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Corpus quality</title><style>{STYLE}</style>\
             <h1>Corpus quality</h1><p>{} rows: {} kept, {} dropped.</p>",
            summary.rows, summary.kept, summary.dropped_utterances
        );
        html.push_str("<h2>Dropped, by first reason</h2><table><tr><th>reason<th>utterances</tr>");
        for (reason, n) in &summary.dropped {
            let _ = write!(html, "<tr><td>{}<td>{n}</tr>", escaped(reason));
        }
        html.push_str("</table><h2>Distributions</h2>");
        let was_asked = self.figures.last().is_some_and(|cross_entropies| !cross_entropies.is_empty());
        for (values, (name, _)) in self.figures.into_iter().zip(FIGURES) {
            html.push_str(&histogram(name, values));
        }
        if was_asked {
            html.push_str(&suspects(&self.suspects));
        }
        html.push_str(&speakers(self.speakers));
        html.push_str(&examples(&self.examples));
        html.push_str("</html>\n");
        html
    }
}

/// Bars between the 0.5th and the 99.5th percentile, which outliers would flatten.
fn histogram(name: &str, mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values.get((share * values.len().saturating_sub(1) as f64) as usize).copied();
    let (Some(low), Some(middle), Some(high)) = (at(0.005), at(0.5), at(0.995)) else { return String::new() };
    let width = ((high - low) / BARS as f64).max(1e-9);
    let mut bars = [0_usize; BARS];
    for value in &values {
        bars[(((value - low) / width).max(0.0) as usize).min(BARS - 1)] += 1;
    }
    let highest = bars.iter().copied().max().unwrap_or(1).max(1);
    let mut svg = "<figure><svg width=\"280\" height=\"84\" role=\"img\">".to_owned();
    for (i, n) in bars.iter().enumerate() {
        let height = 80.0 * *n as f64 / highest as f64;
        let _ = write!(
            svg,
            "<rect x=\"{}\" y=\"{:.1}\" width=\"6\" height=\"{height:.1}\"/>",
            i * 7,
            82.0 - height
        );
    }
    let name = escaped(name);
    let _ = write!(
        svg,
        "</svg><figcaption>{name}: {low:.2} to {high:.2}, median {middle:.2}</figcaption></figure>"
    );
    svg
}

fn speakers(speakers: BTreeMap<String, Speaker>) -> String {
    let mut html =
        "<h2>Speakers</h2><table><tr><th>speaker<th>rows<th>kept<th>minutes kept<th>characters a second<th>\
                    signal over noise, dB</tr>"
            .to_owned();
    for (name, speaker) in speakers {
        let median = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"))
        };
        let _ = write!(
            html,
            "<tr><td>{}<td>{}<td>{}<td>{:.1}<td>{}<td>{}</tr>",
            escaped(&name),
            speaker.rows,
            speaker.kept,
            speaker.kept_s / 60.0,
            median(speaker.chars_per_s),
            median(speaker.snr_db),
        );
    }
    html + "</table>"
}

/// The rows of each reason that are furthest from what is usual.
fn examples(by_reason: &BTreeMap<String, Worst>) -> String {
    let mut html =
        "<h2>Examples</h2><p class=\"note\">Players work where this page lies in the corpus directory.</p>"
            .to_owned();
    for (reason, worst) in by_reason {
        let _ = write!(html, "<h3>{} ({})</h3><table>", escaped(reason), worst.n);
        for (_, row) in &worst.rows {
            html.push_str(&example(row, row.detail.as_deref().unwrap_or_default()));
        }
        html.push_str("</table>");
    }
    html
}

/// A row of a table of examples, with a player.
fn example(row: &QualityRow, remark: &str) -> String {
    let in_table = std::path::Path::new(&row.audio).extension().is_some_and(|ending| ending == "parquet");
    let player = if row.audio.is_empty() {
        String::new()
    } else if in_table {
        format!("in {}", escaped(&row.audio))
    } else {
        format!("<audio controls preload=\"none\" src=\"{}\"></audio>", escaped(&row.audio))
    };
    format!(
        "<tr><td>{}<td>{}<td>{}<td>{player}</tr>",
        escaped(&row.id),
        escaped(&row.text.chars().take(120).collect::<String>()),
        escaped(remark)
    )
}

/// Transcripts that a model does not believe.
fn suspects(worst: &Worst) -> String {
    let mut html = format!(
        "<h2>Suspected transcripts ({})</h2><p class=\"note\">A model predicts these at least {SUSPECT_DEVIATIONS} robust \
         deviations worse than is usual for their speaker.</p><table>",
        worst.n
    );
    for (far, row) in &worst.rows {
        let nats = row.cross_entropy.unwrap_or_default();
        html.push_str(&example(row, &format!("{nats:.3} nats, {far:.1} deviations")));
    }
    html + "</table>"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use harmonica_config_schema::QualityThresholds;

    fn page(row: &QualityRow) -> String {
        let mut page = Page::default();
        page.push(row);
        page.html(&QualitySummary::new(QualityThresholds::default()))
    }

    #[test]
    fn the_worst_come_first_and_equals_in_the_order_of_their_names() {
        let mut worst = Worst::default();
        for (far, id) in [(1.0, "c"), (3.0, "b"), (1.0, "a"), (2.0, "d"), (1.0, "b"), (0.5, "e")] {
            worst.push(far, &QualityRow { id: id.into(), ..QualityRow::default() }, 4);
        }
        let ids: Vec<&str> = worst.rows.iter().map(|(_, row)| row.id.as_str()).collect();
        assert_eq!((worst.n, ids), (6, vec!["b", "d", "a", "b"]));
    }

    #[test]
    fn what_a_corpus_says_is_text_on_the_page_and_never_markup() {
        let row = QualityRow {
            id: "a".into(),
            speaker: "<script>x</script>".into(),
            audio: "wavs/\"onerror=x.wav".into(),
            text: "<img src=x>".into(),
            reasons: vec!["clipped".into()],
            chars_per_s: Some(12.0),
            ..QualityRow::default()
        };
        let html = page(&row);
        assert!(html.contains("&lt;script&gt;") && html.contains("&lt;img") && html.contains("<rect"));
        assert!(!html.contains("<script") && !html.contains("<img") && !html.contains("\"onerror"));
    }

    #[test]
    fn files_have_players_and_tables_are_named() {
        let row = |audio: &str| QualityRow {
            id: "a".into(),
            audio: audio.into(),
            reasons: vec!["clipped".into()],
            ..QualityRow::default()
        };
        let html = |audio| page(&row(audio));
        assert!(html("wavs/a.wav").contains("<audio controls preload=\"none\" src=\"wavs/a.wav\">"));
        let html = html("data/train-0.parquet");
        assert!(!html.contains("<audio") && html.contains("<td>in data/train-0.parquet</tr>"), "{html}");
    }
}
