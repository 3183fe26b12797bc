//! A resumed run equals one that was never stopped, byte for byte.

use burn::tensor::Device;
use harmonica_config_schema::Conditioning;
use harmonica_config_schema::record::{FORMAT_VERSION, RunManifest};
use harmonica_model_core::LossRegistry;
use harmonica_tests::Fixture;
use harmonica_training::{ArTask, NarTask, RunDir, Task, TrainObserver, Trainer};
use std::path::Path;
use std::sync::Mutex;

/// burn's backends share process-wide state; runs that are compared byte for byte go one at a time.
pub(crate) static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

struct StopAt(u64, u64);

impl<M> TrainObserver<M> for StopAt {
    fn on_train(
        &mut self,
        metrics: &harmonica_config_schema::record::TrainMetrics,
        _: harmonica_training::Progress,
    ) {
        self.1 = metrics.update;
    }

    fn stop_reason(&self) -> Option<String> {
        (self.1 >= self.0).then(|| "the test asked".to_owned())
    }
}

pub(crate) fn manifest(fixture: &Fixture, model: &str) -> RunManifest {
    RunManifest {
        format_version: FORMAT_VERSION,
        name: "test".into(),
        model: model.into(),
        n_parameters: 0,
        config: fixture.config.fingerprint(),
        cache: fixture.cache.digest(),
        cache_mismatch: Vec::new(),
        program: "test".into(),
        device: "cpu".into(),
        stopped: String::new(),
    }
}

pub(crate) fn train<T: Task + 'static>(fixture: &Fixture, task: T, dir: &Path, stop_at: u64) {
    let name = task.name();
    let run = RunDir::new(dir).unwrap();
    let trainer = Trainer::new(task, &fixture.config, run.clone(), true).unwrap();
    run.describe(&fixture.config, &manifest(fixture, name)).unwrap();
    trainer.run(&mut StopAt(stop_at, 0)).unwrap();
}

pub(crate) fn task_ar(f: &Fixture) -> ArTask {
    let device = Device::flex().autodiff();
    ArTask::new(&f.config, f.cache.clone(), f.geometry(), f.contract(), LossRegistry::stable(), &device)
        .unwrap()
}

pub(crate) fn task_nar(f: &Fixture) -> NarTask {
    let device = Device::flex().autodiff();
    NarTask::new(&f.config, f.cache.clone(), f.geometry(), f.contract(), LossRegistry::stable(), &device)
        .unwrap()
}

fn assert_same_run(a: &Path, b: &Path) {
    for name in ["model.safetensors", "ema.safetensors", "optimizer.bpk", "state.json", "manifest.json"] {
        let read = |root: &Path| std::fs::read(root.join("step-00000009").join(name)).unwrap();
        assert!(read(a) == read(b), "{name} differs");
    }
    let metrics = |root: &Path| std::fs::read_to_string(root.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics(a), metrics(b));
}

#[test]
fn stopping_and_resuming_changes_no_byte() {
    let _alone = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().unwrap();
    let f = Fixture::new(dir.path(), Conditioning::Prefix);
    let path = |name: &str| dir.path().join(name);
    train(&f, task_ar(&f), &path("ar-whole"), u64::MAX);
    train(&f, task_ar(&f), &path("ar-parts"), 4);
    train(&f, task_ar(&f), &path("ar-parts"), 6);
    train(&f, task_ar(&f), &path("ar-parts"), u64::MAX);
    assert_same_run(&path("ar-whole"), &path("ar-parts"));
    train(&f, task_nar(&f), &path("nar-whole"), u64::MAX);
    train(&f, task_nar(&f), &path("nar-parts"), 4);
    train(&f, task_nar(&f), &path("nar-parts"), u64::MAX);
    assert_same_run(&path("nar-whole"), &path("nar-parts"));
}

#[test]
fn a_second_run_in_one_directory_needs_resume_and_the_same_configuration() {
    let _alone = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().unwrap();
    let mut f = Fixture::new(dir.path(), Conditioning::Cross);
    let run = dir.path().join("run");
    train(&f, task_nar(&f), &run, 2);
    let again = |f: &Fixture, resume: bool| {
        Trainer::new(task_nar(f), &f.config, RunDir::new(&run).unwrap(), resume).err().map(|e| e.to_string())
    };
    assert!(again(&f, false).unwrap().contains("--resume"));
    assert_eq!(again(&f, true), None);
    f.config.training.nar.token_noise = 0.5;
    assert!(again(&f, true).unwrap().contains("another configuration"));
}
