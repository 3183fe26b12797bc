//! What the benches measure: the shapes of the demo, and the transformer of the PyTorch peer.

#![expect(clippy::expect_used, reason = "a bench that cannot set itself up has nothing to measure")]

use harmonica_audio::Waveform;
use harmonica_codec::MelRvq;
use harmonica_config_schema::{CodecSpec, ExperimentConfig, MelRvqConfig, RandomStream};

/// Speech-like noise bursts of `seconds`.
pub fn signal(seconds: f64) -> Waveform {
    let mut stream = RandomStream::new(1, "bench signal", &[]);
    let n = (seconds * 16_000.0) as usize;
    let samples = (0..n).map(|i| {
        let t = i as f32 / 16_000.0;
        let buzz: f32 =
            (1..24).map(|k| (std::f32::consts::TAU * 120.0 * k as f32 * t).sin() / k as f32).sum();
        buzz * 0.1 * (1.0 + (t * 20.0).sin()) + stream.normal() as f32 * 0.003
    });
    Waveform::new(samples.collect(), 16_000)
}

/// A codec of the demo's shape, fitted on a minute of the signal.
pub fn codec() -> MelRvq {
    let config = MelRvqConfig { codebook_size: 256, kmeans_iterations: 2, ..MelRvqConfig::default() };
    MelRvq::fit(&config, [signal(60.0)], |_, _| ()).expect("a minute of audio is enough for 256 entries")
}

/// The demo's tokens: 4 codebooks of 1024.
pub fn spec() -> CodecSpec {
    MelRvqConfig::default().spec()
}

/// The demo's configuration.
pub fn config() -> ExperimentConfig {
    ExperimentConfig::default()
}

/// Ids below `limit`.
pub fn ids(n: usize, limit: usize, seed: u64) -> Vec<i32> {
    let mut stream = RandomStream::new(seed, "bench ids", &[]);
    (0..n).map(|_| stream.below(limit) as i32).collect()
}
