//! AR decode, NAR pass and training step at the demo's size.

#![expect(clippy::expect_used, reason = "a bench that cannot set itself up has nothing to measure")]

use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::Device;
use criterion::{Criterion, criterion_group, criterion_main};
use harmonica_benches::{config, ids, spec};
use harmonica_config_schema::{ArDecodeConfig, CodebookIndex};
use harmonica_model_core::decode::{ArDecoder, ArRequest};
use harmonica_model_core::kernels::cross_entropy;
use harmonica_model_core::{ArInput, ArModel, NarInput, NarModel};

fn decode(c: &mut Criterion) {
    harmonica_runtime::tune_allocator();
    let model = ArModel::new(&config().model.ar, &spec(), 40, 4, None, 1, &Device::flex());
    let text = ids(30, 38, 1);
    // Bounds that an untrained model cannot undercut: always 100 frames.
    let decoder = ArDecoder::new(ArDecodeConfig {
        min_frames_per_char: 100.0 / 30.0,
        max_frames_per_char: 100.0 / 30.0,
        ..ArDecodeConfig::default()
    });
    let mut group = c.benchmark_group("ar");
    group.sample_size(10);
    group.bench_function("decode 100 frames", |b| {
        b.iter(|| decoder.decode(&model, &ArRequest::new(&text, 0), 1, |_| true))
    });
    group.finish();
}

/// The transformer of the PyTorch peer: width 256, 6 layers, 8 heads, vocabulary 1025, batch 8 x 400.
fn peer_shape() -> harmonica_config_schema::ArModelConfig {
    harmonica_config_schema::ArModelConfig {
        width: Some(256),
        n_heads: Some(8),
        n_layers: Some(6),
        ffn_width: Some(1024),
        dropout: 0.0,
        codec_geometry: false,
        ..config().model.ar
    }
}

fn peer(c: &mut Criterion) {
    let input = ArInput {
        text: vec![vec![2]; 8],
        codes: (0..8).map(|b| ids(399, 1024, b)).collect(),
        targets: (0..8).map(|b| ids(399, 1024, b)).collect(),
        speakers: vec![0; 8],
        prompt: None,
    };
    let device = Device::flex().autodiff();
    let mut model = ArModel::new(&peer_shape(), &spec(), 40, 4, None, 1, &device);
    let mut optimizer = AdamWConfig::new().init();
    let mut group = c.benchmark_group("peer");
    group.sample_size(10);
    group.bench_function("train step d256 L6 8 x 400", |b| {
        b.iter(|| {
            let (logits, targets) = model.forward(&input, None).expect("the input fits the model");
            let grads = cross_entropy(logits, targets, 0.0).mean().backward();
            let grads = GradientsParams::from_grads(grads, &model);
            model = optimizer.step(1e-4, model.clone(), grads);
        });
    });
    let model = ArModel::new(&peer_shape(), &spec(), 40, 4, None, 1, &Device::flex());
    let decoder = ArDecoder::new(ArDecodeConfig {
        min_frames_per_char: 300.0,
        max_frames_per_char: 300.0,
        ..ArDecodeConfig::default()
    });
    group.bench_function("decode 300 frames d256 L6", |b| {
        b.iter(|| decoder.decode(&model, &ArRequest::new(&[2], 0), 1, |_| true))
    });
    group.finish();
}

fn nar_pass(c: &mut Criterion) {
    let model = NarModel::new(&config().model.nar, &spec(), 40, 4, None, 1, &Device::flex());
    let input = NarInput {
        text: vec![ids(30, 38, 1)],
        codes: vec![(0..4).map(|q| ids(100, 1024, q)).collect()],
        speakers: vec![0],
        prompt: None,
    };
    let stage = CodebookIndex::from_zero_based(3);
    let mut group = c.benchmark_group("nar");
    group.sample_size(20);
    group.bench_function("one stage of 100 frames", |b| {
        b.iter(|| model.forward(&input, stage, None).map(|l| l.into_data()))
    });
    group.finish();
}

fn training_step(c: &mut Criterion) {
    let device = Device::flex().autodiff();
    let mut model = ArModel::new(&config().model.ar, &spec(), 40, 4, None, 1, &device);
    let mut optimizer = AdamWConfig::new().init();
    let input = ArInput {
        text: (0..16).map(|b| ids(30, 38, b)).collect(),
        codes: (0..16).map(|b| ids(50, 1024, b)).collect(),
        targets: (0..16).map(|b| ids(50, 1024, b)).collect(),
        speakers: vec![0; 16],
        prompt: None,
    };
    let mut group = c.benchmark_group("training");
    group.sample_size(10);
    group.bench_function("AR step of 16 x 50 frames", |b| {
        b.iter(|| {
            let (logits, targets) = model.forward(&input, Some(1)).expect("the input fits the model");
            let grads = cross_entropy(logits, targets, 0.0).mean().backward();
            let grads = GradientsParams::from_grads(grads, &model);
            model = optimizer.step(1e-4, model.clone(), grads);
        });
    });
    group.finish();
}

criterion_group!(benches, decode, nar_pass, training_step, peer);
criterion_main!(benches);
