//! `enroll`: a recording becomes a voice of a bundle.

use crate::failure::Failure;
use crate::output::print;
use crate::reference::read_reference;
use clap::Args;
use harmonica_inference::{Bundle, DevicePreference, SynthesizerBuilder};
use std::path::PathBuf;

/// Arguments of `enroll`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: harmonica enroll --model runs/prompt/bundle --reference me.wav --reference-text \"open the red box\" --name me"
)]
pub(crate) struct EnrollArguments {
    /// Bundle directory; the voice is added to it
    #[arg(long, value_name = "BUNDLE")]
    model: PathBuf,
    /// A few seconds of one speaker
    #[arg(long, value_name = "WAV")]
    reference: PathBuf,
    /// What is said in it; the voice is followed better where it is known
    #[arg(long, value_name = "TEXT")]
    reference_text: Option<String>,
    /// Name of the voice
    #[arg(long)]
    name: String,
}

pub(crate) fn run(arguments: &EnrollArguments, as_json: bool) -> Result<(), Failure> {
    let synthesizer = SynthesizerBuilder::new(&arguments.model).device(DevicePreference::Cpu).open()?;
    let reference = read_reference(&synthesizer, &arguments.reference, arguments.reference_text.as_deref())?;
    Bundle::enroll(&arguments.model, &arguments.name, &reference)?;
    let seconds = reference.n_frames() as f64 / synthesizer.codec().spec().frame_rate_hz();
    let value = serde_json::json!({
        "bundle": arguments.model.display().to_string(),
        "voice": arguments.name,
        "n_frames": reference.n_frames(),
        "duration_s": seconds,
        "transcript": reference.transcript(),
    });
    let words = format!(
        "`{}` is a voice of {} now: {seconds:.2} s; speak with --voice {}",
        arguments.name,
        arguments.model.display(),
        arguments.name
    );
    print(as_json, &value, &words);
    Ok(())
}
