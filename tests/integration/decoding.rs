//! Decoding under control: greedy is exact, loops are left, bounds hold, the best of several does not depend on threads.

use burn::tensor::Device;
use harmonica_config_schema::{
    ArDecodeConfig, CodecSpec, Conditioning, NarDecodeConfig, NarDecodeKind, PerCodebook, RandomStream,
};
use harmonica_inference::{
    Bundle, DecodeConfig, StopReason, SynthesisRequest, Synthesizer, SynthesizerBuilder,
};
use harmonica_model_core::decode::{ArDecoder, ArRequest, ArStop, Centroids, NarDecoder, trailing_loop};
use harmonica_model_core::{ArModel, NarModel, WeightStore};
use harmonica_tests::{Fixture, record, tiny_config};
use rayon::prelude::*;
use std::time::Duration;

const CODEBOOK_SIZE: usize = 32;

fn spec() -> CodecSpec {
    CodecSpec {
        id: "mel_rvq".into(),
        sample_rate_hz: 16_000,
        hop_samples: 640,
        n_codebooks: 3,
        codebook_size: CODEBOOK_SIZE,
    }
}

/// A model that would say the same for ever: its scores are made steep, so that one code follows another with certainty.
fn looping_model() -> ArModel {
    let config = tiny_config("unused".as_ref(), Conditioning::Cross).model.ar;
    let model = ArModel::new(&config, &spec(), 40, 2, None, 7, &Device::flex());
    let mut steep = WeightStore::of(&model);
    steep.map(|name, values| {
        let factor = match name {
            name if name.starts_with("head") => 40.0,
            // Where it stands in the utterance must not lead it out of the loop.
            "frame_positions" => 0.0,
            _ => 1.0,
        };
        values.iter_mut().for_each(|value| *value *= factor);
    });
    steep.load_into(model).unwrap()
}

fn has_loop(codes: &[i32], min_frames: usize) -> bool {
    (1..=codes.len()).any(|n| trailing_loop(&codes[..n], min_frames).is_some())
}

fn text(seed: u64) -> Vec<i32> {
    let mut stream = RandomStream::new(seed, "text", &[]);
    (0..8 + stream.below(6)).map(|_| 4 + stream.below(30) as i32).collect()
}

#[test]
fn loops_are_left_or_cut_and_bounds_hold() {
    let model = looping_model();
    let n = std::env::var("HARMONICA_N_DECODES").map_or(500, |n| n.parse().unwrap());
    let mut figures = Vec::new();
    for (name, loop_retries) in [("loops without the guard", 0), ("loops with the guard", 3)] {
        let config = ArDecodeConfig { loop_retries, min_frames_per_char: 1e6, ..ArDecodeConfig::default() };
        let decoder = ArDecoder::new(ArDecodeConfig { temperature: 0.2, ..config.clone() });
        let (mut n_loops, mut n_cut) = (0, 0);
        for seed in 0..n {
            let text = text(seed);
            let written = decoder.decode(&model, &ArRequest::new(&text, 0), seed, |_| true).unwrap();
            let bound = (config.max_frames_per_char * text.len() as f64).ceil() as usize;
            assert!(written.codes.len() <= bound.min(model.max_frames()));
            n_loops += usize::from(has_loop(&written.codes, config.loop_frames));
            n_cut += usize::from(written.stop == ArStop::Loop);
            assert!(written.loops.is_empty() || loop_retries > 0);
        }
        figures.push((name, n_loops as f64));
        if loop_retries > 0 {
            figures.push(("cut", n_cut as f64));
        }
    }
    figures.push(("decodes", n as f64));
    assert!(figures[0].1 > 0.8 * n as f64, "the model does not loop: {figures:?}");
    assert!(figures[1].1 <= 0.01 * n as f64, "{figures:?}");
    record("loops", &figures);
}

#[test]
fn greedy_is_temperature_zero_exactly() {
    let config = tiny_config("unused".as_ref(), Conditioning::Cross).model.ar;
    let model = ArModel::new(&config, &spec(), 40, 2, None, 7, &Device::flex());
    let text = text(1);
    let decode = |config: ArDecodeConfig, seed: u64| {
        ArDecoder::new(config).decode(&model, &ArRequest::new(&text, 0), seed, |_| true).unwrap()
    };
    let greedy = ArDecodeConfig { loop_retries: 0, ..ArDecodeConfig::default() };
    let written = decode(greedy.clone(), 1);
    // By hand: the likeliest code of every step.
    let mut cache = model.start(&text, 0, &[]).unwrap();
    let (min_frames, _) = ArDecoder::new(greedy.clone()).bounds(text.len());
    let mut last = model.bos();
    for (t, code) in written.codes.iter().enumerate() {
        let mut scores = model.step(&mut cache, last);
        if t < min_frames {
            scores[model.eos()] = f32::NEG_INFINITY;
        }
        let best = (0..scores.len()).fold(0, |best, i| if scores[i] > scores[best] { i } else { best });
        assert_eq!(*code, best as i32, "frame {t}");
        last = best;
    }
    assert_eq!(written, decode(greedy.clone(), 99), "no seed matters");
    assert_eq!(
        written,
        decode(ArDecodeConfig { top_k: 1, temperature: 1.0, repetition_window: 0, ..greedy }, 3)
    );
}

#[test]
fn a_setting_of_one_codebook_leaves_the_codes_before_it_alone() {
    let config = tiny_config("unused".as_ref(), Conditioning::Cross).model.nar;
    let model = NarModel::new(&config, &spec(), 40, 2, None, 7, &Device::flex());
    let vectors = vec![1.0; CODEBOOK_SIZE * 4];
    let codebooks = [&vectors[..]; 3];
    let first: Vec<i32> = (0..20).map(|i| i * 5 % CODEBOOK_SIZE as i32).collect();
    let fill = |kind, temperature: &str, seed| {
        let temperature = PerCodebook::parse(temperature).unwrap();
        let config = NarDecodeConfig { kind, temperature, ..NarDecodeConfig::default() };
        let centroids = Centroids { codebooks: &codebooks, width: 4 };
        NarDecoder::new(config, seed).decode(&model, &text(1), 0, None, &first, centroids).unwrap().codes
    };
    let greedy = fill(NarDecodeKind::Argmax, "1", 1);
    assert_eq!(fill(NarDecodeKind::Sampled, "0", 1), greedy, "temperature 0 is the likeliest code");
    let third = fill(NarDecodeKind::Sampled, "2=0,3=1", 1);
    assert_eq!(third[..2], greedy[..2]);
    assert_ne!(third[2], greedy[2]);
    assert_ne!(fill(NarDecodeKind::Sampled, "1", 1), fill(NarDecodeKind::Sampled, "1", 2));
    let refused = NarDecoder::new(NarDecodeConfig { refine_steps: 2, ..NarDecodeConfig::default() }, 1)
        .decode(&model, &text(1), 0, None, &first, Centroids { codebooks: &codebooks, width: 4 });
    assert!(refused.unwrap_err().to_string().contains("not trained with masked codes"));
}

/// A bundle of untrained models, and settings for the best of five, of which a temperature is missing.
fn best_of_five() -> (Synthesizer, DecodeConfig) {
    let dir = tempfile::tempdir().unwrap();
    let f = Fixture::new(dir.path(), Conditioning::Prefix);
    let bundle = dir.path().join("bundle");
    Bundle::write(&crate::bundle::parts(&f, dir.path()), &bundle).unwrap();
    let synthesizer = SynthesizerBuilder::new(&bundle).open().unwrap();
    let decode = DecodeConfig { best_of: 5, ..synthesizer.decode_config().clone() };
    (synthesizer, decode)
}

#[test]
fn the_best_of_several_is_the_same_every_time_and_needs_a_temperature() {
    let (synthesizer, mut decode) = best_of_five();
    let refused = synthesizer.speak(&SynthesisRequest::new("abc").decode(decode.clone())).unwrap_err();
    assert!(refused.to_string().contains("decode.best_of: 5 does not fit"), "{refused}");
    decode.ar.temperature = 1.0;
    assert!(decode.problems().is_empty());
    let request = SynthesisRequest::new("abc def").seed(3).decode(decode.clone());
    let (one, two) = (synthesizer.speak(&request).unwrap(), synthesizer.speak(&request).unwrap());
    assert_eq!(one, two);
    let alone = synthesizer.speak(&request.clone().decode(DecodeConfig { best_of: 1, ..decode })).unwrap();
    assert!(alone.codes[0].len() > 2, "there is something to cancel");
    // From outside of the pool candidates are drawn side by side, in it one after another.
    for from_a_worker in [false, true] {
        let speak = || {
            let mut n_heard = 0;
            let stopped = synthesizer.speak_with_progress(&request, |n| {
                n_heard += 1;
                n < 2
            });
            (stopped.unwrap(), n_heard)
        };
        let (stopped, n_heard) = if from_a_worker { rayon::scope(|_| speak()) } else { speak() };
        let n = stopped.codes[0].len();
        assert_eq!(stopped.stop, StopReason::Cancelled);
        assert_eq!(stopped.codes[0], alone.codes[0][..n], "what the first candidate had by then");
        assert!(n_heard >= 2 && (!from_a_worker || n == 2), "{n} frames, asked {n_heard} times");
    }
}

/// A candidate that grows no longer than one before it asks, too: who waits for the clock is heard until all are written.
#[test]
fn whoever_cancels_late_among_several_is_heard() {
    let (synthesizer, mut decode) = best_of_five();
    decode.ar.temperature = 1.0;
    let request = SynthesisRequest::new("abc def").seed(3).decode(decode);
    let mut lengths = Vec::new();
    synthesizer
        .speak_with_progress(&request, |n| {
            lengths.push(n);
            true
        })
        .unwrap();
    assert!(lengths.windows(2).all(|pair| pair[0] <= pair[1]), "{lengths:?}");
    let longest = lengths[lengths.len() - 1];
    assert!(lengths.len() > longest, "asked {} times, the longest has {longest} frames", lengths.len());
}

/// Each worker of the pool waited for threads whose matrix products waited for a worker, for ever.
#[test]
fn all_workers_of_the_thread_pool_may_speak_the_best_of_several_at_once() {
    let bundle = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/demo-bundle");
    let synthesizer = SynthesizerBuilder::new(bundle).open().unwrap();
    let mut decode = DecodeConfig { best_of: 2, ..synthesizer.decode_config().clone() };
    decode.ar.temperature = 0.6;
    let request = SynthesisRequest::new("open the red box").seed(3).decode(decode);
    let from_outside = synthesizer.speak(&request).unwrap();
    let (done, heard) = std::sync::mpsc::channel();
    let n_requests = 2 * rayon::current_num_threads();
    std::thread::spawn(move || {
        let speak = |_| synthesizer.speak(&request).unwrap();
        let _ = done.send((0..n_requests).into_par_iter().map(speak).collect::<Vec<_>>());
    });
    let speech = heard.recv_timeout(Duration::from_secs(120)).expect("the workers wait for each other");
    assert!(speech.iter().all(|speech| *speech == from_outside));
}
