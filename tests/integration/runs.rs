//! Run directories explain themselves: who trained them and when, what they are doing, how they compare.

use crate::resume::{ONE_AT_A_TIME, task_ar, task_nar, train};
use harmonica_config_schema::record::{
    ENDED_UNKNOWN, EnvironmentRecord, RunState, STOPPED_AT_MAX_UPDATES, Sitting,
};
use harmonica_config_schema::{Conditioning, ConfigLoader};
use harmonica_tests::Fixture;
use harmonica_training::{RunDir, RunReading, Trainer, best_of, compare, find_runs};
use std::path::Path;
use std::process::Command;

fn sittings(run: &Path) -> Vec<Sitting> {
    let record = std::fs::read(run.join("environment.json")).unwrap();
    serde_json::from_slice::<EnvironmentRecord>(&record).unwrap().sittings
}

#[test]
fn a_run_that_was_stopped_and_resumed_tells_each_of_its_sittings() {
    let _alone = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().unwrap();
    let f = Fixture::new(dir.path(), Conditioning::Cross);
    let run = dir.path().join("run");
    for stop_at in [2, 6, u64::MAX] {
        train(&f, task_nar(&f), &run, stop_at);
    }
    let told = sittings(&run);
    let spans: Vec<(u64, Option<u64>)> = told.iter().map(|s| (s.from_update, s.to_update)).collect();
    assert_eq!(spans, [(0, Some(2)), (2, Some(6)), (6, Some(9))]);
    assert_eq!(told[0].ended_because, "the test asked");
    assert_eq!(told[2].ended_because, STOPPED_AT_MAX_UPDATES);
    for sitting in &told {
        assert!(sitting.ended.unwrap() >= sitting.started && sitting.duration_s.unwrap() > 0.0);
        let environment = &sitting.environment;
        assert_eq!((environment.device.as_str(), environment.pid), ("cpu", std::process::id()));
        assert!(environment.backend.contains("Flex"), "{}", environment.backend);
    }
    let summary = RunReading::open(&run).unwrap().summary;
    assert_eq!((summary.n_sittings, summary.updates, summary.state), (Some(3), 9, RunState::Finished));
    assert!(summary.updates_per_s.unwrap() > 0.0 && summary.problems.is_empty(), "{:?}", summary.problems);
    let best = summary.best.unwrap();
    assert!(best.checkpoint.unwrap().is_dir() && summary.last.unwrap().cross_entropy >= best.cross_entropy);
    assert_eq!(summary.codec.as_ref(), Some(&f.contract().codec_fingerprint));
}

#[test]
fn a_killed_sitting_has_no_end_until_the_next_one_says_so() {
    let dir = tempfile::tempdir().unwrap();
    Fixture::new(dir.path(), Conditioning::Cross);
    let run = dir.path().join("run");
    let work = |failpoint: &str| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crashes::worker", "--quiet"])
            .env("HARMONICA_TEST_FIXTURE", dir.path())
            .env("HARMONICA_TEST_RUN", &run)
            .env("RAYON_NUM_THREADS", "1")
            .env("HARMONICA_FAILPOINT", failpoint)
            .output()
            .unwrap()
    };
    assert!(!work("rename@step-00000004:1").status.success());
    let killed = sittings(&run);
    assert!(killed.len() == 1 && killed[0].ended.is_none() && killed[0].ended_because.is_empty());
    let summary = RunReading::open(&run).unwrap().summary;
    assert_eq!((summary.updates, summary.state), (4, RunState::Interrupted));
    assert_eq!(summary.updates_per_s, None);
    let resumed = work("");
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stdout));
    let told = sittings(&run);
    assert_eq!(told[0].ended_because, ENDED_UNKNOWN);
    assert_eq!((told[0].ended, told[0].duration_s, told[0].to_update), (None, None, Some(4)));
    assert_eq!((told[1].from_update, told[1].to_update), (4, Some(6)));
    assert_eq!(told[1].environment.n_threads, 1);
}

#[test]
fn runs_are_found_compared_and_ranked() {
    let _alone = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().unwrap();
    let mut f = Fixture::new(dir.path(), Conditioning::Cross);
    let root = dir.path().join("runs");
    let path = |name: &str| root.join(name);
    train(&f, task_ar(&f), &path("one/ar"), u64::MAX);
    train(&f, task_nar(&f), &path("one/nar"), u64::MAX);
    f.config.training.nar.optimizer.learning_rate.peak *= 4.0;
    train(&f, task_nar(&f), &path("two/nar"), u64::MAX);
    std::fs::create_dir_all(path("half")).unwrap();
    std::fs::write(path("half/run.json"), "{").unwrap();
    let found = find_runs(&root).unwrap();
    let models: Vec<&str> = found.runs.iter().map(|run| run.model.as_str()).collect();
    assert_eq!((models, found.unreadable.len()), (vec!["ar", "nar", "nar"], 1));
    let groups = best_of(&found.runs);
    assert_eq!(groups.len(), 2, "AR and NAR are never ranked against each other");
    let lowest = |run: usize| found.runs[run].best.as_ref().unwrap().cross_entropy;
    let expected = if lowest(1) <= lowest(2) { "one/nar" } else { "two/nar" };
    assert_eq!(groups.iter().find(|group| group.model == "nar").unwrap().best.path, path(expected));

    let read = |name: &str| RunReading::open(&path(name)).unwrap();
    let same = compare(&read("one/nar"), &read("two/nar"));
    assert!(same.incomparable.is_empty() && same.environment.is_empty(), "{same:?}");
    let keys: Vec<&str> = same.config.as_ref().unwrap().iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["training.nar.optimizer.learning_rate.peak"]);
    let updates: Vec<u64> = same.validations.iter().map(|pair| pair.update).collect();
    assert_eq!(updates, [4, 8, 9]);
    assert!(same.validations.iter().all(|pair| pair.codebooks.len() == 2 && pair.left != pair.right));
    let other = compare(&read("one/ar"), &read("one/nar"));
    let reasons: Vec<&str> = other.incomparable.iter().map(|reason| reason.what.as_str()).collect();
    assert_eq!(reasons, ["model"]);
    assert_eq!(other.validations.len(), 3);
}

#[test]
fn a_run_that_is_being_written_is_running() {
    let _alone = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().unwrap();
    let f = Fixture::new(dir.path(), Conditioning::Cross);
    let path = dir.path().join("run");
    train(&f, task_nar(&f), &path, 2);
    let state = || RunReading::open(&path).unwrap().summary.state;
    assert!(matches!(state(), RunState::Stopped { .. }));
    let trainer = Trainer::new(task_nar(&f), &f.config, RunDir::new(&path).unwrap(), true).unwrap();
    assert!(matches!(state(), RunState::Running { pid, .. } if pid == std::process::id()));
    drop(trainer);
    assert!(matches!(state(), RunState::Stopped { .. }));
}

#[test]
fn the_places_of_a_configuration_are_recorded_and_stand_in_comparisons() {
    let _alone = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().unwrap();
    let f = Fixture::new(dir.path(), Conditioning::Cross);
    let run = |name: &str| dir.path().join(name);
    for (name, seed) in [("a", 1), ("b", 2)] {
        let file = dir.path().join("config.toml");
        std::fs::write(&file, toml_of(&f)).unwrap();
        let overrides = [format!("seed={seed}")];
        let resolved = ConfigLoader::new().file(&file).overrides(overrides).resolve().unwrap();
        let f = Fixture { config: resolved.config.clone(), ..Fixture::open(dir.path(), Conditioning::Cross) };
        train(&f, task_nar(&f), &run(name), 2);
        RunDir::new(&run(name)).unwrap().describe_provenance(&resolved.provenance).unwrap();
    }
    let read = |name: &str| RunReading::open(&run(name)).unwrap();
    let comparison = compare(&read("a"), &read("b"));
    let [seed] = &comparison.config.unwrap()[..] else { panic!("only the seed differs") };
    assert_eq!((seed.key.as_str(), &seed.left, &seed.right), ("seed", &1.into(), &2.into()));
    assert_eq!(seed.right_place.as_ref().unwrap().to_string(), "--set seed=2");
}

/// The fixture's configuration as a file.
fn toml_of(f: &Fixture) -> String {
    let run = tempfile::tempdir().unwrap();
    let manifest = serde_json::json!({
        "format_version": 1, "name": "test", "model": "nar", "n_parameters": 0, "config": "c", "cache": "d",
        "program": "test", "device": "cpu", "stopped": "",
    });
    let manifest = serde_json::from_value(manifest).unwrap();
    RunDir::new(run.path()).unwrap().describe(&f.config, &manifest).unwrap();
    std::fs::read_to_string(run.path().join("config.toml")).unwrap()
}
