//! `synthesize`: one text to a WAV file or stdout, or many lines to a directory.

use crate::{Failure, note, print};
use clap::{Args, ValueEnum};
use harmonica_audio::wav_bytes;
use harmonica_inference::{
    DecodeConfig, DevicePreference, NarDecodeKind, Speech, SynthesisRequest, Synthesizer, SynthesizerBuilder,
};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What the codec gets to hear.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Nar {
    /// Codebook 1 alone
    None,
    /// The likeliest code of every codebook
    Argmax,
    /// The expected centroid of every codebook
    Expected,
}

/// Arguments of `synthesize`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: harmonica synthesize --model assets/demo-bundle --text \"open the red box\" --voice slt --output hello.wav"
)]
pub(crate) struct SynthesizeArguments {
    /// Bundle directory
    #[arg(long, value_name = "BUNDLE")]
    model: PathBuf,
    /// What to say
    #[arg(long, group = "source")]
    text: Option<String>,
    /// File with what to say; - is stdin
    #[arg(long, value_name = "FILE", group = "source")]
    input: Option<PathBuf>,
    /// Lines of {"id", "text", "voice", "seed"}; each becomes OUTPUT_DIR/id.wav
    #[arg(long, value_name = "LINES.jsonl", group = "source", requires = "output_dir")]
    batch: Option<PathBuf>,
    /// A voice of the bundle; its first one if left out
    #[arg(long)]
    voice: Option<String>,
    /// WAV file; - is stdout
    #[arg(long, value_name = "OUT.wav", conflicts_with = "batch")]
    output: Option<PathBuf>,
    /// Directory of a batch's files
    #[arg(long, value_name = "DIR", requires = "batch")]
    output_dir: Option<PathBuf>,
    /// Softmax temperature of codebook 1; 0 is greedy
    #[arg(long)]
    temperature: Option<f64>,
    /// Keep this many likeliest codes; 0 keeps all
    #[arg(long)]
    top_k: Option<usize>,
    /// Keep the smallest set of codes with this total probability
    #[arg(long)]
    top_p: Option<f64>,
    /// What the codec gets to hear
    #[arg(long)]
    nar: Option<Nar>,
    /// Seed of the draws
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value = "auto", help = "auto, cpu, wgpu[:i], metal, vulkan[:i] or cuda[:i]")]
    device: DevicePreference,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchLine {
    id: String,
    text: String,
    voice: Option<String>,
    seed: Option<u64>,
}

pub(crate) fn run(arguments: &SynthesizeArguments, as_json: bool) -> Result<(), Failure> {
    let synthesizer = SynthesizerBuilder::new(&arguments.model).device(arguments.device).open()?;
    let decode = decode_config(arguments, synthesizer.decode_config())?;
    if let (Some(batch), Some(dir)) = (&arguments.batch, &arguments.output_dir) {
        return run_batch(arguments, &synthesizer, &decode, batch, dir, as_json);
    }
    let text = match (&arguments.text, &arguments.input) {
        (Some(text), _) => text.clone(),
        (None, Some(path)) => read_text(path)?,
        (None, None) => {
            return Err(Failure::error("there is nothing to say; give --text, --input or --batch"));
        }
    };
    let Some(output) = &arguments.output else {
        return Err(Failure::error("there is nowhere to write; give --output OUT.wav, or - for stdout"));
    };
    if as_json && output == Path::new("-") {
        return Err(Failure::error("--json and --output - both want stdout; write to a file"));
    }
    let request = SynthesisRequest::new(text).seed(arguments.seed).decode(decode);
    let request = arguments.voice.iter().fold(request, |r, voice| r.voice(voice));
    let started = Instant::now();
    let speech = synthesizer.speak(&request)?;
    warn(&speech);
    if output == Path::new("-") {
        let bytes = wav_bytes(&speech.waveform).map_err(|e| Failure::error(e.to_string()))?;
        return std::io::stdout()
            .lock()
            .write_all(&bytes)
            .map_err(|e| Failure::error(format!("cannot write to stdout: {e}")));
    }
    speech.save(output)?;
    let value = describe(&speech, output, started.elapsed().as_secs_f64());
    print(as_json, &value, &format!("{}: {:.2} s", output.display(), speech.waveform.duration_s()));
    Ok(())
}

fn read_text(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map(|_| ())
    } else {
        std::fs::read_to_string(path).map(|t| text = t)
    };
    read.map_err(|e| {
        Failure::error(format!("cannot read `{}`: {e}; give an existing text file", path.display()))
    })?;
    Ok(text)
}

fn decode_config(arguments: &SynthesizeArguments, base: &DecodeConfig) -> Result<DecodeConfig, Failure> {
    let mut decode = base.clone();
    if let Some(t) = arguments.temperature {
        decode.ar.temperature = t;
    }
    if let Some(k) = arguments.top_k {
        decode.ar.top_k = k;
    }
    if let Some(p) = arguments.top_p {
        decode.ar.top_p = p;
    }
    if let Some(nar) = arguments.nar {
        decode.nar.kind = match nar {
            Nar::None => NarDecodeKind::None,
            Nar::Argmax => NarDecodeKind::Argmax,
            Nar::Expected => NarDecodeKind::Expected,
        };
    }
    let problems = decode.problems();
    if problems.is_empty() {
        return Ok(decode);
    }
    let list: Vec<String> = problems.iter().map(|problem| problem.message()).collect();
    Err(Failure::error(list.join("; ")))
}

fn warn(speech: &Speech) {
    for warning in &speech.warnings {
        note(&format!("warning: {warning}"));
    }
}

fn describe(speech: &Speech, path: &Path, seconds: f64) -> Value {
    json!({
        "path": path,
        "duration_s": speech.waveform.duration_s(),
        "real_time_factor": seconds / speech.waveform.duration_s().max(1e-9),
        "stop": speech.stop,
        "warnings": speech.warnings,
        "normalized_text": speech.normalized_text,
    })
}

fn run_batch(
    arguments: &SynthesizeArguments,
    synthesizer: &Synthesizer,
    decode: &DecodeConfig,
    batch: &Path,
    dir: &Path,
    as_json: bool,
) -> Result<(), Failure> {
    let text = read_text(batch)?;
    // Every line is read before the first is spoken: a mistake at the end costs nothing.
    let lines: Vec<BatchLine> = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(i, line)| {
            let row: BatchLine = serde_json::from_str(line)
                .map_err(|e| Failure::error(format!("`{}` line {}: {e}", batch.display(), i + 1)))?;
            let safe = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
            if row.id.is_empty() || row.id.starts_with('.') || !row.id.chars().all(safe) {
                let message = format!(
                    "`{}` line {}: the id {:?} is no plain file name",
                    batch.display(),
                    i + 1,
                    row.id
                );
                return Err(Failure::error(message));
            }
            Ok(row)
        })
        .collect::<Result<_, _>>()?;
    std::fs::create_dir_all(dir).map_err(|e| {
        Failure::error(format!("cannot write `{}`: {e}; choose another --output-dir", dir.display()))
    })?;
    let mut spoken = Vec::new();
    let started = Instant::now();
    for (n, line) in lines.iter().enumerate() {
        let seed = line.seed.unwrap_or(arguments.seed);
        let request = SynthesisRequest::new(&line.text).seed(seed).decode(decode.clone());
        let voice = line.voice.as_ref().or(arguments.voice.as_ref());
        let request = voice.iter().fold(request, |r, voice| r.voice(voice.as_str()));
        let begun = Instant::now();
        let speech = synthesizer.speak(&request)?;
        warn(&speech);
        let path = dir.join(format!("{}.wav", line.id));
        speech.save(&path)?;
        spoken.push(describe(&speech, &path, begun.elapsed().as_secs_f64()));
        if (n + 1) % 25 == 0 {
            let rate = (n + 1) as f64 / started.elapsed().as_secs_f64();
            let left = (lines.len() - n - 1) as f64 / rate;
            note(&format!("{}/{} sentences, {rate:.1}/s, {left:.0} s left", n + 1, lines.len()));
        }
    }
    let words = format!("{} files in {}", spoken.len(), dir.display());
    print(as_json, &Value::Array(spoken), &words);
    Ok(())
}
