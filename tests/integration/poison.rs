//! Losses and gradients that are not finite: the update is skipped and counted, nothing broken is ever saved, and a run that
//! does not recover stops with the reason.

use crate::resume::{ONE_AT_A_TIME, manifest, task_ar, task_nar};
use crate::struck::Struck;
use burn::tensor::Tensor;
use harmonica_config_schema::Conditioning;
use harmonica_config_schema::record::MetricsLine;
use harmonica_tests::{Fixture, record};
use harmonica_training::{Checkpoint, RunDir, Task, Trainer, TrainingError, WeightKind};
use std::path::Path;

/// What goes wrong in an update.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Poison {
    LossNan,
    LossInfinite,
    /// The loss is finite, its gradient is not.
    GradientNan,
}

/// A task whose cost is poisoned in some updates.
fn poisoned<T: Task>(inner: T, poison: Poison, is_struck: fn(u64) -> bool) -> Struck<T> {
    let last = inner.grad_accumulation() as u64 - 1;
    Struck::new(inner, move |update, micro, mut report| {
        // Only the last micro-batch: an accumulated update must not hide it.
        if is_struck(update) && micro == last {
            let zero: Tensor<1> = report.objective.clone() - report.objective.clone().detach();
            report.objective = match poison {
                Poison::LossNan => report.objective * f32::NAN,
                Poison::LossInfinite => report.objective + f32::INFINITY,
                Poison::GradientNan => report.objective + zero.sqrt(),
            };
        }
        report
    })
}

/// Trains and gives back how it ended and how many updates the record says were skipped.
fn train<T: Task + 'static>(f: &Fixture, task: T, dir: &Path) -> (Result<u64, TrainingError>, usize) {
    let run = RunDir::new(dir).unwrap();
    let name = task.name();
    let trainer = Trainer::new(task, &f.config, run.clone(), true).unwrap();
    run.describe(&f.config, &manifest(f, name)).unwrap();
    let ended = trainer.run(&mut ()).map(|outcome| outcome.update);
    let skipped = |line: &MetricsLine| matches!(line, MetricsLine::Event(e) if e.message.contains("skipped"));
    (ended, run.metrics().iter().filter(|line| skipped(line)).count())
}

fn assert_finite(dir: &Path) -> usize {
    let run = RunDir::new(dir).unwrap();
    for update in run.checkpoints() {
        let checkpoint = Checkpoint::open(&run.checkpoint(update)).unwrap();
        for kind in [WeightKind::Raw, WeightKind::Averaged] {
            assert_eq!(checkpoint.weights(kind).unwrap().not_finite(), Vec::<String>::new());
        }
    }
    run.checkpoints().len()
}

fn strike<T: Task + 'static>(f: &Fixture, make: impl Fn() -> T, dir: &Path) {
    for (i, poison) in [Poison::LossNan, Poison::LossInfinite, Poison::GradientNan].into_iter().enumerate() {
        let at = dir.join(format!("some-{}-{i}", make().name()));
        let some = poisoned(make(), poison, |update| update == 1 || update == 4);
        let (ended, skipped) = train(f, some, &at);
        assert_eq!((ended.unwrap(), skipped), (9, 2), "{poison:?}");
        assert!(assert_finite(&at) > 0);
        let at = dir.join(format!("all-{}-{i}", make().name()));
        let all = poisoned(make(), poison, |update| update >= 5);
        let (ended, skipped) = train(f, all, &at);
        let words = ended.unwrap_err().to_string();
        assert!(words.contains("3 updates in a row") && words.contains("update 8"), "{poison:?}: {words}");
        assert_eq!(skipped, 3, "{poison:?}");
        assert!(assert_finite(&at) > 0, "{poison:?}");
    }
}

#[test]
fn poisoned_updates_are_skipped_and_counted_and_too_many_stop_the_run() {
    let _alone = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().unwrap();
    let mut f = Fixture::new(dir.path(), Conditioning::Cross);
    f.config.training.max_skipped_updates = 3;
    f.config.training.nar.grad_accumulation = 2;
    strike(&f, || task_ar(&f), dir.path());
    strike(&f, || task_nar(&f), dir.path());
    record("R12", &[("poisoned runs", 12.0), ("checkpoints with a value that is not finite", 0.0)]);
}

#[test]
fn weights_that_a_step_broke_are_not_saved() {
    let _alone = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().unwrap();
    let mut f = Fixture::new(dir.path(), Conditioning::Cross);
    // Finite losses, finite gradients, and a step beyond every f32.
    f.config.training.nar.optimizer.learning_rate.peak = 1e39;
    f.config.training.nar.optimizer.learning_rate.warmup_updates = 0;
    f.config.training.validate_every_updates = 100;
    f.config.training.checkpoint_every_updates = 1;
    let at = dir.path().join("run");
    let words = train(&f, task_nar(&f), &at).0.unwrap_err().to_string();
    assert!(words.contains("not finite") && words.contains("nothing was saved"), "{words}");
    assert_eq!(assert_finite(&at), 0);
}
