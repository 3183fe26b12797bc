//! CPU and wall seconds of EnCodec on ten seconds of audio: `encodec_speed MODEL_DIR RUNS`, threads by `RAYON_NUM_THREADS`.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement that cannot start has nothing to say"
)]

use harmonica_audio::Waveform;
use harmonica_codec::{AudioCodec, EnCodec, EnCodecConfig};
use std::path::Path;
use std::time::Instant;

/// Processor seconds of this process, user and system.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let ticks: f64 = after_name.split_whitespace().skip(11).take(2).map(|t| t.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}

fn measure(name: &str, runs: usize, mut work: impl FnMut()) {
    work();
    let mut seconds: Vec<[f64; 2]> = (0..runs)
        .map(|_| {
            let (cpu, wall) = (cpu_s(), Instant::now());
            work();
            [cpu_s() - cpu, wall.elapsed().as_secs_f64()]
        })
        .collect();
    seconds.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let wall = seconds.iter().map(|s| s[1]).fold(f64::INFINITY, f64::min);
    println!("{name} cpu med {:.2} min {:.2} wall min {wall:.3}", seconds[runs / 2][0], seconds[0][0]);
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let dir = Path::new(&arguments[1]);
    let runs: usize = arguments[2].parse().unwrap();
    let config = EnCodecConfig::parse(&std::fs::read(dir.join("config.json")).unwrap()).unwrap();
    let weights = std::fs::read(dir.join("model.safetensors"))
        .or_else(|_| std::fs::read(dir.join("model_parametrized.safetensors")))
        .unwrap();
    let codec = EnCodec::from_bytes(config, &weights).unwrap().with_codebooks(8).unwrap();
    let samples = (0..240_000).map(|n| ((n * n) as f32 * 1e-4).sin() * 0.2).collect();
    let waveform = Waveform::new(samples, 24_000);
    let tokens = codec.encode(&waveform).unwrap();
    measure("encode", runs, || drop(codec.encode(&waveform)));
    measure("decode", runs, || drop(codec.decode(&tokens)));
}
