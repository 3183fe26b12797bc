//! `synthesize`: one text to a WAV file or stdout; many lines are the business of `batch`.

use crate::batch;
use crate::decode::DecodeArguments;
use crate::failure::Failure;
use crate::output::{note, print};
use crate::reference::read_reference;
use clap::Args;
use harmonica_audio::wav_bytes;
use harmonica_inference::{
    DevicePreference, ReplayManifest, Speech, SynthesisRequest, Synthesizer, SynthesizerBuilder,
};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

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
    /// Lines of {"id", "text", "voice" or "reference" and "reference_text", "seed"}; each becomes OUTPUT_DIR/id.wav
    #[arg(long, value_name = "LINES.jsonl", group = "source", requires = "output_dir")]
    batch: Option<PathBuf>,
    /// A voice of the bundle; its first one if left out
    #[arg(long)]
    pub(crate) voice: Option<String>,
    /// Speak in the voice of a recording: a few seconds of one speaker
    #[arg(long, value_name = "WAV", conflicts_with = "voice")]
    pub(crate) reference: Option<PathBuf>,
    /// What is said in the recording
    #[arg(long, value_name = "TEXT", requires = "reference")]
    pub(crate) reference_text: Option<String>,
    /// WAV file; - is stdout
    #[arg(long, value_name = "OUT.wav", conflicts_with = "batch")]
    output: Option<PathBuf>,
    /// Directory of a batch's files
    #[arg(long, value_name = "DIR", requires = "batch")]
    output_dir: Option<PathBuf>,
    #[command(flatten)]
    decode: DecodeArguments,
    /// Seed of the draws
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Write no replay manifest (OUT.json) beside each WAV file
    #[arg(long)]
    pub(crate) no_manifest: bool,
    #[arg(long, default_value = "auto", help = "auto, cpu, wgpu[:i], metal, vulkan[:i] or cuda[:i]")]
    device: DevicePreference,
}

pub(crate) fn run(arguments: &SynthesizeArguments, as_json: bool) -> Result<(), Failure> {
    let synthesizer = SynthesizerBuilder::new(&arguments.model).device(arguments.device).open()?;
    let decode = arguments.decode.over(synthesizer.decode_config())?;
    if let (Some(batch), Some(dir)) = (&arguments.batch, &arguments.output_dir) {
        return batch::run(arguments, &synthesizer, &decode, batch, dir, as_json);
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
    let request = match &arguments.reference {
        None => request,
        Some(recording) => {
            let transcript = arguments.reference_text.as_deref();
            request.reference(read_reference(&synthesizer, recording, transcript)?)
        }
    };
    if output == Path::new("-") {
        let speech = synthesizer.speak(&request)?;
        warn(&speech, None);
        let bytes = wav_bytes(&speech.waveform).map_err(|e| Failure::error(e.to_string()))?;
        return std::io::stdout()
            .lock()
            .write_all(&bytes)
            .map_err(|e| Failure::error(format!("cannot write to stdout: {e}")));
    }
    let said = say(&synthesizer, &request, output, !arguments.no_manifest)?;
    print(as_json, &said.value, &format!("{}: {:.2} s", output.display(), said.duration_s));
    Ok(())
}

/// What was said to a file.
pub(crate) struct Said {
    /// For programs.
    pub(crate) value: Value,
    /// How long it is.
    pub(crate) duration_s: f64,
}

/// Says a request to a WAV file, with its replay manifest beside it if wanted.
pub(crate) fn say(
    synthesizer: &Synthesizer,
    request: &SynthesisRequest,
    wav: &Path,
    with_manifest: bool,
) -> Result<Said, Failure> {
    if with_manifest {
        ReplayManifest::check_place(wav)?;
    }
    let started = Instant::now();
    let speech = synthesizer.speak(request)?;
    let seconds = started.elapsed().as_secs_f64();
    warn(&speech, Some(wav));
    if with_manifest {
        ReplayManifest::new(synthesizer, request, &speech, wav)?.save(&speech, wav)?;
    } else {
        speech.save(wav)?;
    }
    let manifest = with_manifest.then(|| ReplayManifest::path_of(wav));
    let duration_s = speech.waveform.duration_s();
    let value = json!({
        "path": wav.display().to_string(),
        "manifest": manifest.map(|path| path.display().to_string()),
        "duration_s": duration_s,
        "real_time_factor": seconds / duration_s.max(1e-9),
        "stop": speech.stop,
        "warnings": speech.warnings,
        "normalized_text": speech.normalized_text,
    });
    Ok(Said { value, duration_s })
}

pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
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

fn warn(speech: &Speech, wav: Option<&Path>) {
    let about = wav.map_or_else(String::new, |wav| format!("{}: ", wav.display()));
    for warning in &speech.warnings {
        note(&format!("warning: {about}{warning}"));
    }
}
