//! A process that dies at any step of a write leaves a run that goes on as if nothing had happened.
//!
//! The test kills processes of its own binary at failpoints (`harmonica-storage/src/failpoint.rs`), looks at what they left,
//! lets another one resume, and compares it with a run that was never killed.

use crate::resume::{task_nar, train};
use harmonica_config_schema::Conditioning;
use harmonica_config_schema::record::BestRecord;
use harmonica_tests::Fixture;
use harmonica_training::{Checkpoint, FileCheck, RunDir};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};

const FIXTURE: &str = "HARMONICA_TEST_FIXTURE";
const RUN: &str = "HARMONICA_TEST_RUN";
/// Checkpoints of the killed run: after updates 2, 4 and 6, and those that are the best so far.
const MAX_UPDATES: u64 = 6;
/// Outside of the checkpoint that is looked at closely, every so many failpoints are tried.
const STRIDE: usize = 9;

/// Not a test by itself: the process that is killed. Without the variables that name its work it does nothing.
#[test]
fn worker() {
    let (Some(fixture), Some(run)) = (std::env::var_os(FIXTURE), std::env::var_os(RUN)) else { return };
    let mut f = Fixture::open(Path::new(&fixture), Conditioning::Cross);
    f.config.training.checkpoint_every_updates = 2;
    f.config.training.validate_every_updates = 3;
    f.config.training.keep_checkpoints = 1;
    f.config.training.nar.max_updates = MAX_UPDATES;
    train(&f, task_nar(&f), Path::new(&run), u64::MAX);
}

fn work(fixture: &Path, run: &Path, environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crashes::worker", "--quiet"]).env(FIXTURE, fixture).env(RUN, run);
    command.env("RAYON_NUM_THREADS", "1").envs(environment.iter().copied()).output().unwrap()
}

fn is_whole(dir: &Path) -> bool {
    Checkpoint::verify(dir).iter().all(FileCheck::is_whole)
}

/// At any moment: every checkpoint is whole, and `LATEST` and `best.json` name one of them.
pub(crate) fn assert_consistent(root: &Path, at: &str) {
    let run = RunDir::new(root).unwrap();
    for update in run.checkpoints() {
        assert!(is_whole(&run.checkpoint(update)), "{at}: step {update} is not whole");
    }
    assert!(!root.join("LATEST").exists() || is_whole(&run.latest().unwrap()), "{at}: LATEST");
    if let Ok(best) = std::fs::read(root.join("best.json")) {
        let best: BestRecord = serde_json::from_slice(&best).unwrap();
        assert!(is_whole(&root.join(best.checkpoint)), "{at}: best.json");
    }
}

/// Every file that a run leaves, but for `environment.json`, which tells that a run was killed and when.
pub(crate) fn content(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if path.is_dir() {
                dirs.push(path);
            } else if name != "environment.json" {
                files.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    files
}

pub(crate) fn assert_same(found: &BTreeMap<String, Vec<u8>>, wanted: &BTreeMap<String, Vec<u8>>, at: &str) {
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(found), names(wanted), "{at}");
    for (name, bytes) in wanted {
        assert!(found[name] == *bytes, "{at}: {name} differs");
    }
}

/// The failpoints to try: all of one checkpoint that has others before and after it, and every [`STRIDE`]th other one.
fn chosen(trace: &str) -> Vec<String> {
    let names: Vec<&str> = trace.lines().collect();
    let starts: Vec<usize> = (0..names.len()).filter(|i| names[*i] == "write@model.safetensors").collect();
    assert!(starts.len() >= 4, "{trace}");
    // The third one is the first that supersedes another.
    let closely = starts[2]..starts[3];
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut chosen = Vec::new();
    for (i, name) in names.iter().enumerate() {
        let count = counts.entry(name).or_default();
        *count += 1;
        if closely.contains(&i) || i % STRIDE == 0 {
            chosen.push(format!("{name}:{count}"));
        }
    }
    chosen
}

#[test]
fn a_checkpoint_survives_death_at_every_step_of_its_writing() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = dir.path();
    Fixture::new(fixture, Conditioning::Cross);
    let (whole, trace) = (fixture.join("run-whole"), fixture.join("trace"));
    let done = work(fixture, &whole, &[("HARMONICA_FAILPOINT_TRACE", &trace.display().to_string())]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    assert_consistent(&whole, "never killed");
    let wanted = content(&whole);
    assert!(wanted.contains_key(&format!("step-{MAX_UPDATES:08}/model.safetensors")), "{:?}", wanted.keys());
    let failpoints = chosen(&std::fs::read_to_string(&trace).unwrap());
    for operation in ["write@", "fsync@", "rename@", "remove@"] {
        assert!(failpoints.iter().any(|f| f.starts_with(operation)), "{operation} in {failpoints:?}");
    }
    let half = failpoints.len().div_ceil(2);
    std::thread::scope(|scope| {
        for part in failpoints.chunks(half) {
            let wanted = &wanted;
            scope.spawn(move || {
                for failpoint in part {
                    let run = fixture.join(format!("run-{}", failpoint.replace([':', '@'], "-")));
                    // The failpoint of the run directory itself is named after it.
                    let renamed = run.file_name().unwrap().to_str().unwrap();
                    let here = failpoint.replace("@run-whole:", &format!("@{renamed}:"));
                    let killed = work(fixture, &run, &[("HARMONICA_FAILPOINT", &here)]);
                    assert!(!killed.status.success(), "{failpoint} was not reached");
                    assert!(
                        run.join("owner.json").exists() || failpoint.contains("owner.json"),
                        "{failpoint}"
                    );
                    assert_consistent(&run, failpoint);
                    let resumed = work(fixture, &run, &[]);
                    let words = String::from_utf8_lossy(&resumed.stdout);
                    assert!(resumed.status.success(), "{failpoint}: {words}");
                    assert_consistent(&run, failpoint);
                    assert_same(&content(&run), wanted, failpoint);
                    std::fs::remove_dir_all(&run).unwrap();
                }
            });
        }
    });
}

#[test]
fn one_and_two_threads_train_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    Fixture::new(dir.path(), Conditioning::Cross);
    let contents = ["1", "2", "3"].map(|threads| {
        let run = dir.path().join(format!("run-{threads}"));
        assert!(work(dir.path(), &run, &[("RAYON_NUM_THREADS", threads)]).status.success());
        content(&run)
    });
    assert_same(&contents[1], &contents[0], "two threads");
    assert_same(&contents[2], &contents[0], "three threads");
}
