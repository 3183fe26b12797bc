//! `compare.html`: two runs in one chart, and what else differs between them.
//!
//! In: a [`RunComparison`] and the metrics of both runs; out: one page that opens offline. Invariant: that cross-entropies must
//! not be compared stands above the chart that shows them.

use crate::EvalError;
use crate::html::{document, escape, table};
use crate::picture::chart_svg;
use harmonica_config_schema::record::{
    Difference, MetricsLine, RunComparison, RunSummary, ValidationMetrics,
};
use harmonica_storage::{make_directory, publish};
use std::path::{Path, PathBuf};

/// Two runs with their curves.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparisonInput {
    /// What was compared.
    pub comparison: RunComparison,
    /// Metrics of the left run.
    pub left: Vec<MetricsLine>,
    /// Metrics of the right run.
    pub right: Vec<MetricsLine>,
}

/// Writes the page into a directory and returns its path.
///
/// # Errors
/// A directory that cannot be written to.
pub fn write_comparison(input: &ComparisonInput, dir: &Path) -> Result<PathBuf, EvalError> {
    make_directory(dir)?;
    let path = dir.join("compare.html");
    publish(&path, page(input).as_bytes())?;
    Ok(path)
}

const UNKNOWN: &str = "not recorded";

fn page(input: &ComparisonInput) -> String {
    let c = &input.comparison;
    let mut body = format!("<h1>{} against {}</h1>", path_of(&c.left), path_of(&c.right));
    if c.incomparable.is_empty() {
        body.push_str("<p>Same model, cache and codec: the cross-entropies may be compared.</p>");
    } else {
        body.push_str("<p class=\"bad\">Not comparable: cross-entropies of different models, caches or codecs do not measure the same thing.</p>");
        body.push_str(&differences(&c.incomparable));
    }
    body.push_str(&summaries(&c.left, &c.right));
    body.push_str("<h2>Curves</h2>");
    if !c.validations.is_empty() && c.validations.iter().all(|pair| pair.left == pair.right) {
        body.push_str(
            "<p>Both runs have the same value at every common update, so that one curve hides the other.</p>",
        );
    }
    body.push_str(&curves(input));
    body.push_str("<h2>Validations after the same number of updates</h2>");
    body.push_str(&validations(c));
    body.push_str("<h2>Configuration</h2>");
    body.push_str(&config(c));
    body.push_str("<h2>Environment</h2>");
    if c.environment.is_empty() {
        body.push_str("<p>Nothing that was recorded of both differs.</p>");
    } else {
        body.push_str(&differences(&c.environment));
    }
    document(&format!("{} against {}", c.left.path.display(), c.right.path.display()), &body)
}

fn path_of(run: &RunSummary) -> String {
    escape(&run.path.display().to_string())
}

fn differences(all: &[Difference]) -> String {
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| UNKNOWN.to_owned());
    let rows = all.iter().map(|d| vec![d.what.clone(), shown(&d.left), shown(&d.right)]).collect();
    table((vec!["", "left", "right"], rows))
}

fn summaries(left: &RunSummary, right: &RunSummary) -> String {
    let unknown = || UNKNOWN.to_owned();
    let row = |what: &str, of: &dyn Fn(&RunSummary) -> String| vec![what.to_owned(), of(left), of(right)];
    let rows = vec![
        row("path", &|r| r.path.display().to_string()),
        row("model", &|r| r.model.to_uppercase()),
        row("name", &|r| r.name.clone()),
        row("parameters", &|r| r.n_parameters.to_string()),
        row("updates", &|r| {
            r.max_updates.map_or_else(|| r.updates.to_string(), |max| format!("{} of {max}", r.updates))
        }),
        row("best validation", &|r| {
            r.best
                .as_ref()
                .map_or_else(unknown, |b| format!("{:.4} after {} updates", b.cross_entropy, b.update))
        }),
        row("last validation", &|r| {
            r.last
                .as_ref()
                .map_or_else(unknown, |v| format!("{:.4} after {} updates", v.cross_entropy, v.update))
        }),
        row("verdict", &|r| r.verdict.as_ref().map_or_else(unknown, |v| v.verdict.clone())),
        row("updates a second", &|r| r.updates_per_s.map_or_else(unknown, |rate| format!("{rate:.2}"))),
    ];
    table((vec!["", "left", "right"], rows))
}

/// A named line of (update, value).
type Series = (String, Vec<(f64, f64)>);

fn curves(input: &ComparisonInput) -> String {
    let series = |of: &dyn Fn(&MetricsLine) -> Option<(f64, f64)>| -> Vec<Series> {
        let c = &input.comparison;
        [("left", &c.left, &input.left), ("right", &c.right, &input.right)]
            .map(|(side, run, metrics)| {
                (format!("{side}: {}", path_of(run)), metrics.iter().filter_map(of).collect())
            })
            .into()
    };
    let valid = |of: &dyn Fn(&ValidationMetrics) -> Option<f64>| {
        series(&|line| match line {
            MetricsLine::Validation(v) => Some((v.update as f64, of(v)?)),
            _ => None,
        })
    };
    let train = series(&|line| match line {
        MetricsLine::Train(m) => Some((m.update as f64, m.cross_entropy)),
        _ => None,
    });
    let mut out = chart_svg(
        "validation cross-entropy, nats a token",
        &valid(&|validation| Some(validation.cross_entropy)),
        &[],
    );
    let lines = input.left.iter().chain(&input.right);
    let mut codebooks: Vec<usize> = lines
        .flat_map(|line| match line {
            MetricsLine::Validation(v) => v.codebooks.iter().map(|c| c.codebook).collect(),
            _ => Vec::new(),
        })
        .collect();
    codebooks.sort_unstable();
    codebooks.dedup();
    // The mean of one codebook is that codebook.
    for codebook in codebooks.iter().filter(|_| codebooks.len() > 1) {
        let title = format!("validation cross-entropy of codebook {codebook}, nats a token");
        let of = |v: &ValidationMetrics| {
            v.codebooks.iter().find(|c| c.codebook == *codebook).map(|c| c.cross_entropy)
        };
        out.push_str(&chart_svg(&title, &valid(&of), &[]));
    }
    out + &chart_svg("training cross-entropy, nats a token", &train, &[])
}

fn validations(c: &RunComparison) -> String {
    if c.validations.is_empty() {
        return "<p>There are none.</p>".to_owned();
    }
    let number = |value: Option<f64>| value.map_or_else(String::new, |v| format!("{v:.4}"));
    let mut rows = Vec::new();
    for v in &c.validations {
        let row = |codebook: String, left: Option<f64>, right: Option<f64>, verdicts: [&str; 2]| {
            let more = left.zip(right).map_or_else(String::new, |(a, b)| format!("{:+.4}", b - a));
            let update = v.update.to_string();
            vec![
                update,
                codebook,
                number(left),
                number(right),
                more,
                verdicts[0].to_owned(),
                verdicts[1].to_owned(),
            ]
        };
        rows.push(row("mean".to_owned(), Some(v.left), Some(v.right), [&v.left_verdict, &v.right_verdict]));
        for pair in v.codebooks.iter().filter(|_| v.codebooks.len() > 1) {
            rows.push(row(pair.codebook.to_string(), pair.left, pair.right, ["", ""]));
        }
    }
    let header = vec!["update", "codebook", "left", "right", "right - left", "left verdict", "right verdict"];
    table((header, rows))
}

fn config(c: &RunComparison) -> String {
    match &c.config {
        None => "<p>It cannot be read of both runs.</p>".to_owned(),
        Some(entries) if entries.is_empty() => "<p>Every key has the same value.</p>".to_owned(),
        Some(entries) => {
            let place = |place: &Option<harmonica_config_schema::Place>| {
                place.as_ref().map_or_else(|| UNKNOWN.to_owned(), ToString::to_string)
            };
            let rows = entries.iter().map(|e| {
                vec![
                    e.key.clone(),
                    e.left.to_string(),
                    e.right.to_string(),
                    place(&e.left_place),
                    place(&e.right_place),
                ]
            });
            table((vec!["key", "left", "right", "left is set in", "right is set in"], rows.collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harmonica_config_schema::Fingerprint;
    use harmonica_config_schema::record::{CodebookPair, FORMAT_VERSION, TrainMetrics, ValidationPair};

    fn summary(path: &str) -> RunSummary {
        let fingerprint = |text: &str| Fingerprint::of_bytes(text.as_bytes());
        RunSummary::unread(path.into(), "ar".into(), fingerprint("config"), fingerprint(path))
    }

    fn input() -> ComparisonInput {
        let train = |update: u64, cross_entropy: f64| {
            let (objective, grad_norm, learning_rate) = (cross_entropy, 1.0, 0.1);
            MetricsLine::Train(TrainMetrics {
                update,
                objective,
                cross_entropy,
                grad_norm,
                learning_rate,
                ..TrainMetrics::default()
            })
        };
        let validations = vec![ValidationPair {
            update: 4,
            left: 2.0,
            right: 1.5,
            left_verdict: "undertrained".into(),
            right_verdict: "healthy".into(),
            codebooks: vec![CodebookPair { codebook: 1, left: Some(2.0), right: None }],
        }];
        let difference =
            Difference { what: "cache".into(), left: Some("d0<1>".into()), right: Some("d1".into()) };
        ComparisonInput {
            comparison: RunComparison {
                format_version: FORMAT_VERSION,
                left: summary("runs/a & b"),
                right: summary("runs/c"),
                incomparable: vec![difference],
                config: Some(Vec::new()),
                validations,
                training: None,
                environment: Vec::new(),
            },
            left: vec![train(2, 3.0), train(4, 2.0)],
            right: vec![train(2, 2.5), train(4, 1.5)],
        }
    }

    #[test]
    fn a_page_says_first_that_runs_are_not_comparable_and_shows_both_curves() {
        let dir = tempfile::tempdir().unwrap();
        let path = write_comparison(&input(), &dir.path().join("new")).unwrap();
        let page = std::fs::read_to_string(path).unwrap();
        let at = |words: &str| page.find(words).unwrap_or_else(|| panic!("{words} is not in {page}"));
        assert!(at("Not comparable") < at("<svg"));
        assert!(page.matches("<polyline").count() == 2 && page.contains("-0.5000"));
        for words in ["runs/a &amp; b", "d0&lt;1&gt;", "not recorded", "Every key has the same value"] {
            at(words);
        }
        assert!(!page.contains("src=\"http") && !page.contains("href="));
    }

    #[test]
    fn runs_without_differences_may_be_compared() {
        let mut same = input();
        same.comparison.incomparable.clear();
        same.comparison.validations[0].right = 2.0;
        let page = page(&same);
        assert!(page.contains("may be compared") && page.contains("one curve hides the other"));
    }
}
