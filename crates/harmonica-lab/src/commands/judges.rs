//! Opens what judges speech: recognizers, embedders of voices, predictors of opinion scores.
//!
//! Invariant: a judge that this program was built without is an error that says how to build it, never another judge.

use crate::failure::Failure;
use harmonica_eval::{
    CommandTranscriber, LstmEmbedder, QualityPredictor, SpeakerEmbedder, SpectralStatistics, Transcriber,
};
use std::path::Path;

/// Begins a recognizer that is a Whisper model and no command.
const WHISPER: &str = "whisper:";

/// The recognizer of a `--recognizer`; none if it is empty.
pub(super) fn recognizer(asked: &str) -> Result<Option<Box<dyn Transcriber>>, Failure> {
    match asked.strip_prefix(WHISPER) {
        _ if asked.is_empty() => Ok(None),
        None => Ok(Some(Box::new(CommandTranscriber::new(asked)))),
        Some(place) => whisper(Path::new(place)).map(Some),
    }
}

#[cfg(feature = "whisper")]
fn whisper(place: &Path) -> Result<Box<dyn Transcriber>, Failure> {
    Ok(Box::new(harmonica_eval::WhisperTranscriber::open(place)?))
}

#[cfg(not(feature = "whisper"))]
fn whisper(place: &Path) -> Result<Box<dyn Transcriber>, Failure> {
    Err(without(&format!("Whisper, which `{}` needs", place.display()), "whisper"))
}

/// The embedder of a `--speaker-embedder`: an ONNX model, an LSTM of the GE2E kind, or spectral statistics if none was given.
pub(super) fn embedder(asked: Option<&Path>) -> Result<Box<dyn SpeakerEmbedder>, Failure> {
    match asked {
        None => Ok(Box::new(SpectralStatistics::default())),
        Some(path) if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx")) => onnx_embedder(path),
        Some(path) => Ok(Box::new(LstmEmbedder::read(path)?)),
    }
}

/// The predictors of all `--mos NAME=FILE.onnx[#OUTPUT]`.
pub(super) fn predictors(asked: &[String]) -> Result<Vec<Box<dyn QualityPredictor>>, Failure> {
    let mut found: Vec<Box<dyn QualityPredictor>> = Vec::new();
    for argument in asked {
        let refused = |why: &str| {
            Failure::error(format!("--mos `{argument}`: {why}; give NAME=FILE.onnx or NAME=FILE.onnx#OUTPUT"))
        };
        let (name, file) = argument.split_once('=').ok_or_else(|| refused("there is no `=`"))?;
        if name.is_empty() || file.is_empty() {
            return Err(refused("the name or the file is empty"));
        }
        if found.iter().any(|known| known.name() == name) {
            return Err(refused("the name was given before"));
        }
        let (file, output) = file_and_output(file);
        found.push(onnx_predictor(name, Path::new(file), output)?);
    }
    Ok(found)
}

/// `FILE#OUTPUT` in its parts; a `#` with no number behind it belongs to the file's name.
fn file_and_output(asked: &str) -> (&str, Option<usize>) {
    let split = asked.rsplit_once('#').and_then(|(file, output)| Some((file, output.parse().ok()?)));
    split.map_or((asked, None), |(file, output)| (file, Some(output)))
}

#[cfg(feature = "onnx")]
fn onnx_embedder(path: &Path) -> Result<Box<dyn SpeakerEmbedder>, Failure> {
    Ok(Box::new(harmonica_eval::OnnxEmbedder::open(path)?))
}

#[cfg(not(feature = "onnx"))]
fn onnx_embedder(path: &Path) -> Result<Box<dyn SpeakerEmbedder>, Failure> {
    Err(without(&format!("ONNX models such as `{}`", path.display()), "onnx"))
}

#[cfg(feature = "onnx")]
fn onnx_predictor(
    name: &str,
    path: &Path,
    output: Option<usize>,
) -> Result<Box<dyn QualityPredictor>, Failure> {
    Ok(Box::new(harmonica_eval::OnnxPredictor::open(name, path, output)?))
}

#[cfg(not(feature = "onnx"))]
fn onnx_predictor(
    name: &str,
    path: &Path,
    _output: Option<usize>,
) -> Result<Box<dyn QualityPredictor>, Failure> {
    Err(without(&format!("ONNX models such as `{}`, which `{name}` is", path.display()), "onnx"))
}

#[cfg(not(all(feature = "whisper", feature = "onnx")))]
fn without(what: &str, feature: &str) -> Failure {
    Failure::error(format!(
        "this program was built without {what}; build it with `cargo build --release -p harmonica-lab --features {feature}`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message<T>(result: Result<T, Failure>) -> String {
        result.err().map(|failure| failure.message).unwrap_or_default()
    }

    #[test]
    fn no_recognizer_is_none_and_a_command_is_itself() {
        assert!(recognizer("").unwrap().is_none());
        assert_eq!(recognizer("hear {wav}").unwrap().unwrap().name(), "hear {wav}");
        assert!(message(recognizer("whisper:no/such/dir")).contains("no/such/dir"));
    }

    #[test]
    fn malformed_predictors_are_refused_with_what_would_be_right() {
        let refused = |asked: &[&str]| {
            let asked: Vec<String> = asked.iter().map(|a| (*a).to_owned()).collect();
            message(predictors(&asked))
        };
        assert!(predictors(&[]).unwrap().is_empty());
        for malformed in ["scores.onnx", "=scores.onnx", "a="] {
            assert!(refused(&[malformed]).contains("NAME=FILE.onnx"), "{malformed}");
        }
        assert!(refused(&["a=no-such-file.onnx"]).contains("no-such-file.onnx"));
        assert!(message(embedder(Some(Path::new("no-such-file.ONNX")))).contains("no-such-file.ONNX"));
    }

    #[test]
    fn a_number_behind_the_last_hash_is_an_output_and_any_other_hash_is_of_the_name() {
        for (asked, expected) in [
            ("scores.onnx", ("scores.onnx", None)),
            ("scores.onnx#2", ("scores.onnx", Some(2))),
            ("run #3/scores.onnx", ("run #3/scores.onnx", None)),
            ("run#3/scores#old.onnx#0", ("run#3/scores#old.onnx", Some(0))),
            ("scores.onnx#x", ("scores.onnx#x", None)),
        ] {
            assert_eq!(file_and_output(asked), expected, "{asked}");
        }
    }
}
