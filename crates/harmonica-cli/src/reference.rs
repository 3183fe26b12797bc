//! Voices from recordings: what `--reference` and `enroll` share.

use crate::failure::Failure;
use crate::output::note;
use harmonica_audio::load;
use harmonica_console::with_causes;
use harmonica_inference::{Reference, Synthesizer};
use std::path::Path;

/// A recording as a voice; what was left out of it is told.
pub(crate) fn read_reference(
    synthesizer: &Synthesizer,
    recording: &Path,
    transcript: Option<&str>,
) -> Result<Reference, Failure> {
    let waveform = load(recording).map_err(|e| Failure::error(with_causes(&e)))?;
    let enrolment = synthesizer.reference(&waveform, transcript).map_err(|e| {
        let failure = Failure::from(e);
        Failure { message: format!("`{}`: {}", recording.display(), failure.message), ..failure }
    })?;
    for warning in &enrolment.warnings {
        note(&format!("warning: {}: {warning}", recording.display()));
    }
    Ok(enrolment.reference)
}
