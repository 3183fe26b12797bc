//! Processor and wall seconds of EnCodec on ten seconds of audio, a line of JSON each for encoding and decoding: `encodec_speed DIR RUNS`, threads
//! by `RAYON_NUM_THREADS`.
//!
//! `DIR` holds `config.json` and `model.safetensors`. With `race/` in it, which `tools/encodec_race.py` makes, its audio is taken and the result is
//! held against the reference's.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement that cannot start has nothing to say"
)]

use harmonica_audio::Waveform;
use harmonica_codec::{AudioCodec, CodecTokens, EnCodec, EnCodecConfig};
use serde_json::json;
use std::path::Path;
use std::time::Instant;

const CODEBOOKS: usize = 8;

/// Processor seconds of all threads of this process.
fn cpu_s() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let spent = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok());
    spent.map(|text| text.split_whitespace().next().unwrap().parse::<f64>().unwrap()).sum::<f64>() * 1e-9
}

fn measure(work: &str, runs: usize, compared: serde_json::Value, mut run: impl FnMut()) {
    run();
    let (mut cpu, mut wall) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let (before, start) = (cpu_s(), Instant::now());
        run();
        cpu.push(cpu_s() - before);
        wall.push(start.elapsed().as_secs_f64());
    }
    println!("{}", json!({ "work": work, "cpu_s": cpu, "wall_s": wall, "compared": compared }));
}

fn words<T>(path: &Path, of: impl Fn([u8; 4]) -> T) -> Option<Vec<T>> {
    Some(std::fs::read(path).ok()?.as_chunks::<4>().0.iter().map(|word| of(*word)).collect())
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let dir = Path::new(&arguments[1]);
    let runs: usize = arguments[2].parse().unwrap();
    let config = EnCodecConfig::parse(&std::fs::read(dir.join("config.json")).unwrap()).unwrap();
    let weights = std::fs::read(dir.join("model.safetensors")).unwrap();
    let codec = EnCodec::from_bytes(config, &weights).unwrap().with_codebooks(CODEBOOKS).unwrap();
    let race = dir.join("race");
    let samples = words(&race.join("audio.f32"), f32::from_le_bytes)
        .unwrap_or_else(|| (0..240_000).map(|n| ((n * n) as f32 * 1e-4).sin() * 0.2).collect());
    let n_samples = samples.len();
    let waveform = Waveform::new(samples, codec.spec().sample_rate_hz);
    let mut tokens = codec.encode(&waveform).unwrap();
    let (mut of_codes, mut of_samples) = (json!(null), json!(null));
    if let Some(expected) = words(&race.join("codes.i32"), u32::from_le_bytes) {
        let differ = tokens.codes().iter().zip(&expected).filter(|(a, b)| u32::from(**a) != **b).count();
        of_codes = json!({ "codes": expected.len(), "differ": differ });
        let codes = expected.iter().map(|code| *code as u16).collect();
        tokens = CodecTokens::new(codes, CODEBOOKS, n_samples, codec.spec()).unwrap();
        let expected = words(&race.join("decoded.f32"), f32::from_le_bytes).unwrap();
        let found = codec.decode(&tokens).unwrap();
        let differences = found.samples().iter().zip(&expected).map(|(a, b)| (a - b).abs());
        of_samples = json!({
            "samples": found.samples().len(), "expected": expected.len(), "greatest_difference": differences.fold(0.0, f32::max),
        });
    }
    measure("encode", runs, of_codes, || drop(codec.encode(&waveform)));
    measure("decode", runs, of_samples, || drop(codec.decode(&tokens)));
}
