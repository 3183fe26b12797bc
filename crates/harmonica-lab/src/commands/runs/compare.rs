//! `runs compare`: two runs side by side.

use super::{WIDTH, updates};
use crate::failure::Failure;
use crate::output::Output;
use crate::table::{Column, Cut, lines};
use harmonica_config_schema::Place;
use harmonica_config_schema::record::{
    CodebookPair, CurveDistance, Difference, RunComparison, RunState, RunSummary, ValidationPair,
};
use harmonica_eval::{ComparisonInput, write_comparison};
use harmonica_training::{RunReading, compare};
use std::path::Path;

/// Codebooks side by side in one table.
const CODEBOOKS_A_TABLE: usize = 6;
const UNKNOWN: &str = "not recorded";

pub(super) fn run(
    a: &Path,
    b: &Path,
    output: Option<&Path>,
    within: Option<f64>,
    out: Output,
) -> Result<(), Failure> {
    let read = |dir: &Path| {
        RunReading::open(dir).map_err(|e| Failure::error(format!("`{}`: {}", e.path.display(), e.reason)))
    };
    let (left, right) = (read(a)?, read(b)?);
    let comparison = compare(&left, &right);
    let distance = comparison.training;
    let mut shown = words(&comparison);
    let mut value = serde_json::json!({
        "comparable": comparison.incomparable.is_empty(), "comparison": comparison,
    });
    if let Some(dir) = output {
        let input = ComparisonInput { comparison, left: left.metrics, right: right.metrics };
        let page = write_comparison(&input, dir)?;
        shown.push_str(&format!("\n\n{}", page.display()));
        value["page"] = serde_json::json!(page);
    }
    let Some(message) = within.and_then(|share| refusal(distance, share)) else {
        out.result(&value, &shown);
        return Ok(());
    };
    if !out.json {
        out.result(&value, &shown);
    }
    let result = value.as_object().cloned().unwrap_or_default();
    Err(Failure { code: 1, result, ..Failure::error(message) })
}

/// Why training curves are refused that should lie within a share of each other.
fn refusal(distance: Option<CurveDistance>, within: f64) -> Option<String> {
    let Some(d) = distance else {
        return Some("no update has a training figure of both runs: nothing was compared".to_owned());
    };
    if d.n_unmatched > 0 {
        return Some(format!(
            "{} updates have a training figure of one run alone, because the other ended earlier, logs at other updates, or wrote no number there; only {} can be compared",
            d.n_unmatched, d.n_updates
        ));
    }
    // Not `>`: a share that is no number holds nothing.
    let holds = d.share <= within;
    (!holds).then(|| {
        format!(
            "the training curves lie {:.3} % apart after {} updates ({:.4} and {:.4} nats), more than {:.3} %",
            100.0 * d.share,
            d.update,
            d.left,
            d.right,
            100.0 * within
        )
    })
}

fn words(c: &RunComparison) -> String {
    let mut all = vec![format!("A  {}", c.left.path.display()), format!("B  {}", c.right.path.display())];
    if c.incomparable.is_empty() {
        all.push("comparable: same model, cache and codec".to_owned());
    } else {
        all.push("NOT COMPARABLE: their cross-entropies do not measure the same thing".to_owned());
        all.extend(differences(&c.incomparable));
    }
    all.push(String::new());
    all.extend(summaries(&c.left, &c.right));
    all.push(String::new());
    all.extend(validations(&c.validations));
    if let Some(d) = &c.training {
        all.push(format!(
            "training cross-entropy at {} updates: furthest apart after {}, {:.4} and {:.4}, {:.3} %",
            d.n_updates,
            d.update,
            d.left,
            d.right,
            100.0 * d.share
        ));
    }
    all.push(String::new());
    all.extend(config(c));
    all.push(String::new());
    all.extend(environment(c));
    all.join("\n")
}

fn two_columns(rows: &[Vec<String>]) -> Vec<String> {
    let columns =
        [Column::words(""), Column::words("A").cut(Cut::End(48)), Column::words("B").cut(Cut::End(48))];
    lines(&columns, rows, WIDTH)
}

fn differences(all: &[Difference]) -> Vec<String> {
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| UNKNOWN.to_owned());
    // Values are shown whole: this is where they are told.
    let columns = [Column::words(""), Column::words("A"), Column::words("B")];
    let rows: Vec<Vec<String>> =
        all.iter().map(|d| vec![d.what.clone(), shown(&d.left), shown(&d.right)]).collect();
    lines(&columns, &rows, WIDTH)
}

fn summaries(left: &RunSummary, right: &RunSummary) -> Vec<String> {
    let unknown = || UNKNOWN.to_owned();
    let row = |what: &str, of: &dyn Fn(&RunSummary) -> String| vec![what.to_owned(), of(left), of(right)];
    let state = |run: &RunSummary| match &run.state {
        RunState::Running { pid, host } => format!("running, process {pid} on {host}"),
        RunState::Finished => "finished".to_owned(),
        RunState::Stopped { reason } => format!("stopped: {reason}"),
        RunState::Interrupted => "interrupted".to_owned(),
    };
    two_columns(&[
        row("model", &|r| r.model.clone()),
        row("name", &|r| r.name.clone()),
        row("parameters", &|r| r.n_parameters.to_string()),
        row("updates", &updates),
        row("state", &state),
        row("last", &|r| {
            r.last.as_ref().map_or_else(unknown, |v| format!("{:.4} after {}", v.cross_entropy, v.update))
        }),
        row("best", &|r| {
            r.best.as_ref().map_or_else(unknown, |v| format!("{:.4} after {}", v.cross_entropy, v.update))
        }),
        row("verdict", &|r| r.verdict.as_ref().map_or_else(unknown, |v| v.verdict.clone())),
        row("updates/s", &|r| r.updates_per_s.map_or_else(unknown, |rate| format!("{rate:.2}"))),
        row("config", &|r| r.config.to_string()),
    ])
}

fn validations(all: &[ValidationPair]) -> Vec<String> {
    let Some(first) = all.first() else {
        return vec!["no validation after the same number of updates".to_owned()];
    };
    let mut out =
        vec!["validation cross-entropy, nats a token, A and B after the same number of updates".to_owned()];
    let mut columns = ["update", "mean A", "mean B", "B - A"].map(Column::numbers).to_vec();
    columns.push(Column::words("verdict"));
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|v| {
            let verdict = if v.left_verdict == v.right_verdict {
                v.left_verdict.clone()
            } else {
                format!("A {}, B {}", v.left_verdict, v.right_verdict)
            };
            let difference = format!("{:+.4}", v.right - v.left);
            vec![
                v.update.to_string(),
                format!("{:.4}", v.left),
                format!("{:.4}", v.right),
                difference,
                verdict,
            ]
        })
        .collect();
    out.extend(lines(&columns, &rows, WIDTH));
    let codebooks: Vec<usize> = first.codebooks.iter().map(|pair| pair.codebook).collect();
    // The mean of one codebook is that codebook.
    for some in codebooks.chunks(CODEBOOKS_A_TABLE).filter(|_| codebooks.len() > 1) {
        out.extend([String::new(), "of each codebook, A / B".to_owned()]);
        out.extend(codebook_table(all, some));
    }
    out
}

fn codebook_table(all: &[ValidationPair], codebooks: &[usize]) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.3}"));
    let cell = |v: &ValidationPair, codebook: usize| {
        let of = |pick: fn(&CodebookPair) -> Option<f64>| {
            number(v.codebooks.iter().find(|pair| pair.codebook == codebook).and_then(pick))
        };
        format!("{} / {}", of(|pair| pair.left), of(|pair| pair.right))
    };
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|v| std::iter::once(v.update.to_string()).chain(codebooks.iter().map(|c| cell(v, *c))).collect())
        .collect();
    let titles = codebooks.iter().map(|codebook| format!("codebook {codebook}"));
    let columns: Vec<Column> =
        std::iter::once("update".to_owned()).chain(titles).map(Column::numbers).collect();
    lines(&columns, &rows, WIDTH)
}

fn config(c: &RunComparison) -> Vec<String> {
    let Some(entries) = &c.config else {
        let unread = [&c.left, &c.right].into_iter().flat_map(|run| &run.problems).cloned();
        return std::iter::once("configuration: cannot be read of both runs".to_owned())
            .chain(unread)
            .collect();
    };
    if entries.is_empty() {
        return vec!["configuration: every key has the same value".to_owned()];
    }
    let place = |place: &Option<Place>| place.as_ref().map_or_else(String::new, |p| format!(" ({p})"));
    let mut out = vec![match entries.len() {
        1 => "configuration: 1 key differs".to_owned(),
        n => format!("configuration: {n} keys differ"),
    }];
    for e in entries {
        let (from, to) = (place(&e.left_place), place(&e.right_place));
        out.push(format!("  {}: {}{from} -> {}{to}", e.key, e.left, e.right));
    }
    out
}

fn environment(c: &RunComparison) -> Vec<String> {
    let recorded = c.left.n_sittings.is_some() && c.right.n_sittings.is_some();
    if c.environment.is_empty() {
        let words = if recorded {
            "environment: no difference"
        } else {
            "environment: same program and device; the rest was not recorded"
        };
        return vec![words.to_owned()];
    }
    std::iter::once("environment".to_owned()).chain(differences(&c.environment)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::runs::tests::summary;
    use harmonica_config_schema::record::{ConfigDifference, FORMAT_VERSION};

    fn comparison(n_codebooks: usize) -> RunComparison {
        let codebooks = (1..=n_codebooks)
            .map(|codebook| CodebookPair { codebook, left: Some(12.125), right: None })
            .collect();
        let pair = ValidationPair {
            update: 1000,
            left: 2.0,
            right: 1.75,
            left_verdict: "undertrained".into(),
            right_verdict: "healthy".into(),
            codebooks,
        };
        RunComparison {
            format_version: FORMAT_VERSION,
            left: summary("runs/a"),
            right: summary("runs/b"),
            incomparable: Vec::new(),
            config: Some(vec![ConfigDifference {
                key: "seed".into(),
                left: 1.into(),
                right: 2.into(),
                left_place: Some(Place::Default),
                right_place: None,
            }]),
            validations: vec![pair],
            training: Some(CurveDistance {
                n_updates: 40,
                n_unmatched: 0,
                update: 30,
                left: 4.0,
                right: 3.9,
                share: 0.025,
            }),
            environment: Vec::new(),
        }
    }

    #[test]
    fn curves_that_lie_too_far_apart_are_refused() {
        let distance = comparison(1).training;
        assert_eq!(refusal(distance, 0.025), None);
        assert_eq!(
            refusal(distance, 0.01).unwrap(),
            "the training curves lie 2.500 % apart after 30 updates (4.0000 and 3.9000 nats), more than 1.000 %"
        );
        assert!(refusal(distance, f64::NAN).is_some());
        let shorter = distance.map(|d| CurveDistance { n_unmatched: 3, ..d });
        assert!(
            refusal(shorter, 1.0).unwrap().starts_with("3 updates have a training figure of one run alone")
        );
        assert!(refusal(None, 1.0).is_some());
    }

    #[test]
    fn figures_stand_side_by_side_within_the_width() {
        let words = words(&comparison(8));
        assert!(words.lines().all(|line| line.chars().count() <= WIDTH), "{words}");
        for part in [
            "comparable: same",
            "-0.2500",
            "A undertrained, B healthy",
            "codebook 8",
            "12.125 / -",
            "configuration: 1 key differs",
            "seed: 1 (default) -> 2",
            "the rest was not recorded",
        ] {
            assert!(words.contains(part), "{part} is not in {words}");
        }
    }

    #[test]
    fn what_cannot_be_compared_is_said_with_both_values_and_printed_all_the_same() {
        let mut c = comparison(1);
        let (left, right) = (Some("d0d0".into()), Some("d1d1".into()));
        c.incomparable = vec![Difference { what: "cache".into(), left, right }];
        c.environment = vec![Difference { what: "cpu".into(), left: None, right: Some("fast".into()) }];
        let words = words(&c);
        for part in ["NOT COMPARABLE", "d0d0", "d1d1", "-0.2500", "not recorded  fast"] {
            assert!(words.contains(part), "{part} is not in {words}");
        }
        assert!(!words.contains("each codebook"), "{words}");
        c.validations.clear();
        c.config = None;
        let none = super::words(&c);
        assert!(none.contains("no validation") && none.contains("cannot be read of both"), "{none}");
    }
}
