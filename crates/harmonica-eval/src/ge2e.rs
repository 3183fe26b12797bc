//! A learned speaker embedder of the GE2E kind (Wan et al. 2018): three LSTM layers over mel frames, in plain Rust.
//!
//! In: a waveform and weights in safetensors (`lstm.weight_ih_l0` .. `lstm.bias_hh_l2`, `linear.weight`, `linear.bias`, f32); out: a
//! vector of length 1. Overlapping stretches of 1.6 s are embedded on their own and averaged. Sound is raised to -30 dBFS; speech is
//! not cut out of pauses. Invariant: the vector is PyTorch's for the same weights, up to rounding (`tools/ge2e_golden.py`).

use crate::slaney::slaney_filters;
use crate::{EvalError, SpeakerEmbedder};
use harmonica_audio::{Waveform, resample};
use safetensors::{Dtype, SafeTensors};
use std::f64::consts::TAU;
use std::path::Path;

const RATE_HZ: u32 = 16_000;
const N_BANDS: usize = 40;
const WIDTH: usize = 256;
const N_LAYERS: usize = 3;
/// Analysis window, in samples.
const WINDOW: usize = 400;
const N_BINS: usize = WINDOW / 2 + 1;
/// From frame to frame, in samples.
const STEP: usize = 160;
/// Frames of a stretch.
const STRETCH: usize = 160;
/// From stretch to stretch, in frames: 1.3 stretches a second.
const STRETCH_STEP: usize = 77;
/// A last stretch with less sound than this share is left out.
const MIN_COVERAGE: f64 = 0.75;
/// Level that quiet sound is raised to, in dBFS.
const LEVEL_DB: f64 = -30.0;

/// Weights of one layer, row by row; the gates are input, forget, cell, output.
#[derive(Debug, Clone)]
struct Layer {
    input: Vec<f32>,
    hidden: Vec<f32>,
    bias: Vec<f32>,
}

/// The embedder.
#[derive(Debug, Clone)]
pub struct LstmEmbedder {
    name: String,
    layers: Vec<Layer>,
    projection: Vec<f32>,
    bias: Vec<f32>,
    /// Mel filters `[N_BANDS, N_BINS]`.
    filters: Vec<f64>,
    /// Window, and cosine and sine of a turn in `WINDOW` steps.
    window: Vec<f64>,
    turn: Vec<(f64, f64)>,
}

fn tensor(all: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
    let view = all.tensor(name).map_err(|e| format!("{name}: {e}"))?;
    if view.dtype() != Dtype::F32 || view.shape() != shape {
        return Err(format!("{name} is {:?} {:?}, not F32 {shape:?}", view.dtype(), view.shape()));
    }
    Ok(view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Inner product; eight sums side by side, which the compiler turns into vector instructions.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    for (a, b) in a.chunks(8).zip(b.chunks(8)) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += a * b;
        }
    }
    lanes.iter().sum()
}

/// The vector at length 1.
fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let norm = dot(&vector, &vector).sqrt().max(1e-12);
    vector.iter_mut().for_each(|v| *v /= norm);
    vector
}

impl Layer {
    /// Hidden states of every frame.
    fn run(&self, frames: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let (mut hidden, mut cell) = (vec![0.0_f32; WIDTH], vec![0.0_f32; WIDTH]);
        let mut all = Vec::with_capacity(frames.len());
        for frame in frames {
            let gate = |row: usize| {
                let n = frame.len();
                self.bias[row]
                    + dot(&self.input[row * n..(row + 1) * n], frame)
                    + dot(&self.hidden[row * WIDTH..(row + 1) * WIDTH], &hidden)
            };
            let gates: Vec<f32> = (0..4 * WIDTH).map(gate).collect();
            for (i, (h, c)) in hidden.iter_mut().zip(&mut cell).enumerate() {
                let gate = |kind: usize| gates[kind * WIDTH + i];
                *c = sigmoid(gate(1)) * *c + sigmoid(gate(0)) * gate(2).tanh();
                *h = sigmoid(gate(3)) * c.tanh();
            }
            all.push(hidden.clone());
        }
        all
    }
}

impl LstmEmbedder {
    /// Reads weights.
    ///
    /// # Errors
    /// A file that cannot be read, or weights of another shape.
    pub fn read(path: &Path) -> Result<Self, EvalError> {
        let bytes =
            std::fs::read(path).map_err(|source| EvalError::Read { path: path.to_owned(), source })?;
        let name = path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
        let hash = harmonica_config_schema::Fingerprint::of_bytes(&bytes);
        Self::parse(&bytes, format!("ge2e-lstm {name} {hash}"))
            .map_err(|reason| EvalError::Embedder { path: path.to_owned(), reason })
    }

    fn parse(bytes: &[u8], name: String) -> Result<Self, String> {
        let all = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        let layer = |l: usize| -> Result<Layer, String> {
            let n_inputs = if l == 0 { N_BANDS } else { WIDTH };
            let biases =
                ["ih", "hh"].map(|side| tensor(&all, &format!("lstm.bias_{side}_l{l}"), &[4 * WIDTH]));
            let [a, b] = biases;
            Ok(Layer {
                input: tensor(&all, &format!("lstm.weight_ih_l{l}"), &[4 * WIDTH, n_inputs])?,
                hidden: tensor(&all, &format!("lstm.weight_hh_l{l}"), &[4 * WIDTH, WIDTH])?,
                bias: a?.iter().zip(b?).map(|(a, b)| a + b).collect(),
            })
        };
        let angle = |i: usize| TAU * i as f64 / WINDOW as f64;
        Ok(Self {
            name,
            layers: (0..N_LAYERS).map(layer).collect::<Result<_, _>>()?,
            projection: tensor(&all, "linear.weight", &[WIDTH, WIDTH])?,
            bias: tensor(&all, "linear.bias", &[WIDTH])?,
            filters: slaney_filters(RATE_HZ, N_BANDS, N_BINS),
            window: (0..WINDOW).map(|i| 0.5 - 0.5 * angle(i).cos()).collect(),
            turn: (0..WINDOW).map(|i| (angle(i).cos(), angle(i).sin())).collect(),
        })
    }

    /// Mel power of the frame around sample `at`; before and behind the sound it is silent.
    fn mel_frame(&self, samples: &[f64], at: usize) -> Vec<f32> {
        let sample = |i: usize| {
            let index = (at + i).checked_sub(WINDOW / 2);
            index.and_then(|i| samples.get(i)).copied().unwrap_or(0.0)
        };
        let windowed: Vec<f64> = self.window.iter().enumerate().map(|(i, w)| w * sample(i)).collect();
        let power = |bin: usize| {
            let (mut re, mut im) = (0.0, 0.0);
            for (i, x) in windowed.iter().enumerate() {
                let (cos, sin) = self.turn[i * bin % WINDOW];
                re += x * cos;
                im += x * sin;
            }
            re * re + im * im
        };
        let powers: Vec<f64> = (0..N_BINS).map(power).collect();
        let band = |row: &[f64]| row.iter().zip(&powers).map(|(w, p)| w * p).sum::<f64>() as f32;
        self.filters.chunks_exact(N_BINS).map(band).collect()
    }

    fn stretch(&self, frames: &[Vec<f32>]) -> Vec<f32> {
        let mut states = frames.to_vec();
        for layer in &self.layers {
            states = layer.run(&states);
        }
        let Some(last) = states.last() else { return vec![0.0; WIDTH] };
        let rows = self.projection.chunks_exact(WIDTH).zip(&self.bias);
        unit(rows.map(|(row, bias)| (dot(row, last) + bias).max(0.0)).collect())
    }

    fn vector(&self, samples: &[f32]) -> Vec<f32> {
        let n = samples.len();
        let mean_square = samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / n.max(1) as f64;
        let level_db = 10.0 * mean_square.max(1e-20).log10();
        let gain = 10_f64.powf((LEVEL_DB - level_db).max(0.0) / 20.0);
        let samples: Vec<f64> = samples.iter().map(|s| gain * f64::from(*s)).collect();
        let n_frames = (n + 1).div_ceil(STEP);
        let end = (n_frames + STRETCH_STEP + 1).saturating_sub(STRETCH).max(1);
        let mut starts: Vec<usize> = (0..end).step_by(STRETCH_STEP).collect();
        let last = starts.last().copied().unwrap_or(0);
        let covered = n.saturating_sub(last * STEP) as f64 / (STRETCH * STEP) as f64;
        if starts.len() > 1 && covered < MIN_COVERAGE {
            starts.pop();
        }
        let n_needed = starts.last().copied().unwrap_or(0) + STRETCH;
        let mel: Vec<Vec<f32>> = (0..n_needed).map(|f| self.mel_frame(&samples, f * STEP)).collect();
        let mut sum = vec![0.0_f32; WIDTH];
        for start in &starts {
            for (s, v) in sum.iter_mut().zip(self.stretch(&mel[*start..start + STRETCH])) {
                *s += v / starts.len() as f32;
            }
        }
        unit(sum)
    }
}

impl SpeakerEmbedder for LstmEmbedder {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn is_whitened(&self) -> bool {
        false
    }

    fn embed(&self, waveform: &Waveform) -> Result<Vec<f32>, EvalError> {
        if waveform.sample_rate_hz() == RATE_HZ {
            return Ok(self.vector(waveform.samples()));
        }
        Ok(self.vector(resample(waveform, RATE_HZ)?.samples()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::TensorView;

    /// The weights of tools/ge2e_golden.py.
    fn made_up(n: usize, tensor: u64) -> Vec<u8> {
        let value = |i: u64| {
            let mixed =
                i.wrapping_mul(2_654_435_761).wrapping_add(tensor * 97 + 1).wrapping_mul(2_246_822_519)
                    % (1 << 32);
            let mixed = mixed ^ (mixed >> 15);
            ((mixed as f64 / 4_294_967_296.0 - 0.5) * 0.2) as f32
        };
        (0..n as u64).flat_map(|i| value(i).to_le_bytes()).collect()
    }

    fn weights(width_of_linear: usize) -> Vec<u8> {
        let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
        let mut add = |name: String, shape: Vec<usize>| {
            let bytes = made_up(shape.iter().product(), tensors.len() as u64);
            tensors.push((name, shape, bytes));
        };
        for l in 0..N_LAYERS {
            let n_inputs = if l == 0 { N_BANDS } else { WIDTH };
            add(format!("lstm.weight_ih_l{l}"), vec![4 * WIDTH, n_inputs]);
            add(format!("lstm.weight_hh_l{l}"), vec![4 * WIDTH, WIDTH]);
            add(format!("lstm.bias_ih_l{l}"), vec![4 * WIDTH]);
            add(format!("lstm.bias_hh_l{l}"), vec![4 * WIDTH]);
        }
        add("linear.weight".into(), vec![width_of_linear, WIDTH]);
        add("linear.bias".into(), vec![width_of_linear]);
        let mut views = Vec::new();
        for (name, shape, bytes) in &tensors {
            views.push((name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
        }
        safetensors::serialize(views, None).unwrap()
    }

    #[test]
    fn the_vector_is_that_of_pytorch() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made-up.safetensors");
        std::fs::write(&path, weights(WIDTH)).unwrap();
        let embedder = LstmEmbedder::read(&path).unwrap();
        assert!(embedder.name().starts_with("ge2e-lstm made-up "));
        let golden: serde_json::Value = serde_json::from_str(include_str!("ge2e_golden.json")).unwrap();
        let numbers = |key: &str| -> Vec<f64> {
            golden[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
        };
        let sample = |i: usize| {
            let t = i as f64 / 16_000.0;
            let sum: f64 =
                (1..30).map(|k| (TAU * 130.0 * f64::from(k) * t + f64::from(k)).sin() / f64::from(k)).sum();
            (0.01 * sum * (1.0 + 0.5 * (9.0 * t).sin())) as f32
        };
        let wave: Vec<f32> = (0..(2.3 * 16_000.0) as usize).map(sample).collect();
        let found = embedder.embed(&Waveform::new(wave, 16_000)).unwrap();
        let expected = numbers("vector");
        let dot: f64 = found.iter().zip(&expected).map(|(a, b)| f64::from(*a) * b).sum();
        assert!((1.0 - dot).abs() < 1e-4, "cosine {dot}");
        let furthest =
            found.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
        assert!(furthest < 1e-5, "{furthest}");
    }

    #[test]
    fn weights_of_another_shape_are_refused_by_name() {
        let error = LstmEmbedder::parse(&weights(128), String::new()).unwrap_err();
        assert!(error.contains("linear.weight") && error.contains("[256, 256]"), "{error}");
        assert!(LstmEmbedder::parse(b"nothing", String::new()).is_err());
    }

    #[test]
    fn sound_of_any_length_has_a_finite_vector() {
        let embedder = LstmEmbedder::parse(&weights(WIDTH), String::new()).unwrap();
        for n in [0, 1, 8_000] {
            let vector = embedder.embed(&Waveform::new(vec![0.0; n], 16_000)).unwrap();
            assert!(vector.len() == WIDTH && vector.iter().all(|v| v.is_finite()));
        }
    }
}
