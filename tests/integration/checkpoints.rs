//! Damaged checkpoints are found, named, and passed over; whole ones can be exported and averaged.

use crate::resume::{ONE_AT_A_TIME, task_nar, train};
use harmonica_config_schema::Conditioning;
use harmonica_model_core::WeightStore;
use harmonica_tests::Fixture;
use harmonica_training::{Checkpoint, RunDir, Trainer, WeightKind};
use std::path::{Path, PathBuf};

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// A run with whole checkpoints after updates 3, 6 and 9, and the fixture that it was trained on.
fn trained(dir: &Path) -> (Fixture, PathBuf) {
    let mut f = Fixture::new(dir, Conditioning::Cross);
    f.config.training.keep_every_updates = 3;
    let run = dir.join("run");
    train(&f, task_nar(&f), &run, u64::MAX);
    (f, run)
}

#[test]
fn a_damaged_checkpoint_is_passed_over_and_changes_no_byte() {
    let _alone = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().unwrap();
    let (f, whole) = trained(dir.path());
    let last = "step-00000009";
    let read = |run: &Path, name: &str| std::fs::read(run.join(last).join(name)).unwrap();
    for (i, file) in ["model.safetensors", "optimizer.bpk", "manifest.json"].into_iter().enumerate() {
        let run = dir.path().join(format!("damaged-{i}"));
        copy(&whole, &run);
        flip(&run.join(last).join(file));
        // What a killed process leaves is no checkpoint and no error.
        std::fs::create_dir(run.join("step-00000099")).unwrap();
        std::fs::create_dir(run.join(format!(".staging-{}-step-00000099", u32::MAX - 1))).unwrap();
        train(&f, task_nar(&f), &run, u64::MAX);
        assert_eq!(std::fs::read_to_string(run.join("LATEST")).unwrap().trim(), last);
        for name in ["model.safetensors", "ema.safetensors", "state.json"] {
            assert!(read(&run, name) == read(&whole, name), "{name} differs after damage of {file}");
        }
        assert!(!files(&run).iter().any(|p| p.to_string_lossy().contains(".staging-")));
        Checkpoint::open(&run.join(last)).unwrap();
    }
}

#[test]
fn a_run_without_a_whole_checkpoint_is_an_error_and_one_with_only_unfinished_ones_begins() {
    let _alone = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().unwrap();
    let (f, run) = trained(dir.path());
    let steps = RunDir::new(&run).unwrap().checkpoints();
    for update in &steps {
        flip(&run.join(format!("step-{update:08}/ema.safetensors")));
    }
    let again = || Trainer::new(task_nar(&f), &f.config, RunDir::new(&run).unwrap(), true).err();
    let words = again().unwrap().to_string();
    for word in
        [&format!("none of the {} checkpoints", steps.len()), "ema.safetensors", "restore", "update 0"]
    {
        assert!(words.contains(word), "{word} is not in {words}");
    }
    for update in &steps {
        std::fs::remove_file(run.join(format!("step-{update:08}/manifest.json"))).unwrap();
        std::fs::remove_file(run.join(format!("step-{update:08}/state.json"))).unwrap();
    }
    assert!(again().is_none());
}

#[test]
fn a_checkpoint_without_a_manifest_is_refused_until_it_is_sealed() {
    let _alone = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().unwrap();
    let (_, run) = trained(dir.path());
    let checkpoint = run.join("step-00000009");
    let before = std::fs::read(checkpoint.join("manifest.json")).unwrap();
    assert!(Checkpoint::seal(&checkpoint).unwrap_err().to_string().contains("has a manifest already"));
    std::fs::remove_file(checkpoint.join("manifest.json")).unwrap();
    let words = Checkpoint::open(&checkpoint).unwrap_err().to_string();
    assert!(words.contains("manifest.json: missing") && words.contains("checkpoint seal"), "{words}");
    Checkpoint::seal(&checkpoint).unwrap();
    assert_eq!(std::fs::read(checkpoint.join("manifest.json")).unwrap(), before);
}

#[test]
fn a_run_that_is_being_written_has_one_writer() {
    let _alone = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().unwrap();
    let f = Fixture::new(dir.path(), Conditioning::Cross);
    let run = RunDir::new(&dir.path().join("run")).unwrap();
    let open = || Trainer::new(task_nar(&f), &f.config, run.clone(), true);
    let first = open().unwrap();
    let words = open().err().unwrap().to_string();
    assert!(words.contains(&format!("process {}", std::process::id())) && words.contains("run`"), "{words}");
    drop(first);
    assert!(open().is_ok());
}

#[test]
fn exports_and_averages_hold_the_weights_that_they_name() {
    let _alone = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().unwrap();
    let (f, run) = trained(dir.path());
    let open = |update: u64| Checkpoint::open(&run.join(format!("step-{update:08}"))).unwrap();
    let (a, b) = (open(6), open(9));
    let exported = |kind, half| {
        let path = dir.path().join("exported.safetensors");
        let digest = b.export(kind, half, &path).unwrap();
        assert_eq!(digest.bytes, std::fs::metadata(&path).unwrap().len());
        WeightStore::read(&path).unwrap()
    };
    for kind in [WeightKind::Averaged, WeightKind::Raw] {
        let weights = b.weights(kind).unwrap();
        assert_eq!(exported(kind, false), weights);
        for (name, (values, _)) in exported(kind, true).tensors() {
            for (half, full) in values.iter().zip(&weights.tensors()[name].0) {
                assert!((half - full).abs() <= full.abs() * 1e-3 + 1e-7, "{name}: {half} {full}");
            }
        }
    }
    let output = dir.path().join("average");
    let mean = Checkpoint::average(&[a.clone(), b.clone()], &output).unwrap();
    assert_eq!(mean.state().update, 9);
    let (mean, a, b) = [mean, a, b].map(|c| c.weights(WeightKind::Averaged).unwrap()).into();
    for (name, (values, _)) in mean.tensors() {
        for (i, value) in values.iter().enumerate() {
            let wanted = (f64::from(a.tensors()[name].0[i]) + f64::from(b.tensors()[name].0[i])) / 2.0;
            assert_eq!(*value, wanted as f32, "{name}");
        }
    }
    // An average is no moment of a run.
    let other = dir.path().join("other");
    train(&f, task_nar(&f), &other, 2);
    copy(&output, &other.join("step-00000009"));
    let error = Trainer::new(task_nar(&f), &f.config, RunDir::new(&other).unwrap(), true).err().unwrap();
    assert!(error.to_string().contains("average"), "{error}");
}
