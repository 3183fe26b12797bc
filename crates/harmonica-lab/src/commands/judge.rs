//! `judge`: failures and word errors of any system's waveforms.

use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use harmonica_audio::load;
use harmonica_config_schema::record::JudgedUtterance;
use harmonica_eval::{CommandTranscriber, EvalError, Judged, Transcriber, detect_failures, summarise};
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
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let (wav, words) = line.split_once('\t').ok_or_else(|| EvalError::Suite {
            path: path.clone(),
            line: i + 1,
            reason: "there is no tab".into(),
        })?;
        let waveform = load(&root.join(wav))?;
        wavs.push(std::path::absolute(root.join(wav)).unwrap_or_else(|_| root.join(wav)));
        judged.push(Judged {
            record: JudgedUtterance {
                id: wav.to_owned(),
                path: wav.to_owned(),
                text: words.to_owned(),
                speaker: String::new(),
                heard: None,
                word_errors: None,
                n_words: words.split_whitespace().count(),
                duration_s: waveform.duration_s(),
                failures: detect_failures(&waveform).into_iter().map(|f| f.name().to_owned()).collect(),
                mel_distance: None,
            },
        });
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
