//! MelRvq and, where `HARMONICA_ENCODEC` names the directory of a model, EnCodec: encode and decode of ten seconds.

#![expect(clippy::expect_used, reason = "a bench that cannot set itself up has nothing to measure")]

use criterion::{Criterion, criterion_group, criterion_main};
use harmonica_benches::{codec, signal};
use harmonica_codec::{AudioCodec, open_encodec};
use std::path::Path;

fn mel_rvq(c: &mut Criterion) {
    let codec = codec();
    let speech = signal(10.0);
    let latents =
        codec.latents(&codec.encode(&speech).expect("the signal encodes")).expect("own tokens decode");
    let mut group = c.benchmark_group("mel_rvq");
    group.sample_size(10);
    group.bench_function("encode 10 s", |b| b.iter(|| codec.encode(&speech)));
    group.bench_function("decode 10 s", |b| b.iter(|| codec.decode_latent(&latents)));
    group.finish();
}

fn encodec(c: &mut Criterion) {
    let Some(dir) = std::env::var_os("HARMONICA_ENCODEC") else { return };
    let codec = open_encodec(Path::new(&dir), None).expect("the model opens");
    let speech = signal(10.0);
    let latents =
        codec.latents(&codec.encode(&speech).expect("the signal encodes")).expect("own tokens decode");
    let mut group = c.benchmark_group("encodec");
    group.sample_size(10);
    group.bench_function("encode 10 s", |b| b.iter(|| codec.encode(&speech)));
    group.bench_function("decode 10 s", |b| b.iter(|| codec.decode_latent(&latents)));
    group.finish();
}

criterion_group!(benches, mel_rvq, encodec);
criterion_main!(benches);
