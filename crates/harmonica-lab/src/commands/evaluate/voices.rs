//! In whose voice each sentence of a suite is spoken.
//!
//! In: a suite and a synthesizer. Out: what each sentence's request says of its speaker: a voice of the bundle, or, where the models go on
//! from recordings and do not know this speaker, another recording of the suite. Invariant: nobody speaks a sentence from its own recording;
//! a speaker that nobody can be is an error before the first sentence is spoken.

use crate::failure::Failure;
use harmonica_audio::load;
use harmonica_eval::{EvalError, EvalSuite, Sentence};
use harmonica_inference::{Reference, SynthesisRequest, Synthesizer};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Recordings to go on from, by the id of the sentence that is spoken.
pub(super) struct Voices {
    references: BTreeMap<String, Reference>,
}

impl Voices {
    /// Chooses a voice for every sentence.
    pub(super) fn choose(suite: &EvalSuite, synthesizer: &Synthesizer) -> Result<Self, Failure> {
        let known: BTreeSet<&str> = synthesizer.voices().iter().map(|voice| voice.name.as_str()).collect();
        let mut read: BTreeMap<&str, Reference> = BTreeMap::new();
        let mut references = BTreeMap::new();
        for sentence in &suite.sentences {
            let speaker = sentence.speaker.as_str();
            if speaker.is_empty() || known.contains(speaker) {
                continue;
            }
            let other = other_recording(suite, sentence).filter(|_| synthesizer.takes_references());
            let Some((other, audio)) = other else {
                let said = known.iter().copied().collect::<Vec<_>>().join(", ");
                return Err(Failure::error(format!(
                    "sentence `{}` is for the speaker `{speaker}`, whom the bundle does not know (it has: {said}), and there is no other recording to go on from; enroll the voice, or leave the sentence out",
                    sentence.id
                )));
            };
            let reference = match read.get(other.id.as_str()) {
                Some(reference) => reference.clone(),
                None => {
                    let path = suite.root.join(audio);
                    let recording = load(&path).map_err(EvalError::from)?;
                    let enrolment = synthesizer.reference(&recording, Some(&other.text))?;
                    enrolment.warnings.iter().for_each(|w| tracing::warn!("`{}`: {w}", path.display()));
                    read.insert(&other.id, enrolment.reference.clone());
                    enrolment.reference
                }
            };
            references.insert(sentence.id.clone(), reference);
        }
        Ok(Self { references })
    }

    /// The request in the voice of a sentence.
    pub(super) fn of(&self, sentence: &Sentence, request: SynthesisRequest) -> SynthesisRequest {
        match self.references.get(&sentence.id) {
            Some(reference) => request.reference(reference.clone()),
            None if sentence.speaker.is_empty() => request,
            None => request.voice(&sentence.speaker),
        }
    }
}

/// The next sentence of the same speaker, round the suite, that has a recording of another text.
fn other_recording<'a>(suite: &'a EvalSuite, sentence: &Sentence) -> Option<(&'a Sentence, &'a Path)> {
    let at = suite.sentences.iter().position(|s| s.id == sentence.id)?;
    let (before, after) = suite.sentences.split_at(at);
    let of_speaker = |s: &&Sentence| s.speaker == sentence.speaker && s.text != sentence.text;
    after.iter().chain(before).filter(of_speaker).find_map(|s| Some((s, s.audio.as_deref()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_speaks_a_sentence_from_its_own_recording() {
        let lines = [
            r#"{"id": "a1", "text": "one", "speaker": "a", "audio": "a1.wav"}"#,
            r#"{"id": "b1", "text": "two", "speaker": "b", "audio": "b1.wav"}"#,
            r#"{"id": "a2", "text": "one", "speaker": "a", "audio": "a2.wav"}"#,
            r#"{"id": "a3", "text": "three", "speaker": "a"}"#,
            r#"{"id": "a4", "text": "four", "speaker": "a", "audio": "a4.wav"}"#,
        ];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("suite.jsonl");
        std::fs::write(&path, lines.join("\n")).unwrap();
        for audio in ["a1.wav", "a2.wav", "a4.wav", "b1.wav"] {
            std::fs::write(dir.path().join(audio), audio).unwrap();
        }
        let suite = EvalSuite::read(&path).unwrap();
        let chosen = |i: usize| other_recording(&suite, &suite.sentences[i]).map(|(s, _)| s.id.as_str());
        // The same words of the same speaker would be the sentence itself again.
        assert_eq!([0, 1, 2, 3, 4].map(chosen), [Some("a4"), None, Some("a4"), Some("a4"), Some("a1")]);
    }
}
