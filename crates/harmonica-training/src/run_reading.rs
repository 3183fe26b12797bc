//! A run read back from its directory, whoever wrote it and whether or not it still runs.
//!
//! In: a directory with `run.json`; out: a [`RunReading`]. Nothing is written and no byte of a checkpoint is checked.
//! Invariant: what is missing is absent and what is damaged is told; neither keeps the rest from being read.

use crate::checkpoint::{CONFIG, CONTRACT};
use crate::run_dir::PROVENANCE;
use crate::sittings::ENVIRONMENT;
use crate::{RunDir, run_lock};
use harmonica_config_schema::record::{
    BestRecord, BestValidation, EnvironmentRecord, MetricsLine, ProvenanceRecord, RunManifest, RunState,
    RunSummary, STOPPED_AT_MAX_UPDATES, Sitting, UnreadableRun, ValidationMetrics, ValidationPoint,
};
use harmonica_config_schema::{BestRule, Fingerprint, Place, UtcTime, flat_keys};
use harmonica_model_core::InterfaceContract;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A run in full.
#[derive(Debug, Clone, PartialEq)]
pub struct RunReading {
    /// The run in a few figures.
    pub summary: RunSummary,
    /// Value of each dotted key of its configuration, if it can be read; runs of other versions may have other keys.
    pub config: Option<BTreeMap<String, Value>>,
    /// Where the configuration's keys were set, if it was recorded.
    pub provenance: BTreeMap<String, Place>,
    /// The processes that trained it; none if they were not recorded.
    pub sittings: Vec<Sitting>,
    /// Lines of its metrics, without those that cannot be read.
    pub metrics: Vec<MetricsLine>,
}

impl RunReading {
    /// Reads the run in a directory.
    ///
    /// # Errors
    /// A directory without a `run.json` that can be read, with the reason and what to do.
    pub fn open(dir: &Path) -> Result<Self, UnreadableRun> {
        let unreadable = |reason: String| UnreadableRun { path: dir.to_owned(), reason };
        let run = RunDir::at(dir);
        let manifest: RunManifest = match run.record("run.json") {
            Ok(Some(manifest)) => manifest,
            Ok(None) => {
                return Err(unreadable("run.json is missing; name a directory that holds one".into()));
            }
            Err(why) => return Err(unreadable(format!("run.json {why}; restore it from a copy"))),
        };
        let mut problems = Vec::new();
        let config = config(dir, &mut problems);
        let metrics = metrics(&run, &mut problems);
        let provenance: Option<ProvenanceRecord> = record(&run, PROVENANCE, &mut problems);
        let environment: Option<EnvironmentRecord> = record(&run, ENVIRONMENT, &mut problems);
        let sittings = environment.map(|record| record.sittings);
        let best: Option<BestRecord> = record(&run, "best.json", &mut problems);
        let validations: Vec<&ValidationMetrics> =
            metrics.iter().filter_map(MetricsLine::validation).collect();
        let last = validations.last();
        let max_updates = config
            .as_ref()
            .and_then(|keys| keys.get(&format!("training.{}.max_updates", manifest.model))?.as_u64());
        let logged = metrics.iter().map(MetricsLine::update).max();
        let best = best_validation(dir, best, &validations, &mut problems);
        let summary = RunSummary {
            path: dir.to_owned(),
            state: state(dir, &manifest, sittings.as_deref()),
            model: manifest.model,
            name: manifest.name,
            n_parameters: manifest.n_parameters,
            updates: logged.into_iter().chain(run.checkpoints()).max().unwrap_or(0),
            max_updates,
            last: last.map(|v| ValidationPoint { update: v.update, cross_entropy: v.cross_entropy }),
            best,
            verdict: last.map(|v| v.verdict.clone()),
            config: manifest.config,
            cache: manifest.cache,
            codec: codec(&run),
            program: manifest.program,
            device: manifest.device,
            n_sittings: sittings.as_ref().map(Vec::len),
            updates_per_s: sittings.as_deref().and_then(updates_per_s),
            when: when(dir, sittings.as_deref()),
            problems,
        };
        let provenance = provenance.map(|record| record.keys).unwrap_or_default();
        let sittings = sittings.unwrap_or_default();
        Ok(Self { summary, config, provenance, sittings, metrics })
    }

    /// Its validations, in the order in which they were made.
    pub fn validations(&self) -> impl Iterator<Item = &ValidationMetrics> {
        self.metrics.iter().filter_map(MetricsLine::validation)
    }
}

fn record<T: serde::de::DeserializeOwned>(run: &RunDir, name: &str, problems: &mut Vec<String>) -> Option<T> {
    run.record(name).unwrap_or_else(|why| {
        problems.push(format!("{name} {why}"));
        None
    })
}

/// Keys and values as they were written, whatever keys this version knows.
fn config(dir: &Path, problems: &mut Vec<String>) -> Option<BTreeMap<String, Value>> {
    let read = std::fs::read_to_string(dir.join(CONFIG)).map_err(|e| format!("cannot be read: {e}"));
    let parsed = read
        .and_then(|text| toml::from_str::<Value>(&text).map_err(|e| format!("is damaged: {}", e.message())));
    match parsed {
        Ok(value) => Some(flat_keys(&value)),
        Err(why) => {
            problems.push(format!("{CONFIG} {why}"));
            None
        }
    }
}

/// Every whole line; the last one of a run that is being written, or was killed, may be cut off.
fn metrics(run: &RunDir, problems: &mut Vec<String>) -> Vec<MetricsLine> {
    let name = "metrics.jsonl";
    let text = run.metrics_text().unwrap_or_else(|e| {
        problems.push(format!("{name} cannot be read: {e}"));
        String::new()
    });
    let mut lines = Vec::new();
    let mut damaged = Vec::new();
    for (i, line) in text.split_inclusive('\n').enumerate() {
        match serde_json::from_str(line) {
            Ok(read) => lines.push(read),
            Err(_) if line.ends_with('\n') => damaged.push(i + 1),
            Err(_) => {}
        }
    }
    if let Some(first) = damaged.first() {
        problems.push(format!("{name}: {} lines are damaged, the first is line {first}", damaged.len()));
    }
    lines
}

fn state(dir: &Path, manifest: &RunManifest, sittings: Option<&[Sitting]>) -> RunState {
    if let Some((pid, host)) = run_lock::holder(dir) {
        return RunState::Running { pid, host };
    }
    let ended = sittings.and_then(<[Sitting]>::last).filter(|sitting| sitting.ended.is_some());
    match (manifest.stopped.as_str(), ended) {
        (STOPPED_AT_MAX_UPDATES, _) => RunState::Finished,
        ("", Some(sitting)) => RunState::Stopped { reason: sitting.ended_because.clone() },
        ("", None) => RunState::Interrupted,
        (reason, _) => RunState::Stopped { reason: reason.to_owned() },
    }
}

/// The validation that `best.json` names, else the one of lowest cross-entropy, of which no checkpoint is known.
fn best_validation(
    dir: &Path,
    record: Option<BestRecord>,
    validations: &[&ValidationMetrics],
    problems: &mut Vec<String>,
) -> Option<BestValidation> {
    let Some(best) = record else {
        let (lowest, cross_entropy) = BestRule::default().best(validations.iter().copied())?;
        return Some(BestValidation {
            update: lowest.update,
            cross_entropy,
            chosen_by: None,
            checkpoint: None,
        });
    };
    let is_cross_entropy = best.rule == BestRule::default();
    // A run that was killed may have validated twice after the same update.
    let measured = validations.iter().rev().find(|v| v.update == best.update).map(|v| v.cross_entropy);
    let Some(cross_entropy) = measured.or(is_cross_entropy.then_some(best.value)) else {
        problems.push(format!(
            "metrics.jsonl has no validation of update {}, which best.json names",
            best.update
        ));
        return None;
    };
    let chosen_by = (!is_cross_entropy).then(|| format!("{}: {:.4}", best.criterion, best.value));
    let checkpoint = Some(dir.join(best.checkpoint)).filter(|checkpoint| checkpoint.is_dir());
    Some(BestValidation { update: best.update, cross_entropy, chosen_by, checkpoint })
}

/// What the newest readable contract says.
fn codec(run: &RunDir) -> Option<Fingerprint> {
    run.checkpoints().into_iter().rev().find_map(|update| {
        let bytes = std::fs::read(run.checkpoint(update).join(CONTRACT)).ok()?;
        Some(serde_json::from_slice::<InterfaceContract>(&bytes).ok()?.codec_fingerprint)
    })
}

fn updates_per_s(sittings: &[Sitting]) -> Option<f64> {
    let timed =
        sittings.iter().filter_map(|s| Some((s.to_update?.checked_sub(s.from_update)?, s.duration_s?)));
    let (updates, seconds) = timed.fold((0, 0.0), |(u, s), (updates, seconds)| (u + updates, s + seconds));
    (updates > 0 && seconds > 0.0).then(|| updates as f64 / seconds)
}

/// The end of the last sitting, else the time of the newest record.
fn when(dir: &Path, sittings: Option<&[Sitting]>) -> Option<UtcTime> {
    let ended = sittings.and_then(<[Sitting]>::last).and_then(|sitting| sitting.ended);
    let written = |name: &str| std::fs::metadata(dir.join(name)).ok()?.modified().ok().map(UtcTime::from);
    ended.or_else(|| written("metrics.jsonl").max(written("run.json")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use harmonica_config_schema::BestMetric;
    use harmonica_config_schema::record::FORMAT_VERSION;

    fn manifest(stopped: &str) -> String {
        format!(
            r#"{{"format_version": 1, "name": "test", "model": "nar", "n_parameters": 7, "config": "c0", "cache": "d0",
               "program": "0", "device": "cpu", "stopped": "{stopped}"}}"#
        )
    }

    fn validation(update: u64, cross_entropy: f64) -> String {
        format!(
            r#"{{"kind":"validation","update":{update},"ema":true,"cross_entropy":{cross_entropy},"codebooks":[],"verdict":{{"verdict":"healthy","reasons":[]}}}}"#
        )
    }

    #[test]
    fn a_run_is_read_whatever_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| std::fs::write(dir.path().join(name), content).unwrap();
        assert!(RunReading::open(dir.path()).unwrap_err().reason.contains("missing"));
        write("run.json", "{");
        assert!(RunReading::open(dir.path()).unwrap_err().reason.contains("damaged"));
        write("run.json", &manifest(""));
        let bare = RunReading::open(dir.path()).unwrap().summary;
        assert_eq!((bare.updates, bare.state, bare.max_updates), (0, RunState::Interrupted, None));
        assert_eq!((bare.best, bare.last, bare.codec, bare.updates_per_s), (None, None, None, None));
        assert!(bare.problems.len() == 1 && bare.problems[0].contains("config.toml"), "{:?}", bare.problems);
        assert!(bare.when.is_some());
    }

    #[test]
    fn damage_is_told_and_the_rest_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| std::fs::write(dir.path().join(name), content).unwrap();
        write("run.json", &manifest(STOPPED_AT_MAX_UPDATES));
        write("config.toml", "[training.nar]\nmax_updates = 9\n");
        write("best.json", "?");
        let lines = [validation(3, 2.5), "?".into(), validation(6, 2.0), validation(9, 2.25)];
        write("metrics.jsonl", &format!("{}\n{{\"kind\"", lines.join("\n")));
        let run = RunReading::open(dir.path()).unwrap();
        let found = &run.summary;
        assert_eq!((found.updates, found.max_updates, &found.state), (9, Some(9), &RunState::Finished));
        let best = BestValidation { update: 6, cross_entropy: 2.0, chosen_by: None, checkpoint: None };
        assert_eq!(found.best, Some(best));
        assert_eq!(found.last, Some(ValidationPoint { update: 9, cross_entropy: 2.25 }));
        assert_eq!(run.validations().count(), 3);
        assert_eq!(found.problems.len(), 2, "{:?}", found.problems);
        assert!(found.problems[0].contains("the first is line 2"), "{:?}", found.problems);
        assert!(found.problems[1].contains("best.json is damaged"), "{:?}", found.problems);
    }

    #[test]
    fn a_best_checkpoint_that_was_chosen_by_another_figure_shows_its_cross_entropy() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| std::fs::write(dir.path().join(name), content).unwrap();
        write("run.json", &manifest(""));
        write("config.toml", "");
        write("metrics.jsonl", &format!("{}\n{}\n", validation(3, 2.5), validation(6, 2.0)));
        let rule = BestRule { metric: BestMetric::Top10Accuracy, ..BestRule::default() };
        let best = |update: u64| BestRecord {
            format_version: FORMAT_VERSION,
            update,
            checkpoint: "step".into(),
            criterion: rule.words(),
            rule,
            value: 0.625,
        };
        write("best.json", &serde_json::to_string(&best(3)).unwrap());
        let found = RunReading::open(dir.path()).unwrap().summary.best.unwrap();
        assert_eq!((found.update, found.cross_entropy), (3, 2.5));
        assert_eq!(found.chosen_by.unwrap(), format!("{}: 0.6250", rule.words()));
        write("best.json", &serde_json::to_string(&best(4)).unwrap());
        let summary = RunReading::open(dir.path()).unwrap().summary;
        assert_eq!(summary.best, None, "an accuracy is not shown as a cross-entropy");
        assert!(summary.problems[0].contains("no validation of update 4"), "{:?}", summary.problems);
    }

    #[test]
    fn a_stopped_run_says_why() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("run.json"), manifest("it was asked to stop")).unwrap();
        let state = RunReading::open(dir.path()).unwrap().summary.state;
        assert_eq!(state, RunState::Stopped { reason: "it was asked to stop".into() });
        let run = RunDir::new(dir.path()).unwrap();
        std::fs::write(dir.path().join("run.json"), manifest("")).unwrap();
        let sitting =
            crate::sittings::OpenSitting::begin(&run, 0, crate::environment::observe("cpu", None)).unwrap();
        assert_eq!(RunReading::open(dir.path()).unwrap().summary.state, RunState::Interrupted);
        sitting.end(10, "error: no space").unwrap();
        let summary = RunReading::open(dir.path()).unwrap().summary;
        assert_eq!(summary.state, RunState::Stopped { reason: "error: no space".into() });
        assert!(summary.updates_per_s.is_some() && summary.n_sittings == Some(1));
    }
}
