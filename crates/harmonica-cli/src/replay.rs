//! `replay`: speaks again what a replay manifest records, and compares.

use crate::failure::Failure;
use crate::output::print;
use clap::Args;
use harmonica_inference::{DevicePreference, Difference, Replay, ReplayManifest, WavState};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Arguments of `replay`.
#[derive(Debug, Args)]
#[command(after_help = "Example: harmonica replay hello.json --model assets/demo-bundle")]
pub(crate) struct ReplayArguments {
    /// Replay manifest that stands beside a WAV file
    #[arg(value_name = "OUT.json")]
    manifest: PathBuf,
    /// Bundle directory, if the bundle moved
    #[arg(long, value_name = "BUNDLE")]
    model: Option<PathBuf>,
    /// Keep the new speech as a WAV file
    #[arg(long, value_name = "NEW.wav")]
    output: Option<PathBuf>,
    #[arg(long, help = "auto, cpu, wgpu[:i], metal, vulkan[:i] or cuda[:i]; the recorded one if left out")]
    device: Option<DevicePreference>,
}

pub(crate) fn run(arguments: &ReplayArguments, as_json: bool) -> Result<(), Failure> {
    if arguments.output.as_deref() == Some(Path::new("-")) {
        return Err(Failure::error("replay says its verdict on stdout; give --output NEW.wav"));
    }
    let manifest = ReplayManifest::read(&arguments.manifest)?;
    let synthesizer = manifest.open(arguments.model.as_deref(), arguments.device)?;
    let replay = manifest.replay(&synthesizer)?;
    // Looked at before the new speech is kept: it may go to the same place.
    let (wav, state) = manifest.wav_beside(&arguments.manifest);
    if let Some(output) = &arguments.output {
        replay.speech.save(output)?;
    }
    let result = Map::from_iter([
        ("reproduced".to_owned(), json!(replay.is_reproduced())),
        ("differences".to_owned(), json!(replay.differences)),
        ("surroundings".to_owned(), json!(replay.surroundings)),
        ("speech".to_owned(), json!(replay.record)),
        ("wav".to_owned(), json!({ "path": wav.display().to_string(), "state": state })),
        ("output".to_owned(), json!(arguments.output.as_ref().map(|path| path.display().to_string()))),
    ]);
    let mut words = verdict(&replay);
    if !replay.is_reproduced() && (synthesizer.device() != DevicePreference::Cpu || manifest.device != "cpu")
    {
        words.push_str("; the same bytes are promised on the processor alone");
    }
    if state == WavState::Changed {
        words.push_str(&format!("; `{}` holds something else than was recorded", wav.display()));
    }
    if !replay.is_reproduced() {
        return Err(Failure { code: 1, result, ..Failure::error(words) });
    }
    print(as_json, &Value::Object(result), &words);
    Ok(())
}

/// Whether it was reproduced, and what differs if not.
fn verdict(replay: &Replay) -> String {
    if replay.is_reproduced() {
        return format!("reproduced: {} samples, wav {}", replay.record.n_samples, replay.record.wav_blake3);
    }
    let list = |differences: &[Difference]| {
        differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    let mut words = format!("not reproduced: {}", list(&replay.differences));
    if !replay.surroundings.is_empty() {
        words.push_str(&format!("; what changed besides: {}", list(&replay.surroundings)));
    }
    words
}
