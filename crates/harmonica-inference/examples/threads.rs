//! One synthesizer, a thread for each voice: nothing is opened twice, and each result is what one thread alone would get.
//!
//! `cargo run --release -p harmonica-inference --example threads -- assets/demo-bundle "open the red box" DIR`
#![expect(clippy::print_stderr, reason = "an example speaks to a person")]

use harmonica_inference::{InferenceError, SynthesisRequest, SynthesizerBuilder};
use std::path::Path;

fn main() -> Result<(), InferenceError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bundle, text, dir] = &arguments[..] else {
        eprintln!("usage: threads BUNDLE TEXT DIR");
        std::process::exit(2);
    };
    let synthesizer = SynthesizerBuilder::new(bundle).open()?;
    let voices = synthesizer.voices();
    std::thread::scope(|scope| {
        let speak = |name: &String| {
            let request = SynthesisRequest::new(text).voice(name);
            synthesizer.speak(&request)?.save(&Path::new(dir).join(format!("{name}.wav")))
        };
        let threads: Vec<_> = voices.iter().map(|voice| scope.spawn(move || speak(&voice.name))).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
