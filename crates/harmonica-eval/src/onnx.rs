//! Models that others made, as ONNX files, by tract: speech at 16 kHz in, a few numbers out.
//!
//! The model's declared input says what it wants ([`Input`]): samples, or Kaldi's log-mel frames without their mean
//! ([`KaldiFrames`]), as speaker embedders of the WeSpeaker kind have them; predictors of opinions each have frames of their own and
//! must hear samples. A model that wants a fixed length hears short sound twice, four times.. and long sound in stretches a second
//! apart, whose numbers are averaged, as DNSMOS does. Invariant: what a model cannot hear is an error when it is opened, not numbers.

use crate::kaldi_frames::{KaldiFrames, STEP_S};
use crate::onnx_input::{Input, RATE_HZ, shape, understand};
use crate::{EvalError, QualityPredictor, SpeakerEmbedder};
use harmonica_audio::{Waveform, resample};
use harmonica_config_schema::{Fingerprint, RandomStream};
use std::f64::consts::TAU;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tract_onnx::prelude::*;

/// Lengths that a model is tried with when it is opened, in seconds.
const TRIALS_S: [f64; 2] = [2.0, 3.7];

type Plan = Arc<TypedRunnableModel>;

/// A tone in noise, so long: the same each time. Not silence, by whose level some models divide.
fn trial(seconds: f64) -> Waveform {
    let mut noise = RandomStream::new(1, "trial", &[]);
    let tone = |i: f64| 0.1 * (TAU * 220.0 * i / f64::from(RATE_HZ)).sin();
    let n = (seconds * f64::from(RATE_HZ)) as usize;
    let samples = (0..n).map(|i| (tone(i as f64) + 0.01 * noise.normal()) as f32);
    Waveform::new(samples.collect(), RATE_HZ)
}

/// A model.
struct OnnxModel {
    path: PathBuf,
    /// File name and hash.
    name: String,
    model: InferenceModel,
    input: Input,
    /// Steps in time, samples or frames, if the model wants a fixed number of them.
    n_steps: Option<usize>,
    frames: Option<KaldiFrames>,
    /// The plan for the length that was heard last.
    plan: Mutex<Option<(usize, Plan)>>,
}

impl OnnxModel {
    fn open(path: &Path) -> Result<Self, EvalError> {
        let bytes =
            std::fs::read(path).map_err(|source| EvalError::Read { path: path.to_owned(), source })?;
        let refuse = |reason: String| EvalError::OnnxModel { path: path.to_owned(), reason };
        let loader = tract_onnx::onnx().with_ignore_output_shapes(true).with_ignore_value_info(true);
        let model = loader.model_for_read(&mut bytes.as_slice()).map_err(|e| refuse(format!("{e:#}")))?;
        let (input, n_steps) = shape(&model).and_then(|shape| understand(&shape)).map_err(refuse)?;
        let file = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let frames = match input {
            Input::Samples { .. } => None,
            Input::Frames { n_bands, .. } => Some(KaldiFrames::new(n_bands)),
        };
        Ok(Self {
            path: path.to_owned(),
            name: format!("{file} {}", Fingerprint::of_bytes(&bytes)),
            model,
            input,
            n_steps,
            frames,
            plan: Mutex::new(None),
        })
    }

    fn refused(&self, reason: impl std::fmt::Display) -> EvalError {
        EvalError::OnnxModel { path: self.path.clone(), reason: reason.to_string() }
    }

    /// How many numbers it has, by trying it: as many for any length.
    fn n_outputs(&self) -> Result<usize, EvalError> {
        let [short_s, long_s] = TRIALS_S;
        let (short, long) = (self.numbers(&trial(short_s))?.len(), self.numbers(&trial(long_s))?.len());
        if short != long {
            return Err(self.refused(format!(
                "it has {short} outputs for {short_s} s and {long} for {long_s} s of sound, not as many for any length; \
                 give a model whose output is taken together over time"
            )));
        }
        Ok(short)
    }

    /// The numbers of an utterance.
    fn numbers(&self, waveform: &Waveform) -> Result<Vec<f32>, EvalError> {
        let waveform = resample(waveform, RATE_HZ)?;
        let (steps, width, second) = match &self.frames {
            None => (waveform.samples().to_vec(), 1, RATE_HZ as usize),
            Some(frames) => (frames.of(waveform.samples()), frames.n_bands(), (1.0 / STEP_S) as usize),
        };
        let n = steps.len() / width;
        if n == 0 {
            return Err(self.refused("there is no sound to hear"));
        }
        let Some(fixed) = self.n_steps else { return self.run(&steps, n) };
        let mut n_heard = n;
        while n_heard < fixed {
            n_heard *= 2;
        }
        let starts: Vec<usize> = (0..=n_heard - fixed).step_by(second).collect();
        let mut sum: Vec<f64> = Vec::new();
        let n_stretches = starts.len();
        for start in starts {
            let stretch: Vec<f32> =
                (0..fixed * width).map(|i| steps[(start * width + i) % steps.len()]).collect();
            let numbers = self.run(&stretch, fixed)?;
            sum.resize(numbers.len(), 0.0);
            sum.iter_mut().zip(numbers).for_each(|(s, v)| *s += f64::from(v) / n_stretches as f64);
        }
        Ok(sum.into_iter().map(|s| s as f32).collect())
    }

    /// The numbers of `n` steps in time, row by row.
    fn run(&self, steps: &[f32], n: usize) -> Result<Vec<f32>, EvalError> {
        let (shape, values) = match self.input {
            Input::Samples { rank } => ([vec![1; rank - 1], vec![n]].concat(), steps.to_vec()),
            Input::Frames { n_bands, bands_first: false } => (vec![1, n, n_bands], steps.to_vec()),
            Input::Frames { n_bands, bands_first: true } => {
                let turned = (0..n_bands).flat_map(|b| steps.iter().skip(b).step_by(n_bands).copied());
                (vec![1, n_bands, n], turned.collect())
            }
        };
        let plan = self.plan(n, &shape)?;
        let input = Tensor::from_shape(&shape, &values).map_err(|e| self.refused(format!("{e:#}")))?;
        let outputs = plan.run(tvec!(input.into_tvalue())).map_err(|e| self.refused(format!("{e:#}")))?;
        let output = outputs.first().ok_or_else(|| self.refused("it has no output"))?;
        let output = output.to_plain_array_view::<f32>().map_err(|e| self.refused(format!("{e:#}")))?;
        let numbers: Vec<f32> = output.iter().copied().collect();
        if numbers.is_empty() || numbers.iter().any(|v| !v.is_finite()) {
            return Err(self.refused(format!("its output for {n} steps is empty or not finite")));
        }
        Ok(numbers)
    }

    fn plan(&self, n: usize, shape: &[usize]) -> Result<Plan, EvalError> {
        let mut kept = self.plan.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((length, plan)) = kept.as_ref()
            && *length == n
        {
            return Ok(plan.clone());
        }
        let fact = InferenceFact::dt_shape(DatumType::F32, shape);
        let plan =
            self.model.clone().with_input_fact(0, fact).and_then(|m| m.into_optimized()?.into_runnable());
        let plan = plan.map_err(|e| self.refused(format!("it cannot hear {shape:?}: {e:#}")))?;
        *kept = Some((n, plan.clone()));
        Ok(plan)
    }
}

/// A speaker embedder from an ONNX file.
pub struct OnnxEmbedder(OnnxModel);

impl OnnxEmbedder {
    /// Opens a file, and tries it.
    ///
    /// # Errors
    /// A file that is no model, a model with another input than speech, or one whose output is a single number or grows with time.
    pub fn open(path: &Path) -> Result<Self, EvalError> {
        let model = OnnxModel::open(path)?;
        match model.n_outputs()? {
            0 | 1 => Err(model.refused("its output is one number, which is no vector of a voice")),
            _ => Ok(Self(model)),
        }
    }
}

impl SpeakerEmbedder for OnnxEmbedder {
    fn name(&self) -> String {
        format!("onnx {}", self.0.name)
    }

    fn is_whitened(&self) -> bool {
        false
    }

    fn embed(&self, waveform: &Waveform) -> Result<Vec<f32>, EvalError> {
        self.0.numbers(waveform)
    }
}

/// A predictor of listeners' opinions from an ONNX file.
pub struct OnnxPredictor {
    name: String,
    model: OnnxModel,
    output: usize,
}

impl OnnxPredictor {
    /// Opens a file and tries it. `name` stands in records; `output` is the number that counts, from 0, where the model has more
    /// than one.
    ///
    /// # Errors
    /// A file that is no model, a model with another input than samples, or an output that it does not have.
    pub fn open(name: &str, path: &Path, output: Option<usize>) -> Result<Self, EvalError> {
        let model = OnnxModel::open(path)?;
        if let Input::Frames { n_bands, .. } = model.input {
            return Err(model.refused(format!(
                "it hears frames of {n_bands} mel bands, and nothing in it says how they are made; give a predictor that hears \
                 samples: [n], [1, n] or [1, 1, n]"
            )));
        }
        let n = model.n_outputs()?;
        let output = match output {
            None if n == 1 => 0,
            None => {
                return Err(model.refused(format!(
                    "it has {n} outputs; say which one counts: FILE.onnx#0 to #{}",
                    n - 1
                )));
            }
            Some(output) if output < n => output,
            Some(output) => {
                return Err(model.refused(format!("it has no output #{output}, only #0 to #{}", n - 1)));
            }
        };
        Ok(Self { name: name.to_owned(), model, output })
    }
}

impl QualityPredictor for OnnxPredictor {
    fn name(&self) -> &str {
        &self.name
    }

    fn model(&self) -> String {
        format!("onnx {} output {}", self.model.name, self.output)
    }

    fn predict(&self, waveform: &Waveform) -> Result<f64, EvalError> {
        let numbers = self.model.numbers(waveform)?;
        numbers.get(self.output).map(|v| f64::from(*v)).ok_or_else(|| {
            self.model.refused(format!(
                "it has {} outputs now, not {} or more",
                numbers.len(),
                self.output + 1
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(serde::Deserialize)]
    struct Case {
        pitch_hz: f64,
        seconds: f64,
        /// By file.
        outputs: BTreeMap<String, Vec<f64>>,
        frame_9: Vec<f32>,
    }

    fn file(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/onnx").join(name)
    }

    fn cases() -> Vec<(Waveform, Case)> {
        let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(file("golden.json")).unwrap()).unwrap();
        // The sound of tools/golden_onnx.py.
        let sound = |case: &Case| {
            let sample = |i: usize| {
                let t = i as f64 / 16_000.0;
                let partial =
                    |k: i32| (TAU * case.pitch_hz * f64::from(k) * t + f64::from(k)).sin() / f64::from(k);
                (0.05 * (1..30).map(partial).sum::<f64>() * (1.0 + 0.5 * (9.0 * t).sin())) as f32
            };
            Waveform::new((0..(case.seconds * 16_000.0) as usize).map(sample).collect(), 16_000)
        };
        cases.into_iter().map(|case| (sound(&case), case)).collect()
    }

    fn check(found: &[f64], expected: &[f64], what: &str) {
        assert_eq!(found.len(), expected.len(), "{what}");
        for (ours, theirs) in found.iter().zip(expected) {
            assert!((ours - theirs).abs() < 1e-4 * (1.0 + theirs.abs()), "{what}: {found:?} {expected:?}");
        }
    }

    #[test]
    fn frames_are_those_of_kaldi() {
        for (wave, case) in cases() {
            let found = KaldiFrames::new(80).of(wave.samples());
            for (ours, theirs) in found[9 * 80..10 * 80].iter().zip(&case.frame_9) {
                assert!((ours - theirs).abs() < 2e-3, "{ours} {theirs}");
            }
        }
    }

    #[test]
    fn vectors_and_scores_are_those_of_onnxruntime() {
        for (wave, case) in cases() {
            for name in ["embedder-wave.onnx", "embedder-frames.onnx"] {
                let embedder = OnnxEmbedder::open(&file(name)).unwrap();
                assert!(embedder.name().starts_with(&format!("onnx {name} ")), "{}", embedder.name());
                let found: Vec<f64> = embedder.embed(&wave).unwrap().into_iter().map(f64::from).collect();
                check(&found, &case.outputs[name], name);
            }
            let score = OnnxPredictor::open("score", &file("score-wave.onnx"), None).unwrap();
            check(&[score.predict(&wave).unwrap()], &case.outputs["score-wave.onnx"], "score");
            for output in 0..3 {
                let score = OnnxPredictor::open("score", &file("scores-fixed.onnx"), Some(output)).unwrap();
                let expected = case.outputs["scores-fixed.onnx"][output];
                check(&[score.predict(&wave).unwrap()], &[expected], "fixed length");
            }
        }
    }

    #[test]
    fn another_rate_is_converted_and_nothing_is_refused() {
        let embedder = OnnxEmbedder::open(&file("embedder-wave.onnx")).unwrap();
        assert_eq!(embedder.embed(&Waveform::new(vec![0.1; 24_000], 24_000)).unwrap().len(), 8);
        let error = embedder.embed(&Waveform::new(Vec::new(), 16_000)).unwrap_err().to_string();
        assert!(error.contains("no sound"), "{error}");
    }

    #[test]
    fn predictors_of_frames_are_refused() {
        let message = OnnxPredictor::open("s", &file("embedder-frames.onnx"), Some(0)).err().unwrap();
        let message = message.to_string();
        assert!(message.contains("80 mel bands") && message.contains("[1, n]"), "{message}");
    }

    #[test]
    fn models_whose_outputs_grow_with_time_are_refused() {
        let message = OnnxEmbedder::open(&file("growing.onnx")).err().unwrap().to_string();
        assert!(message.contains("32000 outputs for 2 s and 59200 for 3.7 s"), "{message}");
    }

    #[test]
    fn models_that_only_silence_defeats_open_and_refuse_silence() {
        let crest = OnnxPredictor::open("crest", &file("crest.onnx"), None).unwrap();
        let square = (0..16_000).map(|i| if i % 100 < 50 { 0.25 } else { -0.25 }).collect();
        assert!((crest.predict(&Waveform::new(square, 16_000)).unwrap() - 1.0).abs() < 1e-6);
        let silence = crest.predict(&Waveform::new(vec![0.0; 16_000], 16_000));
        assert!(silence.unwrap_err().to_string().contains("not finite"));
    }

    #[test]
    fn models_that_cannot_hear_are_refused_with_their_shape() {
        let open =
            |name: &str| OnnxEmbedder::open(&file(name)).err().map(|e| e.to_string()).unwrap_or_default();
        let message = open("image.onnx");
        assert!(message.contains("[1, 3, 32, 32]") && message.contains("[1, n]"), "{message}");
        assert!(open("golden.json").contains("golden.json"));
        assert!(open("none.onnx").contains("none.onnx"));
        assert!(open("score-wave.onnx").contains("one number"));
        let score = |output| {
            let found = OnnxPredictor::open("s", &file("scores-fixed.onnx"), output);
            found.err().map(|e| e.to_string()).unwrap_or_default()
        };
        assert!(score(None).contains("3 outputs") && score(Some(3)).contains("#0 to #2"), "{}", score(None));
    }
}
