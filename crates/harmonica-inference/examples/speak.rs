//! Says a sentence, tells its progress, and gives up after a limit.
//!
//! `cargo run --release -p harmonica-inference --example speak -- assets/demo-bundle "open the red box" hello.wav`
#![expect(clippy::print_stderr, reason = "an example speaks to a person")]

use harmonica_inference::{InferenceError, StopReason, SynthesisRequest, SynthesizerBuilder};
use std::time::{Duration, Instant};

fn main() -> Result<(), InferenceError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bundle, text, wav] = &arguments[..] else {
        eprintln!("usage: speak BUNDLE TEXT OUT.wav");
        std::process::exit(2);
    };
    let synthesizer = SynthesizerBuilder::new(bundle).open()?;
    let begun = Instant::now();
    let speech = synthesizer.speak_with_progress(&SynthesisRequest::new(text), |n_frames| {
        eprint!("\r{n_frames} frames");
        begun.elapsed() < Duration::from_secs(30) // false cancels
    })?;
    eprintln!();
    for warning in &speech.warnings {
        eprintln!("note: {warning}");
    }
    if speech.stop == StopReason::Cancelled {
        eprintln!("it took too long; what was written by then is in {wav}");
    }
    speech.save(wav.as_ref())
}
