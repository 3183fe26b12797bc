//! `judge`: failures, prosody and word errors of any system's waveforms.

use crate::commands::judges;
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use harmonica_audio::load;
use harmonica_eval::{
    EvalError, Judged, JudgementInput, Recording, judge_utterance, parse_recordings, predicted_opinions,
    summarise,
};
use std::path::{Path, PathBuf};

/// Arguments of `judge`.
#[derive(Debug, Args)]
#[command(after_help = "Example: harmonica-lab judge samples/manifest.tsv --json")]
pub(crate) struct JudgeArguments {
    /// Lines of path, tab, text; paths are relative to the file
    manifest: PathBuf,
    /// Recognizer command with {wav} or {list} in it, or whisper:PLACE: a directory or hf://org/name (feature `whisper`)
    #[arg(long, default_value = "")]
    recognizer: String,
    /// Predictor of opinion scores, and which of its outputs counts (feature `onnx`); may be repeated
    #[arg(long, value_name = "NAME=FILE.onnx[#OUTPUT]")]
    mos: Vec<String>,
}

pub(crate) fn run(arguments: &JudgeArguments, out: Output) -> Result<(), Failure> {
    let predictors = judges::predictors(&arguments.mos)?;
    let transcriber = judges::recognizer(&arguments.recognizer)?;
    let path = &arguments.manifest;
    let text =
        std::fs::read_to_string(path).map_err(|source| EvalError::Read { path: path.clone(), source })?;
    let root = path.parent().unwrap_or(Path::new("."));
    let mut judged = Vec::new();
    let mut wavs = Vec::new();
    for Recording { audio, text } in parse_recordings(path, &text)? {
        let wav = root.join(&audio);
        let waveform = load(&wav)?;
        let input = JudgementInput {
            id: &audio,
            path: &audio,
            text: &text,
            speaker: "",
            waveform: &waveform,
            natural: None,
            tokens: None,
        };
        let mut record = judge_utterance(&input);
        record.mos = predicted_opinions(&predictors, &waveform, &wav);
        judged.push(Judged { record });
        wavs.push(std::path::absolute(&wav).unwrap_or(wav));
    }
    if let Some(transcriber) = transcriber {
        for (j, heard) in judged.iter_mut().zip(transcriber.transcribe(&wavs)?) {
            j.record.heard = Some(heard);
        }
    }
    let summary = summarise("judged", judged, 1000);
    let failures: usize = summary.failures.values().sum();
    let rate =
        summary.word_error_rate.map_or_else(|| "not measured".into(), |w| format!("{:.1}%", 100.0 * w.value));
    let mut words =
        format!("{} utterances, {failures} failures, word error rate {rate}", summary.utterances.len());
    for (name, score) in &summary.mos {
        let (value, low, high) = (score.value, score.low, score.high);
        let n = summary.utterances.iter().filter(|u| u.mos.contains_key(name)).count();
        words.push_str(&format!(", {name} {value:.2} ({low:.2} to {high:.2}, {n} utterances)"));
    }
    out.result(&summary, &words);
    Ok(())
}
