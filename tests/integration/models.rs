//! What the models promise: independence of batch mates, cached decoding equal to teacher forcing, no leaks.

use burn::tensor::Device;
use harmonica_config_schema::{ArDecodeConfig, CodebookIndex, CodecSpec, Conditioning, SpeakerConditioning};
use harmonica_model_core::decode::{ArDecoder, ArRequest, ArStop};
use harmonica_model_core::{ArInput, ArModel, NarInput, NarModel, Prompt};
use harmonica_tests::tiny_config;

const SPEC: (usize, usize) = (3, 32);

fn spec() -> CodecSpec {
    CodecSpec {
        id: "mel_rvq".into(),
        sample_rate_hz: 16_000,
        hop_samples: 640,
        n_codebooks: SPEC.0,
        codebook_size: SPEC.1,
    }
}

/// Every combination of text and voice conditioning.
fn variants() -> impl Iterator<Item = (Conditioning, SpeakerConditioning)> {
    [Conditioning::Prefix, Conditioning::Cross].into_iter().flat_map(|conditioning| {
        [SpeakerConditioning::Embedding, SpeakerConditioning::Prompt].map(|speaker| (conditioning, speaker))
    })
}

fn ar(conditioning: Conditioning, speaker: SpeakerConditioning) -> ArModel {
    let mut config = tiny_config("unused".as_ref(), conditioning).model.ar;
    config.speaker = speaker;
    ArModel::new(&config, &spec(), 40, 2, None, 7, &Device::flex())
}

fn nar(conditioning: Conditioning, speaker: SpeakerConditioning) -> NarModel {
    let mut config = tiny_config("unused".as_ref(), conditioning).model.nar;
    config.speaker = speaker;
    NarModel::new(&config, &spec(), 40, 2, None, 7, &Device::flex())
}

fn codes(n: usize, offset: i32) -> Vec<i32> {
    (0..n as i32).map(|i| (i * 7 + offset) % SPEC.1 as i32).collect()
}

fn frames(n: usize, offset: i32) -> Vec<Vec<i32>> {
    (0..SPEC.0 as i32).map(|q| codes(n, offset + 3 * q)).collect()
}

fn assert_near(what: &str, a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() < 2e-4, "{what}[{i}]: {a} is not {b}");
    }
}

fn prompt(lengths: &[usize]) -> Prompt {
    Prompt { codes: lengths.iter().map(|n| frames(*n, 5)).collect() }
}

#[test]
fn an_utterance_never_depends_on_its_batch_mates() {
    for (conditioning, speaker) in variants() {
        let name = format!("{conditioning:?} {speaker:?}");
        let prompted = speaker == SpeakerConditioning::Prompt;
        let texts = [codes(6, 4), codes(13, 9)];
        let alone = |b: usize| ArInput {
            text: vec![texts[b].clone()],
            codes: vec![codes(5 + 8 * b, b as i32)],
            targets: vec![codes(5 + 8 * b, b as i32)],
            speakers: vec![b as i32],
            prompt: prompted.then(|| prompt(&[3 + 4 * b])),
        };
        let together = ArInput {
            text: texts.to_vec(),
            codes: vec![codes(5, 0), codes(13, 1)],
            targets: vec![codes(5, 0), codes(13, 1)],
            speakers: vec![0, 1],
            prompt: prompted.then(|| prompt(&[3, 7])),
        };
        let model = ar(conditioning, speaker);
        let scores = |input: &ArInput| -> Vec<f32> {
            model.forward(input, None).unwrap().0.into_data().iter::<f32>().collect()
        };
        let both = scores(&together);
        assert_near(&name, &both[..6 * model.n_classes()], &scores(&alone(0)));
        assert_near(&name, &both[6 * model.n_classes()..], &scores(&alone(1)));

        let model = nar(conditioning, speaker);
        for stage in CodebookIndex::stages(SPEC.0) {
            let input = |range: std::ops::Range<usize>| NarInput {
                text: texts[range.clone()].to_vec(),
                codes: range.clone().map(|b| frames(5 + 8 * b, b as i32)).collect(),
                speakers: range.clone().map(|b| b as i32).collect(),
                prompt: prompted.then(|| prompt(&[3, 7][range])),
            };
            let scores = |range| -> Vec<f32> {
                model.forward(&input(range), stage, None).unwrap().into_data().iter::<f32>().collect()
            };
            let both = scores(0..2);
            assert_near(&name, &both[..5 * SPEC.1], &scores(0..1));
            assert_near(&name, &both[5 * SPEC.1..], &scores(1..2));
        }
    }
}

#[test]
fn cached_steps_equal_teacher_forcing() {
    for (conditioning, speaker) in variants() {
        let model = ar(conditioning, speaker);
        let (text, target) = (codes(9, 3), codes(12, 1));
        let reference =
            if speaker == SpeakerConditioning::Prompt { frames(4, 5)[0].clone() } else { Vec::new() };
        let input = ArInput {
            text: vec![text.clone()],
            codes: vec![target.clone()],
            targets: vec![target.clone()],
            speakers: vec![1],
            prompt: (!reference.is_empty()).then(|| prompt(&[4])),
        };
        let forced: Vec<f32> = model.forward(&input, None).unwrap().0.into_data().iter::<f32>().collect();
        let mut cache = model.start(&text, 1, &reference).unwrap();
        let fed = [model.bos()].into_iter().chain(target.iter().map(|c| *c as usize));
        let stepped: Vec<f32> = fed.flat_map(|code| model.step(&mut cache, code)).collect();
        assert_near(&format!("{conditioning:?} {speaker:?}"), &stepped, &forced);
    }
}

#[test]
fn no_stage_sees_its_own_codebook_or_one_above() {
    let model = nar(Conditioning::Prefix, SpeakerConditioning::Embedding);
    for stage in CodebookIndex::stages(SPEC.0) {
        let scores = |changed: usize| -> Vec<f32> {
            let mut item = frames(8, 0);
            item[changed] = codes(8, 17);
            let input =
                NarInput { text: vec![codes(5, 1)], codes: vec![item], speakers: vec![0], prompt: None };
            model.forward(&input, stage, None).unwrap().into_data().iter::<f32>().collect()
        };
        let own = stage.zero_based();
        for above in own..SPEC.0 {
            assert_eq!(scores(above), scores(own), "stage {stage}");
        }
        assert_ne!(scores(own - 1), scores(own), "stage {stage} must see the codebook below it");
    }
}

#[test]
fn too_long_inputs_are_refused_with_both_figures() {
    let model = ar(Conditioning::Prefix, SpeakerConditioning::Embedding);
    let error = model.start(&codes(10_000, 0), 0, &[]).unwrap_err().to_string();
    assert!(error.contains("10000") && error.contains("256"), "{error}");
}

#[test]
fn a_model_that_never_ends_is_cut_at_the_bound_of_its_text_and_its_own() {
    for (conditioning, _) in variants().step_by(2) {
        let model = ar(conditioning, SpeakerConditioning::Embedding);
        // The end of speech is not allowed before a frame that never comes.
        let config = ArDecodeConfig { min_frames_per_char: 1e6, ..ArDecodeConfig::default() };
        let decoder = ArDecoder::new(config.clone());
        for n_symbols in [1, 4, 12, 200] {
            let text: Vec<i32> = (0..n_symbols).map(|i| 4 + i % 30).collect();
            let written = decoder.decode(&model, &ArRequest::new(&text, 0), 1, |_| true).unwrap();
            let bound = (config.max_frames_per_char * f64::from(n_symbols)).ceil().max(8.0) as usize;
            assert_eq!(written.stop, ArStop::LengthBound);
            assert!(
                written.codes.len() <= bound.min(model.max_frames()),
                "{n_symbols}: {}",
                written.codes.len()
            );
        }
    }
}
