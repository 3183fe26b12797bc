//! What watches a run: probes of text and voice on models that are known to ignore them, figures of both kinds of weights.

use crate::resume::{ONE_AT_A_TIME, task_ar, task_nar, train};
use burn::module::Module;
use harmonica_config_schema::record::{MetricsLine, ValidationMetrics};
use harmonica_config_schema::{Conditioning, SpeakerConditioning, SpeakerPooling};
use harmonica_data::{Split, TokenBatch};
use harmonica_model_core::WeightStore;
use harmonica_model_core::diagnosis::Probes;
use harmonica_tests::Fixture;
use harmonica_training::{RunDir, Task};

/// Probes of a model in which the parameters whose paths end in one of `silenced` are zero.
fn probes<T: Task>(task: &T, silenced: &[&str]) -> Probes {
    let mut weights = WeightStore::of(&task.fresh_model());
    weights.map(|path, values| {
        if silenced.iter().any(|end| path.ends_with(end)) {
            values.fill(0.0);
        }
    });
    let model = weights.load_into(task.fresh_model().valid()).unwrap();
    let batch: TokenBatch = task.batch(&task.cache().split(Split::Train), 0);
    task.probes(&model, &[batch]).unwrap()
}

#[test]
fn a_model_that_cannot_see_its_text_or_its_voice_is_found_out() {
    let _alone = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().unwrap();
    let mut f = Fixture::new(dir.path(), Conditioning::Cross);
    f.config.model.nar.speaker = SpeakerConditioning::Prompt;
    f.config.model.nar.speaker_pooling = SpeakerPooling::Mean;
    for (what, seeing, no_text, no_voice) in [
        (
            "ar",
            probes(&task_ar(&f), &[]),
            probes(&task_ar(&f), &["cross_attention.output.weight"]),
            probes(&task_ar(&f), &["speaker_embedding"]),
        ),
        (
            "nar",
            probes(&task_nar(&f), &[]),
            probes(&task_nar(&f), &["cross_attention.output.weight"]),
            probes(&task_nar(&f), &["speaker_encoder.project.weight"]),
        ),
    ] {
        let gap = |probe: Option<harmonica_config_schema::record::ProbeRecord>| probe.unwrap().gap_nats;
        assert!(seeing.text.unwrap().n_tokens > 100, "{what}");
        assert!(gap(seeing.text) != 0.0 && gap(seeing.prompt) != 0.0, "{what}: {seeing:?}");
        assert_eq!(gap(no_text.text), 0.0, "{what} cannot see its text");
        assert!(gap(no_text.prompt) != 0.0, "{what} sees its voice");
        assert_eq!(gap(no_voice.prompt), 0.0, "{what} cannot see its voice");
        assert!(gap(no_voice.text) != 0.0, "{what} sees its text");
    }
}

#[test]
fn validations_tell_of_both_weights_floors_and_what_is_written_freely() {
    let _alone = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().unwrap();
    for (conditioning, name, n_codebooks) in [
        (Conditioning::Prefix, "ar", 1),
        (Conditioning::Prefix, "nar", 2),
        (Conditioning::Cross, "ar", 1),
        (Conditioning::Cross, "nar", 2),
    ] {
        let root = dir.path().join(format!("{conditioning:?}"));
        let f = Fixture::new(&root, conditioning);
        let at = root.join(name);
        match name {
            "ar" => train(&f, task_ar(&f), &at, u64::MAX),
            _ => train(&f, task_nar(&f), &at, u64::MAX),
        }
        let lines = RunDir::new(&at).unwrap().metrics();
        let of = |line: &MetricsLine| match line {
            MetricsLine::Validation(validation) => Some(validation.clone()),
            _ => None,
        };
        let validations: Vec<ValidationMetrics> = lines.iter().filter_map(of).collect();
        let last = validations.last().unwrap();
        let raw = last.raw.as_ref().unwrap();
        assert!(raw.cross_entropy != last.cross_entropy && raw.cross_entropy.is_finite());
        assert_eq!((last.codebooks.len(), last.free_running.len()), (n_codebooks, n_codebooks));
        for codebook in &last.codebooks {
            let (unigram, bigram) = (codebook.unigram_floor.unwrap(), codebook.bigram_floor.unwrap());
            assert!(unigram > 0.0 && bigram > 0.0 && bigram < unigram + 0.5, "{unigram} {bigram}");
        }
        // Two layers that read frames and text in one sequence, or in two streams where the text stands apart.
        let reads: Vec<(usize, &str)> = last.attention.iter().map(|a| (a.layer, a.reads.name())).collect();
        match conditioning {
            Conditioning::Prefix => assert_eq!(reads, [(1, "frames"), (2, "frames")]),
            Conditioning::Cross => {
                assert_eq!(reads, [(1, "frames"), (1, "text"), (2, "frames"), (2, "text")]);
            }
        }
        for attention in &last.attention {
            let (lowest, mean) = (attention.lowest_entropy(), attention.mean_entropy());
            assert!(attention.n_queries > 20 && lowest > 0.0 && lowest < mean, "{attention:?}");
            assert!(mean < attention.uniform_entropy, "{attention:?}");
            let share = attention.relative_diversity();
            assert!(share > 0.0 && share < 1.0, "{attention:?}");
        }
        let free = &last.free_running[0];
        assert_eq!(free.n_tokens, free.n_target_tokens);
        let train = lines.iter().find_map(|line| match line {
            MetricsLine::Train(metrics) => Some(metrics.clone()),
            _ => None,
        });
        let modules = train.unwrap().modules;
        assert!(modules.iter().any(|m| m.module == "decoder.blocks.0" && m.grad_norm > 0.0), "{modules:?}");
        assert!(modules.iter().all(|m| m.update_ratio.is_some_and(|r| r > 0.0 && r < 1.0)), "{modules:?}");
    }
}
