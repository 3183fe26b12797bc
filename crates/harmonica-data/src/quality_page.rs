//! `quality.html`: a corpus at a glance, in one file.
//!
//! In: a [`QualityReport`]; out: a page with histograms, a table of speakers and the worst examples with players. Invariant: the
//! page loads nothing from a network; players point at the corpus beside it, by the paths of the manifest. What lies in a table has no
//! player, because no browser plays a row of it.

use crate::suspects::SUSPECT_DEVIATIONS;
use crate::{QualityReport, QualityRow};
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

/// The page of a report.
pub(crate) fn page(report: &QualityReport) -> String {
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Corpus quality</title><style>{STYLE}</style>\
         <h1>Corpus quality</h1><p>{} rows: {} kept, {} dropped.</p>",
        report.rows, report.kept, report.dropped_utterances
    );
    html.push_str("<h2>Dropped, by first reason</h2><table><tr><th>reason<th>utterances</tr>");
    for (reason, n) in &report.dropped {
        let _ = write!(html, "<tr><td>{}<td>{n}</tr>", escaped(reason));
    }
    html.push_str("</table><h2>Distributions</h2>");
    type Figure = fn(&QualityRow) -> Option<f64>;
    fn of(row: &QualityRow, figure: fn(&QualityStats) -> f64) -> Option<f64> {
        row.stats.as_ref().map(figure)
    }
    let figures: [(&str, Figure); 7] = [
        ("duration, s", |row| of(row, |s| s.duration_s)),
        ("characters a second", |row| row.chars_per_s),
        ("robust deviations from the speaker's rate", |row| row.rate_deviation),
        ("signal over noise, dB", |row| of(row, |s| s.snr_db)),
        ("longest silence, s", |row| of(row, |s| s.longest_silence_s)),
        ("voiced share", |row| of(row, |s| s.voiced_share)),
        ("a model's cross-entropy, nats a token", |row| row.cross_entropy),
    ];
    for (name, figure) in figures {
        html.push_str(&histogram(name, report.utterances.iter().filter_map(figure).collect()));
    }
    html.push_str(&suspects(report));
    html.push_str(&speakers(report));
    html.push_str(&examples(report));
    html.push_str("</html>\n");
    html
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

fn speakers(report: &QualityReport) -> String {
    let mut by_speaker: BTreeMap<&str, Vec<&QualityRow>> = BTreeMap::new();
    for row in &report.utterances {
        by_speaker.entry(&row.speaker).or_default().push(row);
    }
    let mut html =
        "<h2>Speakers</h2><table><tr><th>speaker<th>rows<th>kept<th>minutes kept<th>characters a second<th>\
                    signal over noise, dB</tr>"
            .to_owned();
    for (speaker, rows) in by_speaker {
        let kept: Vec<&&QualityRow> = rows.iter().filter(|row| row.reasons.is_empty()).collect();
        let stats = || kept.iter().filter_map(|row| row.stats.as_ref());
        let median = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"))
        };
        let _ = write!(
            html,
            "<tr><td>{}<td>{}<td>{}<td>{:.1}<td>{}<td>{}</tr>",
            escaped(speaker),
            rows.len(),
            kept.len(),
            stats().map(|s| s.duration_s).sum::<f64>() / 60.0,
            median(kept.iter().filter_map(|row| row.chars_per_s).collect()),
            median(stats().map(|s| s.snr_db).collect()),
        );
    }
    html + "</table>"
}

/// The rows of each reason that are furthest from what is usual; a model's doubts count first.
fn examples(report: &QualityReport) -> String {
    let mut by_reason: BTreeMap<&str, Vec<&QualityRow>> = BTreeMap::new();
    for row in &report.utterances {
        if let Some(reason) = row.reasons.first() {
            by_reason.entry(reason).or_default().push(row);
        }
    }
    let mut html =
        "<h2>Examples</h2><p class=\"note\">Players work where this page lies in the corpus directory.</p>"
            .to_owned();
    for (reason, mut rows) in by_reason {
        let far = |row: &QualityRow| row.cross_entropy.or(row.rate_deviation.map(f64::abs)).unwrap_or(0.0);
        rows.sort_by(|a, b| far(b).total_cmp(&far(a)).then_with(|| a.id.cmp(&b.id)));
        let _ = write!(html, "<h3>{} ({})</h3><table>", escaped(reason), rows.len());
        for row in rows.into_iter().take(EXAMPLES) {
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

/// Transcripts that a model does not believe, where one was asked.
fn suspects(report: &QualityReport) -> String {
    if report.utterances.iter().all(|row| row.cross_entropy.is_none()) {
        return String::new();
    }
    let suspects = report.suspects();
    let mut html = format!(
        "<h2>Suspected transcripts ({})</h2><p class=\"note\">A model predicts these at least {SUSPECT_DEVIATIONS} robust \
         deviations worse than is usual for their speaker.</p><table>",
        suspects.len()
    );
    for row in suspects.into_iter().take(5 * EXAMPLES) {
        let [nats, far] = [row.cross_entropy, row.cross_entropy_deviation].map(Option::unwrap_or_default);
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
        let html = page(&QualityReport::new(QualityThresholds::default(), vec![row]));
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
        let html = |audio| page(&QualityReport::new(QualityThresholds::default(), vec![row(audio)]));
        assert!(html("wavs/a.wav").contains("<audio controls preload=\"none\" src=\"wavs/a.wav\">"));
        let html = html("data/train-0.parquet");
        assert!(!html.contains("<audio") && html.contains("<td>in data/train-0.parquet</tr>"), "{html}");
    }
}
