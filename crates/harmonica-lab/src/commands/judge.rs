//! `judge`: failures, prosody and word errors of any system's waveforms.

use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use harmonica_audio::load;
use harmonica_eval::{
    CommandTranscriber, EvalError, Judged, JudgementInput, Recording, Transcriber, judge_utterance,
    parse_recordings, summarise,
};
use std::path::{Path, PathBuf};

/// Arguments of `judge`.
#[derive(Debug, Args)]
#[command(after_help = "Example: harmonica-lab judge samples/manifest.tsv --json")]
pub(crate) struct JudgeArguments {
    /// Lines of path, tab, text; paths are relative to the file
    manifest: PathBuf,
    /// Recognizer command with {wav} or {list} in it
    #[arg(long, default_value = "")]
    recognizer: String,
}

pub(crate) fn run(arguments: &JudgeArguments, out: Output) -> Result<(), Failure> {
    let path = &arguments.manifest;
    let text =
        std::fs::read_to_string(path).map_err(|source| EvalError::Read { path: path.clone(), source })?;
    let root = path.parent().unwrap_or(Path::new("."));
    let mut judged = Vec::new();
    let mut wavs = Vec::new();
    for Recording { audio, text } in parse_recordings(path, &text)? {
        let wav = root.join(&audio);
        let waveform = load(&wav)?;
        wavs.push(std::path::absolute(&wav).unwrap_or(wav));
        let input = JudgementInput {
            id: &audio,
            path: &audio,
            text: &text,
            speaker: "",
            waveform: &waveform,
            natural: None,
            tokens: None,
        };
        judged.push(Judged { record: judge_utterance(&input) });
    }
    if !arguments.recognizer.is_empty() {
        let heard = CommandTranscriber::new(&arguments.recognizer).transcribe(&wavs)?;
        for (j, heard) in judged.iter_mut().zip(heard) {
            j.record.heard = Some(heard);
        }
    }
    let summary = summarise("judged", judged, 1000);
    let failures: usize = summary.failures.values().sum();
    let rate =
        summary.word_error_rate.map_or_else(|| "not measured".into(), |w| format!("{:.1}%", 100.0 * w.value));
    let words =
        format!("{} utterances, {failures} failures, word error rate {rate}", summary.utterances.len());
    out.result(&summary, &words);
    Ok(())
}
