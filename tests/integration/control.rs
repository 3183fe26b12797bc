//! How a run steers itself: parameter groups, instability, plateau, early stop, the best checkpoint.

use crate::resume::{ONE_AT_A_TIME, manifest, task_ar, task_nar, train};
use crate::struck::Struck;
use burn::tensor::Device;
use harmonica_config_schema::record::{BestRecord, MetricsLine, RunEvent, ValidationMetrics};
use harmonica_config_schema::{
    BestMetric, BestRule, Conditioning, InstabilityConfig, JudgedWeights, OptimizerConfig, Preset,
    SpeakerConditioning, SpeakerPooling,
};
use harmonica_model_core::{ArModel, NarModel, WeightStore, parameter_names};
use harmonica_tests::Fixture;
use harmonica_training::{
    Checkpoint, ParamGroupName, ParamGroups, RunDir, Task, TrainObserver, TrainOutcome, Trainer, WeightKind,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn assert_partition<M: burn::module::Module>(model: &M, what: &str) {
    let groups = ParamGroups::new(model, &OptimizerConfig::default()).unwrap();
    for (path, _) in parameter_names(model) {
        let holding: Vec<ParamGroupName> = ParamGroupName::ALL
            .into_iter()
            .filter(|group| groups.members(*group).any(|member| member == path))
            .collect();
        assert_eq!(holding.len(), 1, "{what}: `{path}` is in {holding:?}");
    }
    for group in [ParamGroupName::Embeddings, ParamGroupName::Attention, ParamGroupName::Output] {
        assert!(groups.members(group).next().is_some(), "{what}: {group:?} is empty");
    }
}

#[test]
fn every_parameter_is_in_exactly_one_group_for_all_presets_and_options() {
    let dir = tempfile::tempdir().unwrap();
    let f = Fixture::new(dir.path(), Conditioning::Prefix);
    let device = Device::flex();
    let spec = f.cache.spec();
    let mut n = 0;
    for preset in [Preset::Test, Preset::Demo, Preset::Tiny, Preset::Small, Preset::Base, Preset::Large] {
        for conditioning in [Conditioning::Prefix, Conditioning::Cross] {
            for speaker in [SpeakerConditioning::Embedding, SpeakerConditioning::Prompt] {
                for pooling in [SpeakerPooling::None, SpeakerPooling::Mean, SpeakerPooling::Attention] {
                    for codec_geometry in [false, true] {
                        // Wide models in all options would only take long: their names are those of the narrow ones.
                        let is_wide = preset.dims().width > 128;
                        if is_wide
                            && (conditioning, speaker) != (Conditioning::Cross, SpeakerConditioning::Prompt)
                        {
                            continue;
                        }
                        if is_wide && (pooling != SpeakerPooling::Attention || !codec_geometry) {
                            continue;
                        }
                        let what =
                            format!("{preset:?} {conditioning:?} {speaker:?} {pooling:?} {codec_geometry}");
                        let mut nar = f.config.model.nar.clone();
                        (nar.preset, nar.conditioning, nar.speaker) = (preset, conditioning, speaker);
                        (nar.speaker_pooling, nar.codec_geometry) = (pooling, codec_geometry);
                        (nar.n_layers, nar.n_text_layers) = (Some(2), Some(2));
                        let geometry = f.geometry();
                        assert_partition(
                            &NarModel::new(&nar, spec, 40, 2, Some(&geometry), 1, &device),
                            &what,
                        );
                        let mut ar = f.config.model.ar.clone();
                        (ar.preset, ar.conditioning, ar.speaker) = (preset, conditioning, speaker);
                        (ar.codec_geometry, ar.n_layers, ar.n_text_layers) =
                            (codec_geometry, Some(2), Some(2));
                        assert_partition(&ArModel::new(&ar, spec, 40, 2, Some(&geometry), 1, &device), &what);
                        n += 2;
                    }
                }
            }
        }
    }
    assert_eq!(n, 2 * (2 * 24 + 4));
}

#[test]
fn a_frozen_embedding_stays_bit_identical_while_its_neighbours_move() {
    let _alone = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().unwrap();
    let mut f = Fixture::new(dir.path(), Conditioning::Cross);
    f.config.model.nar.speaker = SpeakerConditioning::Prompt;
    f.config.training.nar.optimizer.groups.embeddings.lr_multiplier = 0.0;
    f.config.training.nar.optimizer.groups.embeddings.weight_decay = Some(0.5);
    let before = WeightStore::of(&task_nar(&f).fresh_model());
    train(&f, task_nar(&f), &dir.path().join("run"), u64::MAX);
    let checkpoint = Checkpoint::open(&dir.path().join("run/step-00000009")).unwrap();
    let after = checkpoint.weights(WeightKind::Raw).unwrap();
    let mut moved = std::collections::BTreeSet::new();
    for (path, (values, _)) in before.tensors() {
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let is_same = bits(values) == bits(&after.tensors()[path].0);
        let group = ParamGroupName::of(path).unwrap();
        if group == ParamGroupName::Embeddings {
            assert!(is_same, "`{path}` was frozen");
        } else if !is_same {
            moved.insert(group);
        }
    }
    assert_eq!(moved.len(), 5, "{moved:?}");
}

/// Trains, and returns how it ended and what the run wrote.
fn run<T: Task + 'static>(
    f: &Fixture,
    task: T,
    dir: &Path,
    observer: &mut dyn TrainObserver<T::Model>,
) -> (TrainOutcome, Vec<MetricsLine>) {
    let run = RunDir::new(dir).unwrap();
    let name = task.name();
    let trainer = Trainer::new(task, &f.config, run.clone(), true).unwrap();
    run.describe(&f.config, &manifest(f, name)).unwrap();
    let outcome = trainer.run(observer).unwrap();
    (outcome, run.metrics())
}

fn validations(lines: &[MetricsLine]) -> Vec<&ValidationMetrics> {
    let found = lines.iter().filter_map(|line| match line {
        MetricsLine::Validation(validation) => Some(validation),
        _ => None,
    });
    found.collect()
}

fn events<'a>(lines: &'a [MetricsLine], word: &str) -> Vec<&'a RunEvent> {
    let found = lines.iter().filter_map(|line| match line {
        MetricsLine::Event(event) => Some(event),
        _ => None,
    });
    found.filter(|event| event.message.contains(word)).collect()
}

fn last_raw(lines: &[MetricsLine]) -> f64 {
    validations(lines).last().unwrap().raw.as_ref().unwrap().cross_entropy
}

const POLICY: InstabilityConfig = InstabilityConfig {
    events_to_cut: 2,
    window_updates: 50,
    grad_norm_ratio: 5.0,
    loss_rise_nats: 0.5,
    skip_spikes: true,
    cut_factor: 0.25,
    min_scale: 0.001,
    recover_updates: 40,
};

/// A fixture whose NAR model trains for a while, with or without the policy.
fn unstable_fixture(dir: &Path, with_policy: bool) -> Fixture {
    let mut f = Fixture::new(dir, Conditioning::Cross);
    let off = InstabilityConfig { events_to_cut: 0, skip_spikes: false, ..POLICY };
    f.config.training.nar.control.instability = if with_policy { POLICY } else { off };
    f.config.training.nar.max_updates = 120;
    f.config.training.validate_every_updates = 60;
    f.config.training.checkpoint_every_updates = 60;
    f
}

#[test]
fn a_learning_rate_that_leaps_is_cut_and_the_run_recovers() {
    let _alone = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().unwrap();
    let finish = |with_policy: bool| {
        let mut f = unstable_fixture(dir.path(), with_policy);
        // The rate climbs to one at which nothing can be learned, and stays there.
        f.config.training.nar.max_updates = 300;
        let rate = &mut f.config.training.nar.optimizer.learning_rate;
        (rate.peak, rate.warmup_updates) = (1.0, 100);
        (rate.decay_start, rate.final_ratio) = (1.0, 1.0);
        let policy = &mut f.config.training.nar.control.instability;
        (policy.recover_updates, policy.min_scale) = (10_000, 0.005);
        run(&f, task_nar(&f), &dir.path().join(format!("{with_policy}")), &mut ()).1
    };
    let (with, without) = (finish(true), finish(false));
    assert!(!events(&with, "learning rate cut").is_empty());
    assert!(events(&without, "learning rate").is_empty());
    let (recovered, lost) = (last_raw(&with), last_raw(&without));
    assert!(recovered + 0.5 < lost, "{recovered} {lost}");
}

#[test]
fn a_loss_that_leaps_is_skipped_and_the_run_goes_on() {
    let _alone = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().unwrap();
    let finish = |with_policy: bool| {
        let mut f = unstable_fixture(dir.path(), with_policy);
        f.config.training.nar.optimizer.max_grad_norm = 100.0;
        f.config.training.nar.max_updates = 60;
        // A few batches pull with great force in the wrong direction.
        let task = Struck::new(task_nar(&f), |update, _, mut report| {
            if (40..48).contains(&update) {
                report.objective = report.objective * -100.0;
            }
            report
        });
        run(&f, task, &dir.path().join(format!("{with_policy}")), &mut ()).1
    };
    let (with, without) = (finish(true), finish(false));
    assert_eq!(events(&with, "update skipped: gradient norm").len(), 8);
    assert_eq!(events(&with, "the last: gradient norm").len(), 4, "two events make a cut");
    let (recovered, lost) = (last_raw(&with), last_raw(&without));
    assert!(recovered + 0.5 < lost, "{recovered} {lost}");
}

/// Counts cuts, so that a task can be sick as long as its learning rate is too high.
struct Cuts(Arc<AtomicUsize>);

impl<M> TrainObserver<M> for Cuts {
    fn on_event(&mut self, event: &RunEvent) {
        if event.message.contains("learning rate cut") {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[test]
fn losses_that_are_no_numbers_until_the_rate_is_low_enough_end_a_run_only_without_the_policy() {
    let _alone = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().unwrap();
    let start = |with_policy: bool| {
        let f = unstable_fixture(dir.path(), with_policy);
        let cuts = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&cuts);
        let task = Struck::new(task_nar(&f), move |update, _, mut report| {
            if update >= 20 && seen.load(Ordering::SeqCst) < 3 {
                report.objective = report.objective * f32::NAN;
            }
            report
        });
        let run = RunDir::new(&dir.path().join(format!("{with_policy}"))).unwrap();
        let trainer = Trainer::new(task, &f.config, run.clone(), true).unwrap();
        run.describe(&f.config, &manifest(&f, "nar")).unwrap();
        (trainer.run(&mut Cuts(cuts)), run.metrics())
    };
    let (ended, lines) = start(true);
    assert_eq!(ended.unwrap().update, 120);
    assert_eq!((events(&lines, "update skipped").len(), events(&lines, "the last: loss NaN").len()), (6, 3));
    assert!(!events(&lines, "after 40 calm updates").is_empty(), "calm takes cuts back");
    let words = start(false).0.unwrap_err().to_string();
    assert!(words.contains("10 updates in a row") && words.contains("update 30"), "{words}");
}

#[test]
fn a_run_that_gains_nothing_stops_at_the_expected_update_and_stays_stopped() {
    let _alone = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().unwrap();
    let mut f = Fixture::new(dir.path(), Conditioning::Cross);
    f.config.training.nar.max_updates = 40;
    let control = &mut f.config.training.nar.control;
    (control.plateau.patience_updates, control.plateau.min_gain_nats) = (4, 10.0);
    (control.early_stop.patience_updates, control.early_stop.min_gain_nats) = (8, 10.0);
    (control.early_stop.utilization_patience_updates, control.early_stop.min_utilization_gain) = (12, 1.0);
    train(&f, task_nar(&f), &dir.path().join("parts"), 7);
    let (outcome, lines) = run(&f, task_nar(&f), &dir.path().join("parts"), &mut ());
    // Validations at 4, 8, 12, ...: the first is the best of both, 12 updates later both windows have passed.
    assert_eq!((outcome.update, outcome.is_interrupted), (16, false));
    assert!(outcome.stopped.contains("stopped early at update 16"), "{}", outcome.stopped);
    let cuts: Vec<u64> = events(&lines, "learning rate cut").iter().map(|event| event.update).collect();
    assert_eq!(cuts, [8, 12, 16]);
    let record = RunDir::new(&dir.path().join("parts")).unwrap().manifest().unwrap();
    assert_eq!(record.stopped, outcome.stopped);
    let (again, after) = run(&f, task_nar(&f), &dir.path().join("parts"), &mut ());
    assert_eq!((again, after), (outcome, lines.clone()), "a stopped run stays stopped");
    let (_, whole) = run(&f, task_nar(&f), &dir.path().join("whole"), &mut ());
    assert_eq!(whole, lines, "it stops where one does that was never resumed");
}

#[test]
fn best_json_is_what_fifty_evaluations_say_whatever_the_rule_and_the_stops() {
    let _alone = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().unwrap();
    for (i, metric) in [BestMetric::CrossEntropy, BestMetric::Accuracy].into_iter().enumerate() {
        let mut f = Fixture::new(dir.path(), Conditioning::Cross);
        let rule = BestRule { metric, weights: [JudgedWeights::Ema, JudgedWeights::Raw][i] };
        f.config.training.nar.control.best = rule;
        f.config.training.nar.max_updates = 50;
        f.config.training.nar.optimizer.learning_rate.peak = 0.01;
        f.config.training.validate_every_updates = 1;
        f.config.training.log_every_updates = 1;
        let at = dir.path().join(format!("run-{i}"));
        train(&f, task_nar(&f), &at, 17);
        train(&f, task_nar(&f), &at, 33);
        let (outcome, lines) = run(&f, task_nar(&f), &at, &mut ());
        let validations = validations(&lines);
        assert_eq!(validations.len(), 50);
        let values: Vec<f64> = validations
            .iter()
            .map(|v| match metric {
                BestMetric::CrossEntropy => v.cross_entropy,
                _ => {
                    let raw = &v.raw.as_ref().unwrap().codebooks;
                    -raw.iter().map(|c| c.accuracy).sum::<f64>() / raw.len() as f64
                }
            })
            .collect();
        let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
        let first = values.iter().position(|value| *value == lowest).unwrap();
        let best: BestRecord = serde_json::from_slice(&std::fs::read(at.join("best.json")).unwrap()).unwrap();
        assert_eq!((best.update, best.value.abs()), (validations[first].update, lowest.abs()));
        assert_eq!(Some(&best), outcome.best.as_ref());
        assert_eq!(best.rule, rule);
        let checkpoint = Checkpoint::open(&at.join(&best.checkpoint)).unwrap();
        assert_eq!(checkpoint.state().best.as_ref(), Some(&best), "the checkpoint itself says so");
    }
}

#[test]
fn averages_forget_the_first_weights_at_once() {
    let _alone = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().unwrap();
    let mut f = Fixture::new(dir.path(), Conditioning::Prefix);
    f.config.training.ar.optimizer.ema_decay = 0.9999;
    let first = WeightStore::of(&task_ar(&f).fresh_model());
    train(&f, task_ar(&f), &dir.path().join("run"), u64::MAX);
    let checkpoint = Checkpoint::open(&dir.path().join("run/step-00000009")).unwrap();
    let [raw, average] =
        [WeightKind::Raw, WeightKind::Averaged].map(|kind| checkpoint.weights(kind).unwrap());
    let distance = |a: &WeightStore, b: &WeightStore| -> f64 {
        let square = |(name, (values, _)): (&String, &(Vec<f32>, Vec<usize>))| -> f64 {
            values.iter().zip(&b.tensors()[name].0).map(|(a, b)| f64::from(a - b).powi(2)).sum()
        };
        a.tensors().iter().map(square).sum::<f64>().sqrt()
    };
    // Without a warm-up the average would have gone a thousandth of the way.
    assert!(distance(&average, &first) > 0.3 * distance(&raw, &first));
    assert!(distance(&average, &raw) > 0.0);
}

#[test]
fn a_run_begins_with_what_of_another_means_the_same() {
    let _alone = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().unwrap();
    let mut f = Fixture::new(dir.path(), Conditioning::Cross);
    train(&f, task_nar(&f), &dir.path().join("first"), u64::MAX);
    let from = Checkpoint::open(&dir.path().join("first/step-00000009")).unwrap();
    f.config.model.nar.max_frames = 120;
    f.config.model.nar.ffn_width = Some(48);
    let at = dir.path().join("second");
    let run = RunDir::new(&at).unwrap();
    let mut trainer = Trainer::new(task_nar(&f), &f.config, run.clone(), false).unwrap();
    let told = trainer.begin_with(&from).unwrap().unwrap();
    run.describe(&f.config, &manifest(&f, "nar")).unwrap();
    drop(trainer);
    assert_eq!(told.resized.keys().collect::<Vec<_>>(), ["frame_positions"]);
    assert!(told.skipped.keys().all(|path| path.contains("expand") || path.contains("contract")), "{told:?}");
    assert!(!told.skipped.is_empty() && told.unused.is_empty());
    let begun = Checkpoint::open(&run.checkpoint(0)).unwrap().weights(WeightKind::Raw).unwrap();
    let given = from.weights(WeightKind::Averaged).unwrap();
    for path in &told.loaded {
        assert_eq!(begun.tensors()[path], given.tensors()[path], "{path}");
    }
    let positions = |store: &WeightStore| store.tensors()["frame_positions"].0.clone();
    let n = positions(&given).len();
    assert_eq!(positions(&begun)[..n], positions(&given)[..]);
    assert!(at.join("init.json").exists());
    // The beginning is a moment of the run: it is gone on from, and never begun with anything else.
    let mut resumed = Trainer::new(task_nar(&f), &f.config, run.clone(), true).unwrap();
    assert_eq!(resumed.begin_with(&from).unwrap(), None);
    drop(resumed);
    let other = RunDir::new(&dir.path().join("third")).unwrap();
    let mut ar = Trainer::new(task_ar(&f), &f.config, other, false).unwrap();
    let words = ar.begin_with(&from).unwrap_err().to_string();
    assert!(words.contains("it is of the nar model, this run trains ar"), "{words}");
}
