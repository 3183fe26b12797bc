//! Records that one crate writes and another reads: `metrics.jsonl`, `run.json`, `best.json`, `eval.json` and
//! `environment.json`, joined by the separator.
//!
//! What is read is written as it was read, and a report of any records is whole and holds no markup of theirs.
#![no_main]

use harmonica_config_schema::record::{
    BestRecord, BestValidation, EnvironmentRecord, EvaluationRecord, MetricsLine, RunManifest,
};
use harmonica_eval::{ReportInput, RunCurves, report_html, report_markdown};
use harmonica_fuzz::files;
use libfuzzer_sys::fuzz_target;

fn read<T>(bytes: &[u8]) -> Option<T>
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let record: T = serde_json::from_slice(bytes).ok()?;
    let again = serde_json::to_vec(&record).expect("a record is written");
    assert_eq!(serde_json::from_slice::<T>(&again).expect("a record is read back"), record);
    Some(record)
}

fuzz_target!(|data: &[u8]| {
    let [metrics, manifest, best, evaluation, environment] = files::<5>(data);
    let metrics: Vec<MetricsLine> = metrics.split(|byte| *byte == b'\n').filter_map(read).collect();
    let best: Option<BestRecord> = read(best);
    let environment: Option<EnvironmentRecord> = read(environment);
    let evaluation: Option<EvaluationRecord> = read(evaluation);
    let manifest: Option<RunManifest> = read(manifest);
    if manifest.is_none() && evaluation.is_none() {
        return;
    }
    let runs = manifest.map(|manifest| RunCurves {
        manifest,
        metrics,
        samples: Vec::new(),
        best: best.map(|best| BestValidation {
            update: best.update,
            cross_entropy: best.value,
            chosen_by: Some(best.criterion),
            checkpoint: Some(best.checkpoint.into()),
        }),
        sittings: environment.map(|environment| environment.sittings).unwrap_or_default(),
        problems: vec![String::from_utf8_lossy(data).into_owned()],
    });
    let mut input = ReportInput {
        title: "report".into(),
        runs: runs.into_iter().collect(),
        evaluation,
        root: "/nonexistent".into(),
        parent: String::new(),
        config: Vec::new(),
    };
    // Players read files; that is the audio target's matter.
    for system in input.evaluation.iter_mut().flat_map(|e| &mut e.systems) {
        system.utterances.iter_mut().for_each(|u| u.path = "none.wav".into());
    }
    let html = report_html(&input);
    assert!(html.ends_with("</html>"));
    // Every tag is one of the page's own.
    let own = [
        "!doctype", "html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "div", "ul",
        "li", "code", "table", "tr", "th", "td", "em", "br", "span", "svg", "text", "line", "polyline",
        "rect", "img", "audio",
    ];
    for tag in html.split('<').skip(1) {
        let name: String = tag
            .trim_start_matches('/')
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '!')
            .collect();
        assert!(own.contains(&name.as_str()), "the page holds a tag of a record: {tag:?}");
    }
    for points in html.split("points=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(points.chars().all(|c| "0123456789., -".contains(c)), "a curve leaves its chart: {points}");
    }
    // A table has as many cells in every row as in its header.
    let mut width = None;
    for line in report_markdown(&input).lines() {
        let cells = line.starts_with('|').then(|| line.replace("\\|", "").matches('|').count());
        assert!(
            width.is_none() || cells.is_none() || cells == width,
            "a row does not fit its table: {line:?}"
        );
        width = cells;
    }
});
