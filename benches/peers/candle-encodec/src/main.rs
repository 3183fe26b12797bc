//! Processor and wall seconds of candle's EnCodec: `candle-encodec DIR RUNS`, threads by `RAYON_NUM_THREADS`.
//!
//! `DIR` is one of `tools/encodec_race.py`, which runs this beside ours: `model_pairs.safetensors` and `race/` with `audio.f32`, and with
//! `codes.i32` and `decoded.f32` of the reference. Candle knows no mirrored padding and continues the ends instead, so its codes and samples
//! are those of another model at both ends and after them.

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::encodec::{Config, Model};
use std::{path::Path, time::Instant};

type Anything = Result<(), Box<dyn std::error::Error>>;

fn words<T>(path: &Path, of: impl Fn([u8; 4]) -> T) -> std::io::Result<Vec<T>> {
    Ok(std::fs::read(path)?.as_chunks::<4>().0.iter().map(|word| of(*word)).collect())
}

/// Processor seconds of all threads of this process.
fn cpu_s() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let spent = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok());
    spent.filter_map(|text| text.split_whitespace().next()?.parse::<f64>().ok()).sum::<f64>() * 1e-9
}

fn measure(work: &str, runs: usize, mut run: impl FnMut() -> Anything, compared: serde_json::Value) -> Anything {
    run()?;
    let (mut cpu, mut wall) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let (before, start) = (cpu_s(), Instant::now());
        run()?;
        cpu.push(cpu_s() - before);
        wall.push(start.elapsed().as_secs_f64());
    }
    println!("{}", serde_json::json!({ "work": work, "cpu_s": cpu, "wall_s": wall, "compared": compared }));
    Ok(())
}

fn main() -> Anything {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, dir, runs] = &arguments[..] else { return Err("usage: candle-encodec DIR RUNS".into()) };
    let (dir, runs) = (Path::new(dir), runs.parse()?);
    let weights = candle_core::safetensors::load(dir.join("model_pairs.safetensors"), &Device::Cpu)?;
    // Candle always uses all codebooks: 6 kbit/s are eight.
    let config = Config { target_bandwidths: vec![6.0], ..Config::default() };
    let model = Model::new(&config, VarBuilder::from_tensors(weights, DType::F32, &Device::Cpu))?;
    let audio = words(&dir.join("race/audio.f32"), f32::from_le_bytes)?;
    let expected = words(&dir.join("race/codes.i32"), u32::from_le_bytes)?;
    let decoded = words(&dir.join("race/decoded.f32"), f32::from_le_bytes)?;
    let n = audio.len();
    let audio = Tensor::from_vec(audio, (1, 1, n), &Device::Cpu)?;
    let codes = model.encode(&audio)?;
    let found = codes.flatten_all()?.to_dtype(DType::U32)?.to_vec1::<u32>()?;
    let differ = found.iter().zip(&expected).filter(|(a, b)| a != b).count();
    let compared = serde_json::json!({ "codes": expected.len(), "differ": differ });
    measure("encode", runs, || model.encode(&audio).map(drop).map_err(Into::into), compared)?;
    let shape = (1, 8, expected.len() / 8);
    let codes = Tensor::from_vec(expected, shape, &Device::Cpu)?;
    let samples = model.decode(&codes)?.flatten_all()?.to_vec1::<f32>()?;
    let greatest = samples.iter().zip(&decoded).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
    let compared = serde_json::json!({ "samples": samples.len(), "expected": decoded.len(), "greatest_difference": greatest });
    measure("decode", runs, || model.decode(&codes).map(drop).map_err(Into::into), compared)
}
