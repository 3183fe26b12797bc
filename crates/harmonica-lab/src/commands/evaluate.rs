//! `evaluate`: source, codec and generated speech side by side, judged by a recognizer that nobody here wrote.

use crate::commands::bundle::collect;
use crate::commands::{gate, judges};
use crate::failure::Failure;
use crate::output::{Meter, Output};
use clap::Args;
use harmonica_audio::{Waveform, load, save};
use harmonica_codec::AudioCodec;
use harmonica_config_schema::record::{
    CodebookMetrics, EvaluationRecord, FORMAT_VERSION, JudgedUtterance, SystemEvaluation,
};
use harmonica_config_schema::{DecodeConfig, NarDecodeKind};
use harmonica_eval::{
    ALIGNMENT, EvalError, EvalSuite, Judged, JudgementInput, QualityPredictor, Sentence, TokenTrack,
    alignment_bmp, check_comparable, judge_utterance, predicted_opinions, summarise,
};
use harmonica_inference::{Bundle, DevicePreference, SynthesisRequest, Synthesizer, TextAttention};
use harmonica_storage::{StorageError, make_directory, publish};
use harmonica_text::NORMALIZER_VERSION;
use rayon::prelude::*;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use voices::Voices;

mod conclusions;
mod voices;

/// Arguments of `evaluate`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: harmonica-lab evaluate --bundle runs/demo/bundle --suite runs/demo/test.jsonl --output runs/demo/eval"
)]
pub(crate) struct EvaluateArguments {
    /// Bundle to judge; or give --ar, --nar and --codec
    #[arg(long, value_name = "BUNDLE", conflicts_with_all = ["ar", "nar", "codec"])]
    bundle: Option<PathBuf>,
    /// AR checkpoint
    #[arg(long, value_name = "CKPT", requires_all = ["nar", "codec"])]
    ar: Option<PathBuf>,
    /// NAR checkpoint
    #[arg(long, value_name = "CKPT")]
    nar: Option<PathBuf>,
    /// Codec directory
    #[arg(long, value_name = "DIR")]
    codec: Option<PathBuf>,
    /// Sentences, one JSON object a line: id, text, speaker, audio
    #[arg(long, value_name = "FILE")]
    suite: PathBuf,
    /// Where eval.json and the waveforms go
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Recognizer command with {wav} or {list} in it, or whisper:PLACE: a directory or hf://org/name (feature `whisper`); without one, word errors are not measured
    #[arg(long, default_value = "")]
    recognizer: String,
    /// Hold the result against this earlier eval.json; a regression is a refusal (exit code 1)
    #[arg(long, value_name = "BASELINE/eval.json")]
    gate: Option<PathBuf>,
    /// Tell which criteria of success are met
    #[arg(long)]
    criteria: bool,
    /// Speaker embedder: weights of an LSTM of the GE2E kind (safetensors) or any model FILE.onnx (feature `onnx`); spectral statistics without
    #[arg(long, value_name = "FILE")]
    speaker_embedder: Option<PathBuf>,
    /// Predictor of opinion scores, and which of its outputs counts (feature `onnx`); may be repeated
    #[arg(long, value_name = "NAME=FILE.onnx[#OUTPUT]")]
    mos: Vec<String>,
    /// Judge only this system, such as "generated, expected"; may be repeated
    #[arg(long, value_name = "NAME")]
    system: Vec<String>,
    /// Judge only so many sentences
    #[arg(long, value_name = "N")]
    max_sentences: Option<NonZeroUsize>,
    /// Metrics of a run (metrics.jsonl), whose last validation is quoted; may be repeated
    #[arg(long, value_name = "FILE")]
    metrics: Vec<PathBuf>,
    /// Draw otherwise than the bundle does: decode.KEY=VALUE, such as decode.ar.temperature=0.6; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    #[arg(long, default_value = "auto", help = "auto, cpu, wgpu[:i], metal, vulkan[:i] or cuda[:i]")]
    device: DevicePreference,
    /// Seed of the draws
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Codebook figures of the last validation in a `metrics.jsonl`.
fn last_validation(path: &Path) -> Result<Vec<CodebookMetrics>, Failure> {
    use harmonica_config_schema::record::MetricsLine;
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::error(format!("cannot read metrics `{}`: {e}", path.display())))?;
    let last = text.lines().rev().find_map(|line| match serde_json::from_str(line) {
        Ok(MetricsLine::Validation(v)) => Some(v.codebooks),
        _ => None,
    });
    last.ok_or_else(|| Failure::error(format!("`{}` holds no validation", path.display())))
}

/// The systems of an evaluation, in the order of the page: all that exist, or those asked for.
fn systems(asked: &[String]) -> Result<Vec<(&'static str, System)>, Failure> {
    let all = [
        ("source", System::Source),
        ("codec", System::Codec(usize::MAX)),
        ("codec, codebook 1", System::Codec(1)),
        ("codebook 1 + NAR argmax", System::Refilled(NarDecodeKind::Argmax)),
        ("codebook 1 + NAR expected", System::Refilled(NarDecodeKind::Expected)),
        ("generated, codebook 1", System::Generated(NarDecodeKind::None)),
        ("generated, argmax", System::Generated(NarDecodeKind::Argmax)),
        ("generated, expected", System::Generated(NarDecodeKind::Expected)),
    ];
    if let Some(unknown) = asked.iter().find(|name| all.iter().all(|(known, _)| known != name)) {
        let names: Vec<String> = all.iter().map(|(name, _)| format!("`{name}`")).collect();
        return Err(Failure::error(format!(
            "there is no system `{unknown}`; the systems are {}",
            names.join(", ")
        )));
    }
    Ok(all.into_iter().filter(|(name, _)| asked.is_empty() || asked.iter().any(|a| a == name)).collect())
}

#[derive(Debug, Clone, Copy)]
enum System {
    Source,
    Codec(usize),
    /// The recording's own codebook 1, the others by the NAR model.
    Refilled(NarDecodeKind),
    Generated(NarDecodeKind),
}

pub(crate) fn run(arguments: &EvaluateArguments, out: Output) -> Result<(), Failure> {
    let systems = systems(&arguments.system)?;
    let scratch;
    let bundle_dir = match (&arguments.bundle, &arguments.ar, &arguments.nar, &arguments.codec) {
        (Some(bundle), ..) => bundle.clone(),
        (None, Some(ar), Some(nar), Some(codec)) => {
            scratch = arguments.output.join("evaluated-bundle");
            Bundle::write(&collect(ar, nar, codec, None)?, &scratch)?;
            scratch
        }
        _ => return Err(Failure::error("give --bundle, or --ar, --nar and --codec")),
    };
    let bundle = Bundle::open(&bundle_dir)?;
    let config = bundle.manifest.config.clone();
    let synthesizer = Synthesizer::from_bundle(bundle, arguments.device)?;
    let decode = synthesizer.decode_config().overridden(&arguments.overrides)?;
    let mut suite = EvalSuite::read(&arguments.suite)?;
    if let Some(n) = arguments.max_sentences {
        suite.sentences.truncate(n.get());
    }
    let voices = Voices::choose(&suite, &synthesizer)?;
    if systems.iter().any(|(_, system)| matches!(system, System::Refilled(_) | System::Generated(_))) {
        check_sentences(&suite, &synthesizer, &voices, &decode)?;
    }
    let codebooks =
        arguments.metrics.iter().map(|p| last_validation(p)).collect::<Result<Vec<_>, _>>()?.concat();
    let embedder = judges::embedder(arguments.speaker_embedder.as_deref())?;
    let predictors = judges::predictors(&arguments.mos)?;
    let transcriber = judges::recognizer(&arguments.recognizer)?;
    let mut record = EvaluationRecord {
        format_version: FORMAT_VERSION,
        suite: suite.name.clone(),
        suite_fingerprint: suite.fingerprint(),
        recognizer: transcriber.as_ref().map(|t| t.name()).unwrap_or_default(),
        text_normalizer: NORMALIZER_VERSION.into(),
        config,
        decode: Some(decode.clone()),
        mos_models: predictors.iter().map(|p| (p.name().to_owned(), p.model())).collect(),
        codebooks,
        systems: Vec::new(),
        similarity: None,
        criteria: None,
    };
    let baseline = arguments.gate.as_deref().map(gate::read).transpose()?;
    if let Some(baseline) = &baseline {
        // Before an hour of speaking, not after it.
        let has_recordings = suite.sentences.iter().any(|s| s.audio.is_some() && !s.speaker.is_empty());
        check_comparable(&record, has_recordings.then(|| embedder.name()).as_deref(), baseline)?;
    }
    let meter = Mutex::new((Meter::new(systems.len() * suite.sentences.len(), "speak"), 0));
    let mut evaluated = Vec::new();
    for (name, system) in systems {
        let folder = name.replace([',', '+'], "").split_whitespace().collect::<Vec<_>>().join("-");
        let dir = arguments.output.join("wavs").join(&folder);
        make_directory(&dir)?;
        let one = |sentence: &Sentence| -> Result<Option<Judged>, Failure> {
            let waveform = speak(system, sentence, &suite, &synthesizer, &voices, &decode, arguments.seed)
                .map_err(|e| e.of(&format!("{name}, sentence `{}`", sentence.id)))?;
            if let Ok(mut meter) = meter.lock() {
                meter.1 += 1;
                let done = meter.1;
                meter.0.at(done);
            }
            let Some(Spoken { waveform, codes, attention }) = waveform else { return Ok(None) };
            let path = dir.join(format!("{}.wav", sentence.id));
            save(&path, &waveform)?;
            if let Some(attention) = attention {
                let rows: Vec<Vec<f32>> = (0..attention.n_frames()).map(|t| attention.total(t)).collect();
                publish(&path.with_extension(ALIGNMENT), &alignment_bmp(&rows))?;
            }
            let record =
                judge(sentence, &waveform, &codes, &path, &arguments.output, &suite, synthesizer.codec())?;
            Ok(Some(Judged { record }))
        };
        let judged: Vec<Option<Judged>> = suite.sentences.par_iter().map(one).collect::<Result<_, _>>()?;
        let mut judged: Vec<Judged> = judged.into_iter().flatten().collect();
        if judged.is_empty() {
            continue;
        }
        if let Some(transcriber) = &transcriber {
            let wavs: Vec<PathBuf> =
                judged.iter().map(|j| absolute(&arguments.output.join(&j.record.path))).collect();
            for (j, heard) in judged.iter_mut().zip(transcriber.transcribe(&wavs)?) {
                j.record.heard = Some(heard);
            }
        }
        predict(&predictors, &mut judged, &arguments.output)?;
        evaluated.push(summarise(name, judged, 1000));
    }
    record.systems = evaluated;
    record.similarity =
        conclusions::similarity(&suite, &record.systems, &arguments.output, embedder.as_ref())?;
    if arguments.criteria {
        let all = conclusions::judged_criteria(&record, baseline.as_ref(), &arguments.metrics);
        record.criteria = Some(all);
    }
    write(&record, &arguments.output)?;
    conclude(&record, baseline.as_ref(), arguments, out)
}

/// Refuses a suite with sentences that the bundle cannot say: all of them, and before the first one is spoken.
fn check_sentences(
    suite: &EvalSuite,
    synthesizer: &Synthesizer,
    voices: &Voices,
    decode: &DecodeConfig,
) -> Result<(), Failure> {
    let mut found = Vec::new();
    for sentence in &suite.sentences {
        let request = voices.of(sentence, SynthesisRequest::new(&sentence.text).decode(decode.clone()));
        let problems = synthesizer.problems(&request).into_iter();
        found.extend(problems.map(|p| Failure::from(p).of(&format!("sentence `{}`", sentence.id)).message));
    }
    if found.is_empty() { Ok(()) } else { Err(Failure::error(found.join("\n"))) }
}

/// Tells the result, and refuses it where it is worse than the baseline.
fn conclude(
    record: &EvaluationRecord,
    baseline: Option<&EvaluationRecord>,
    arguments: &EvaluateArguments,
    out: Output,
) -> Result<(), Failure> {
    let mut words = vec![summary(&record.systems)];
    words.extend(record.similarity.as_ref().map(conclusions::similarity_words));
    words.extend(record.criteria.as_deref().map(conclusions::criteria_words));
    let (Some(baseline), Some(path)) = (baseline, &arguments.gate) else {
        out.result(record, &words.join("\n\n"));
        return Ok(());
    };
    let gated = gate::compare(record, baseline, &arguments.output)?;
    words.push(gate::words(&gated));
    let mut value = serde_json::json!(record);
    value["gate"] = serde_json::json!(gated);
    if gated.passed || !out.json {
        out.result(&value, &words.join("\n\n"));
    }
    if gated.passed { Ok(()) } else { Err(gate::refusal(&gated, path)) }
}

/// Adds predicted opinion scores to judged utterances.
fn predict(
    predictors: &[Box<dyn QualityPredictor>],
    judged: &mut [Judged],
    root: &Path,
) -> Result<(), Failure> {
    if predictors.is_empty() {
        return Ok(());
    }
    for Judged { record } in judged {
        let path = root.join(&record.path);
        let waveform = load(&path).map_err(EvalError::from)?;
        record.mos = predicted_opinions(predictors, &waveform, &path);
    }
    Ok(())
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn write(record: &EvaluationRecord, dir: &Path) -> Result<(), Failure> {
    let path = dir.join("eval.json");
    let json = serde_json::to_vec_pretty(record).map_err(|e| StorageError::encode(&path, e))?;
    Ok(publish(&path, &json)?)
}

/// What a system says.
struct Spoken {
    waveform: Waveform,
    /// Codebook 1, if the AR model wrote it.
    codes: Vec<i32>,
    /// What the AR model looked at, if it wrote.
    attention: Option<TextAttention>,
}

impl From<Waveform> for Spoken {
    fn from(waveform: Waveform) -> Self {
        Self { waveform, codes: Vec::new(), attention: None }
    }
}

/// What a system makes of a sentence; nothing where it needs a recording and there is none.
fn speak(
    system: System,
    sentence: &Sentence,
    suite: &EvalSuite,
    synthesizer: &Synthesizer,
    voices: &Voices,
    decode: &DecodeConfig,
    seed: u64,
) -> Result<Option<Spoken>, Failure> {
    let natural = || sentence.audio.as_ref().map(|audio| load(&suite.root.join(audio))).transpose();
    let request = |kind: NarDecodeKind| {
        let mut decode = decode.clone();
        decode.nar.kind = kind;
        voices.of(sentence, SynthesisRequest::new(&sentence.text).seed(seed).decode(decode))
    };
    Ok(match system {
        System::Source => natural()?.map(Spoken::from),
        System::Codec(n) => match natural()? {
            Some(waveform) => Some(synthesizer.resynthesise(&waveform, n)?.0.into()),
            None => None,
        },
        System::Refilled(kind) => match natural()? {
            Some(waveform) => Some(synthesizer.refill(&waveform, &request(kind))?.into()),
            None => None,
        },
        System::Generated(kind) => {
            let speech = synthesizer.speak(&request(kind))?;
            Some(Spoken {
                waveform: speech.waveform,
                codes: speech.codes.into_iter().next().unwrap_or_default(),
                attention: Some(speech.attention),
            })
        }
    })
}

fn judge(
    sentence: &Sentence,
    waveform: &Waveform,
    codes: &[i32],
    path: &Path,
    root: &Path,
    suite: &EvalSuite,
    codec: &dyn AudioCodec,
) -> Result<JudgedUtterance, Failure> {
    let natural = sentence.audio.as_ref().map(|audio| load(&suite.root.join(audio))).transpose()?;
    let mel_distance = match &natural {
        None => None,
        Some(natural) => {
            let (a, b) = (codec.mel(natural)?, codec.mel(waveform)?);
            // Speech of another length is another timing: its frames are not comparable one by one.
            (a.n_frames().abs_diff(b.n_frames()) <= 1).then(|| a.distance(&b)).flatten()
        }
    };
    let spec = codec.spec();
    let frame_s = spec.hop_samples as f64 / f64::from(spec.sample_rate_hz);
    let record = judge_utterance(&JudgementInput {
        id: &sentence.id,
        path: &path.strip_prefix(root).unwrap_or(path).display().to_string(),
        text: &sentence.text,
        speaker: &sentence.speaker,
        waveform,
        natural: natural.as_ref(),
        tokens: (!codes.is_empty()).then_some(TokenTrack { codes, frame_s }),
    });
    Ok(JudgedUtterance { mel_distance, ..record })
}

fn summary(systems: &[SystemEvaluation]) -> String {
    let line = |s: &SystemEvaluation| {
        let rate = s.word_error_rate.map_or_else(
            || "WER not measured".to_owned(),
            |w| format!("WER {:.1}% ({:.1} to {:.1})", 100.0 * w.value, 100.0 * w.low, 100.0 * w.high),
        );
        let failures: usize = s.failures.values().sum();
        let mel = s.mel_distance.map_or_else(String::new, |d| format!(", mel distance {d:.3}"));
        format!("{:<24} {rate}{mel}, {failures} failures of {}", s.system, s.utterances.len())
    };
    systems.iter().map(line).collect::<Vec<_>>().join("\n")
}
