//! Voices from recordings: a bundle whose models go on from a reference takes any, keeps it under a name, and can prove
//! what it said in it.

use crate::bundle::parts;
use harmonica_audio::Waveform;
use harmonica_config_schema::{Conditioning, SpeakerConditioning};
use harmonica_inference::{
    Bundle, BundleParts, DevicePreference, InferenceError, ReplayManifest, SynthesisRequest, Synthesizer,
    SynthesizerBuilder,
};
use harmonica_tests::{Fixture, speech};
use std::path::{Path, PathBuf};

/// The parts of a bundle whose models go on from recordings.
pub(crate) fn prompt_parts(mut f: Fixture, dir: &Path) -> BundleParts {
    f.config.model.ar.speaker = SpeakerConditioning::Prompt;
    f.config.model.nar.speaker = SpeakerConditioning::Prompt;
    let mut parts = parts(&f, dir);
    parts.manifest.voices.clear();
    parts.manifest.audio = Some(f.config.data.audio.clone());
    parts
}

/// A bundle whose models go on from recordings.
pub(crate) fn prompt_bundle(dir: &Path) -> PathBuf {
    let bundle = dir.join("bundle");
    Bundle::write(&prompt_parts(Fixture::new(dir, Conditioning::Cross), dir), &bundle).unwrap();
    bundle
}

fn open(bundle: &Path) -> Synthesizer {
    SynthesizerBuilder::new(bundle).device(DevicePreference::Cpu).open().unwrap()
}

#[test]
fn a_recording_becomes_a_voice_and_what_it_said_can_still_be_proved() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = prompt_bundle(dir.path());
    let synthesizer = open(&bundle);
    let nobody = synthesizer.speak(&SynthesisRequest::new("abc")).unwrap_err();
    assert!(matches!(nobody, InferenceError::NoVoice { .. }), "{nobody}");
    let enrolment = synthesizer.reference(&speech("abcdef", 0), Some("Abc, def!")).unwrap();
    assert_eq!(enrolment.warnings, Vec::<String>::new());
    assert_eq!(enrolment.reference.transcript(), Some("abc, def!"));
    let other = synthesizer.reference(&speech("fedcba", 2), None).unwrap().reference;
    let request = |reference| SynthesisRequest::new("cab").seed(3).reference(reference);
    let said = synthesizer.speak(&request(enrolment.reference.clone())).unwrap();
    assert_ne!(said.codes, synthesizer.speak(&request(other.clone())).unwrap().codes);
    let wav = dir.path().join("out.wav");
    let manifest =
        ReplayManifest::new(&synthesizer, &request(enrolment.reference.clone()), &said, &wav).unwrap();
    manifest.save(&said, &wav).unwrap();

    Bundle::enroll(&bundle, "ann", &enrolment.reference).unwrap();
    Bundle::enroll(&bundle, "bob", &other).unwrap();
    let again = open(&bundle);
    let names: Vec<&str> = again.voices().iter().map(|voice| voice.name.as_str()).collect();
    assert_eq!(names, ["ann", "bob"]);
    let by_name = again.speak(&SynthesisRequest::new("cab").seed(3).voice("ann")).unwrap();
    assert_eq!(by_name, said);
    // What was spoken before a voice came is still the same bundle's.
    let replay = ReplayManifest::read(&ReplayManifest::path_of(&wav)).unwrap();
    assert!(replay.replay(&replay.open(None, None).unwrap()).unwrap().is_reproduced());
    // A manifest holds the recording itself: it needs no voice of that name.
    let named = again.complete(&SynthesisRequest::new("cab").seed(3).voice("ann")).unwrap();
    assert_eq!(synthesizer.speak(&named).unwrap(), said);
}

#[test]
fn a_transcript_is_read_and_not_spoken() {
    let dir = tempfile::tempdir().unwrap();
    let synthesizer = open(&prompt_bundle(dir.path()));
    let recording = speech("abcdef", 0);
    let say = |transcript: Option<&str>, text: &str| {
        let enrolment = synthesizer.reference(&recording, transcript).unwrap();
        synthesizer.speak(&SynthesisRequest::new(text).reference(enrolment.reference)).unwrap()
    };
    let (with, without) = (say(Some("abc def"), "ab"), say(None, "ab"));
    assert_eq!(with.attention.n_symbols(), without.attention.n_symbols() + "abc def".len() + 1);
    // The bound of an untrained model that never ends is that of the text alone.
    let most = synthesizer.decode_config().ar.max_frames_per_char * 2.0;
    for speech in [&with, &without] {
        assert!(speech.codes[0].len() <= most.ceil().max(8.0) as usize, "{}", speech.codes[0].len());
    }
    let long = say(Some(&"abc ".repeat(60)), &"abc ".repeat(10));
    assert!(long.warnings.iter().any(|w| w.contains("transcript was left out")), "{:?}", long.warnings);
}

#[test]
fn recordings_that_cannot_be_voices_are_refused_and_long_ones_are_cut_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = prompt_bundle(dir.path());
    let synthesizer = open(&bundle);
    let refused = |waveform: &Waveform| synthesizer.reference(waveform, None).unwrap_err().to_string();
    let silence = refused(&Waveform::new(vec![0.0; 16_000], 16_000));
    assert!(silence.contains("silent"), "{silence}");
    let short = refused(&speech("a", 0).slice(0, 1600));
    assert!(short.contains("0.10 s") && short.contains("0.5 s"), "{short}");
    let long = synthesizer.reference(&speech(&"abcdef".repeat(10), 1), Some("abc")).unwrap();
    assert_eq!(long.reference.n_frames(), 48);
    assert!(long.reference.transcript().is_none() && long.warnings.len() == 1, "{:?}", long.warnings);
    Bundle::enroll(&bundle, "ann", &long.reference).unwrap();
    for (name, why) in
        [("ann", "another --name"), ("a\0b", "control characters"), ("", "1 to 100 characters")]
    {
        let error = Bundle::enroll(&bundle, name, &long.reference).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    // Names are words, not paths: whatever they hold, the file stays in its place.
    Bundle::enroll(&bundle, "../Zo\u{eb} & co", &long.reference).unwrap();
    let names: Vec<String> = open(&bundle).voices().iter().map(|voice| voice.name.clone()).collect();
    assert_eq!(names, ["../Zo\u{eb} & co", "ann"]);
    assert_eq!(std::fs::read_dir(bundle.join("voices")).unwrap().count(), 2);
}

#[test]
fn voices_enrolled_at_once_are_all_kept_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = prompt_bundle(dir.path());
    let reference = open(&bundle).reference(&speech("abcdef", 0), None).unwrap().reference;
    let enrolled: Vec<String> = std::thread::scope(|scope| {
        let enroll = |i: usize| {
            let (bundle, reference) = (&bundle, &reference);
            scope.spawn(move || {
                let name = format!("voice {i}");
                Bundle::enroll(bundle, &name, reference).map(|()| name).map_err(|e| e.to_string())
            })
        };
        let threads: Vec<_> = (0..8).map(enroll).collect();
        let done = threads.into_iter().map(|thread| thread.join().unwrap());
        done.filter_map(|done| done.map_err(|e| assert!(e.contains("another process"), "{e}")).ok()).collect()
    });
    assert!(!enrolled.is_empty());
    let names: Vec<String> = open(&bundle).voices().iter().map(|voice| voice.name.clone()).collect();
    assert_eq!(names, enrolled);
}

#[test]
fn a_bundle_that_knows_its_voices_by_name_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let f = Fixture::new(dir.path(), Conditioning::Prefix);
    let bundle = dir.path().join("bundle");
    Bundle::write(&parts(&f, dir.path()), &bundle).unwrap();
    let error = open(&bundle).reference(&speech("abcdef", 0), None).unwrap_err().to_string();
    assert!(error.contains("voice0") && error.contains("speaker = \"prompt\""), "{error}");
}
