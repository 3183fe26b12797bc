//! `runs list`: a line for each run.

use super::{WIDTH, short, updates};
use crate::failure::Failure;
use crate::output::Output;
use crate::table::{Column, Cut, lines};
use harmonica_config_schema::UtcTime;
use harmonica_config_schema::record::{RunState, RunSummary};
use harmonica_training::{FoundRuns, find_runs};
use std::path::Path;
use std::time::Duration;

pub(super) fn run(dir: &Path, out: Output) -> Result<(), Failure> {
    let found = find_runs(dir)?;
    let value = serde_json::json!({ "directory": dir, "runs": found.runs, "unreadable": found.unreadable });
    out.result(&value, &words(dir, &found, UtcTime::now()));
    Ok(())
}

fn words(dir: &Path, found: &FoundRuns, now: UtcTime) -> String {
    let n = found.runs.len();
    let mut all = match n {
        0 => vec![format!("no run below `{}`; `harmonica-lab train` makes one", dir.display())],
        1 => vec![format!("1 run below `{}`", dir.display())],
        n => vec![format!("{n} runs below `{}`", dir.display())],
    };
    if n > 0 {
        let rows: Vec<Vec<String>> = found.runs.iter().map(|run| row(dir, run, now)).collect();
        all.extend(lines(&columns(), &rows, WIDTH));
    }
    for run in &found.runs {
        let path = relative(dir, &run.path);
        match &run.state {
            RunState::Running { pid, host } => all.push(format!("{path}: process {pid} on {host} writes it")),
            RunState::Stopped { reason } => all.push(format!("{path}: stopped: {reason}")),
            RunState::Finished | RunState::Interrupted => {}
        }
        all.extend(run.problems.iter().map(|problem| format!("{path}: {problem}")));
    }
    let unreadable = |path: &Path, reason: &str| format!("{}: {reason}", relative(dir, path));
    all.extend(found.unreadable.iter().map(|run| unreadable(&run.path, &run.reason)));
    all.join("\n")
}

fn columns() -> [Column; 10] {
    [
        Column::words("path").cut(Cut::Beginning(12)),
        Column::words("model"),
        Column::words("name").cut(Cut::End(8)),
        Column::numbers("updates"),
        Column::words("state"),
        Column::numbers("last"),
        Column::numbers("best"),
        Column::words("verdict"),
        Column::words("config"),
        Column::numbers("age"),
    ]
}

fn row(dir: &Path, run: &RunSummary, now: UtcTime) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.3}"));
    let state = match run.state {
        RunState::Running { .. } => "running",
        RunState::Finished => "finished",
        RunState::Stopped { .. } => "stopped",
        RunState::Interrupted => "interrupted",
    };
    vec![
        relative(dir, &run.path),
        run.model.clone(),
        run.name.clone(),
        updates(run),
        state.to_owned(),
        number(run.last.as_ref().map(|v| v.cross_entropy)),
        number(run.best.as_ref().map(|v| v.cross_entropy)),
        run.verdict.as_ref().map_or_else(|| "-".to_owned(), |v| v.verdict.clone()),
        short(&run.config),
        run.when.map_or_else(|| "-".to_owned(), |when| age(now.since(when))),
    ]
}

/// A path below the directory that was named.
fn relative(dir: &Path, path: &Path) -> String {
    match path.strip_prefix(dir) {
        Ok(inner) if inner.as_os_str().is_empty() => ".".to_owned(),
        Ok(inner) => inner.display().to_string(),
        Err(_) => path.display().to_string(),
    }
}

fn age(age: Duration) -> String {
    match age.as_secs() {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min", s / 60),
        s @ 3600..172_800 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::runs::tests::summary;
    use harmonica_config_schema::record::UnreadableRun;

    #[test]
    fn a_list_fits_its_width_and_names_what_is_wrong() {
        let dir = Path::new("runs");
        let now: UtcTime = "2026-03-01T12:00:00Z".parse().unwrap();
        let mut stopped = summary(&format!("runs/{}/nar", "long-".repeat(20)));
        stopped.state = RunState::Stopped { reason: "it was asked to stop".into() };
        stopped.name = "an experiment with a long name".into();
        stopped.when = Some("2026-03-01T09:00:00Z".parse().unwrap());
        stopped.problems = vec!["best.json is damaged: x".into()];
        let unreadable = UnreadableRun { path: "runs/half".into(), reason: "run.json is damaged: y".into() };
        let found = FoundRuns { runs: vec![summary("runs"), stopped], unreadable: vec![unreadable] };
        let words = words(dir, &found, now);
        let lines: Vec<&str> = words.lines().collect();
        assert_eq!(lines[0], "2 runs below `runs`");
        assert!(lines[1..4].iter().all(|line| line.chars().count() <= WIDTH), "{words}");
        assert!(
            lines[2].starts_with(". ") && lines[3].starts_with('…') && lines[3].ends_with("3 h"),
            "{words}"
        );
        assert!(lines[4].ends_with("stopped: it was asked to stop"), "{words}");
        assert!(lines[5].ends_with("best.json is damaged: x"), "{words}");
        assert_eq!(lines[6], "half: run.json is damaged: y");
        assert!(super::words(dir, &FoundRuns::default(), now).contains("no run below `runs`"));
    }

    #[test]
    fn ages_have_one_unit() {
        let ages = [(5, "5 s"), (125, "2 min"), (7_300, "2 h"), (400_000, "4 d")];
        for (seconds, shown) in ages {
            assert_eq!(age(Duration::from_secs(seconds)), shown);
        }
    }
}
