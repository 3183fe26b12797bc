//! The page: curves, tables, spectrograms and players in one file that opens offline.

use crate::picture::{base64, chart_svg, heat_map_svg, spectrogram_bmp};
use crate::report::{
    ReportInput, RunCurves, codebooks_table, criteria_table, failures_table, means_table, opinions_table,
    run_words, similarity_table, systems_table,
};
use harmonica_audio::{Waveform, load, wav_bytes};
use harmonica_config_schema::record::{
    AttentionMetrics, CodebookMetrics, EvaluationRecord, MetricsLine, ValidationMetrics,
};
use std::path::Path;

/// Sentences that get players.
const N_PLAYERS: usize = 8;

/// Extension of the picture of what a model looked at in the text, beside the wav that it spoke.
pub const ALIGNMENT: &str = "alignment.bmp";

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}\
table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #ccc;padding:.3rem .6rem;text-align:left;vertical-align:top}\
svg{max-width:44rem;width:100%;display:block}svg text{font-size:11px}img{height:64px;max-width:16rem;display:block}img.alignment{image-rendering:pixelated;margin-top:2px}\
audio{height:2rem;width:16rem}.bad{color:#b00020}.wide{overflow-x:auto}td:first-child{min-width:8rem}";

pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

pub(crate) fn table((header, rows): (Vec<&'static str>, Vec<Vec<String>>)) -> String {
    let cells = |tag: &str, row: &mut dyn Iterator<Item = &str>| -> String {
        row.map(|c| format!("<{tag}>{}</{tag}>", escape(c))).collect()
    };
    let body: String =
        rows.iter().map(|r| format!("<tr>{}</tr>", cells("td", &mut r.iter().map(String::as_str)))).collect();
    format!("<table><tr>{}</tr>{body}</table>", cells("th", &mut header.into_iter()))
}

fn player(waveform: &Waveform) -> String {
    let Ok(bytes) = wav_bytes(waveform) else { return String::new() };
    format!(
        "<img alt=\"spectrogram\" src=\"data:image/bmp;base64,{}\"><audio controls preload=\"none\" src=\"data:audio/wav;base64,{}\"></audio>",
        base64(&spectrogram_bmp(waveform)),
        base64(&bytes)
    )
}

fn player_of(path: &Path) -> String {
    load(path).map_or_else(
        |error| format!("<span class=\"bad\">{}</span>", escape(&error.to_string())),
        |w| player(&w),
    )
}

fn curves(run: &RunCurves) -> String {
    let train: Vec<(f64, f64)> = run
        .metrics
        .iter()
        .filter_map(|line| match line {
            MetricsLine::Train(m) => Some((m.update as f64, m.cross_entropy)),
            _ => None,
        })
        .collect();
    let validations: Vec<_> = run.metrics.iter().filter_map(MetricsLine::validation).collect();
    let mut loss = vec![("training".to_owned(), train)];
    let mut used = Vec::new();
    if let Some(first) = validations.first() {
        for (i, c) in first.codebooks.iter().enumerate() {
            // A later validation may hold fewer codebooks; its line ends there.
            let series = |pick: &dyn Fn(&CodebookMetrics) -> f64| -> Vec<(f64, f64)> {
                validations
                    .iter()
                    .filter_map(|v| Some((v.update as f64, pick(v.codebooks.get(i)?))))
                    .collect()
            };
            let name = format!("valid, codebook {}", c.codebook);
            loss.push((name.clone(), series(&|c| c.cross_entropy)));
            used.push((name, series(&|c| c.effective_codes_ratio)));
        }
    }
    let verdicts: Vec<String> =
        validations.iter().map(|v| format!("{} {}", v.update, v.verdict.verdict)).collect();
    let best = run.best.as_ref().map(|b| (b.update as f64, "best"));
    let stop = run.metrics.iter().map(MetricsLine::update).max().map(|u| (u as f64, "stop"));
    let marks: Vec<(f64, &str)> = best.into_iter().chain(stop).collect();
    let model = escape(&run.manifest.model.to_uppercase());
    let mut out = format!(
        "<h2>{model} model</h2><p>{} parameters on {}. Stopped: {}.</p>{}{}<p>Verdicts: {}.</p>",
        run.manifest.n_parameters,
        escape(&run.manifest.device),
        escape(&run.manifest.stopped),
        chart_svg(&format!("{model}: cross-entropy, nats a token"), &loss, &marks),
        chart_svg(&format!("{model}: effective codes, share of the targets'"), &used, &marks),
        escape(&verdicts.join(", "))
    );
    for words in run_words(run) {
        out.push_str(&format!("<p>{}</p>", escape(&words)));
    }
    out.push_str(&heat_maps(&model, &validations));
    if !run.samples.is_empty() {
        let what = match run.manifest.model.as_str() {
            "nar" => "one fixed sentence on the recording's codebook 1",
            _ => "one fixed sentence, codebook 1 alone",
        };
        out.push_str(&format!("<h3>Hear it learn</h3><table><tr><th>update</th><th>{what}</th></tr>"));
        for (update, path) in &run.samples {
            let cell = player_of(path) + &alignment_of(path);
            out.push_str(&format!("<tr><td>{update}</td><td>{cell}</td></tr>"));
        }
        out.push_str("</table>");
    }
    out
}

/// Every codebook at every validation, as cells.
fn heat_maps(model: &str, validations: &[&ValidationMetrics]) -> String {
    type Figure = (&'static str, fn(&CodebookMetrics) -> f64);
    let updates: Vec<u64> = validations.iter().map(|v| v.update).collect();
    let n_codebooks = validations.first().map_or(0, |v| v.codebooks.len());
    let figures: [Figure; 3] = [
        ("cross-entropy, share of the unigram entropy", |c| c.cross_entropy / c.target_entropy.max(1e-9)),
        ("accuracy", |c| c.accuracy),
        ("codes in use, share of the targets'", |c| c.utilization_ratio),
    ];
    let map = |(title, of): Figure| {
        let row = |i: usize| {
            let cells = validations.iter().map_while(|v| v.codebooks.get(i)).map(of).collect();
            (format!("codebook {}", validations[0].codebooks[i].codebook), cells)
        };
        heat_map_svg(&format!("{model}: {title}"), &updates, &(0..n_codebooks).map(row).collect::<Vec<_>>())
    };
    figures.map(map).concat() + &attention_maps(model, &updates, validations)
}

/// How wide the heads of every layer look, and how different they are, at every validation.
fn attention_maps(model: &str, updates: &[u64], validations: &[&ValidationMetrics]) -> String {
    type Figure = (&'static str, fn(&AttentionMetrics) -> f64);
    let figures: [Figure; 2] = [
        ("entropy of the heads, share of looking everywhere alike", AttentionMetrics::relative_entropy),
        ("diversity of the heads, share of the most", AttentionMetrics::relative_diversity),
    ];
    // Runs of before these figures were known, or without probes, have none.
    let with: Vec<(u64, &ValidationMetrics)> = updates
        .iter()
        .copied()
        .zip(validations.iter().copied())
        .filter(|(_, v)| !v.attention.is_empty())
        .collect();
    let Some((_, first)) = with.first() else { return String::new() };
    let updates: Vec<u64> = with.iter().map(|(update, _)| *update).collect();
    let map = |(title, of): Figure| {
        let row = |i: usize| {
            let cells = with.iter().map(|(_, v)| v.attention.get(i).map_or(f64::NAN, of)).collect();
            (format!("layer {} {}", first.attention[i].layer, first.attention[i].reads.name()), cells)
        };
        let rows: Vec<_> = (0..first.attention.len()).map(row).collect();
        heat_map_svg(&format!("{model}: {title}"), &updates, &rows)
    };
    figures.map(map).concat()
}

/// What the model looked at in the text, where it was written beside the wav.
fn alignment_of(wav: &Path) -> String {
    std::fs::read(wav.with_extension(ALIGNMENT)).map_or_else(
        |_| String::new(),
        |bmp| {
            format!(
                "<img alt=\"alignment\" class=\"alignment\" title=\"what the model looked at: time to the right, text upwards\" src=\"data:image/bmp;base64,{}\">",
                base64(&bmp)
            )
        },
    )
}

fn evaluation(record: &EvaluationRecord, root: &Path) -> String {
    let recognizer = if record.recognizer.is_empty() {
        "no recognizer was given, so word errors were not measured".to_owned()
    } else {
        format!("recognizer <code>{}</code>", escape(&record.recognizer))
    };
    let mut out = format!(
        "<h2>Evaluation on {}</h2><p>{recognizer}; sentences {}; wrong text = what was heard against other sentences' texts.</p>{}<h3>Means over utterances</h3>{}<h3>Held-out codebooks</h3>{}",
        escape(&record.suite),
        escape(record.suite_fingerprint.as_str()),
        table(systems_table(record)),
        table(means_table(record)),
        table(codebooks_table(record))
    );
    if let Some(similarity) = &record.similarity {
        out.push_str("<h3>Similarity to the speaker</h3>");
        out.push_str(&table(similarity_table(similarity)));
    }
    if !record.mos_models.is_empty() {
        out.push_str("<h3>Predicted opinion scores</h3>");
        out.push_str(&table(opinions_table(record)));
    }
    if let Some(criteria) = &record.criteria {
        out.push_str("<h3>Criteria</h3>");
        out.push_str(&table(criteria_table(criteria)));
    }
    let (header, failed) = failures_table(record);
    if !failed.is_empty() {
        out.push_str("<h3>Failures</h3>");
        out.push_str(&table((header, failed)));
    }
    out.push_str("<h3>Listen</h3><div class=\"wide\"><table><tr><th>text</th>");
    for system in &record.systems {
        out.push_str(&format!("<th>{}</th>", escape(&system.system)));
    }
    out.push_str("</tr>");
    let all = record.systems.iter().map(|s| &s.utterances).max_by_key(|u| u.len());
    let n = all.map_or(0, Vec::len);
    // Spread over the suite, so that every voice is heard.
    for first in (0..N_PLAYERS.min(n)).filter_map(|i| all?.get(i * n / N_PLAYERS.min(n))) {
        out.push_str(&format!("<tr><td>{} <em>{}</em></td>", escape(&first.text), escape(&first.speaker)));
        for system in &record.systems {
            let Some(u) = system.utterances.iter().find(|u| u.id == first.id) else {
                out.push_str("<td></td>");
                continue;
            };
            let heard = u.heard.as_deref().map_or_else(String::new, |h| format!("<br>{}", escape(h)));
            let wav = root.join(&u.path);
            let reasons = u.failures.join(", ");
            let failed = if reasons.is_empty() {
                String::new()
            } else {
                format!("<br><span class=\"bad\">{}</span>", escape(&reasons))
            };
            out.push_str(&format!("<td>{}{}{heard}{failed}</td>", player_of(&wav), alignment_of(&wav)));
        }
        out.push_str("</tr>");
    }
    out + "</table></div>"
}

pub(crate) fn page(input: &ReportInput) -> String {
    let mut body = format!("<h1>{}</h1>", escape(&input.title));
    if let Some(record) = &input.evaluation {
        body.push_str(&evaluation(record, &input.root));
    }
    body.extend(input.runs.iter().map(curves));
    body.push_str(&format!("<h2>Configuration, where it differs from {}</h2><ul>", escape(&input.parent)));
    body.extend(input.config.iter().map(|line| format!("<li><code>{}</code></li>", escape(line))));
    document(&input.title, &(body + "</ul>"))
}

/// A page of its own around a body.
pub(crate) fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title><style>{STYLE}</style></head><body>{body}</body></html>",
        escape(title)
    )
}
