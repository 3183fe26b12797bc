//! A wav and its manifest: the same bytes come out again, and nothing else is called reproduced.

use crate::bundle::parts;
use harmonica_config_schema::Conditioning;
use harmonica_inference::{
    Bundle, DecodeConfig, DevicePreference, InferenceError, ReplayManifest, StopReason, SynthesisRequest,
    Synthesizer, SynthesizerBuilder,
};
use harmonica_tests::Fixture;
use std::path::{Path, PathBuf};
use std::process::Command;

const BUNDLE: &str = "HARMONICA_TEST_BUNDLE";
const WAV: &str = "HARMONICA_TEST_WAV";

/// A bundle of the fixture, and another one with the same weights under another name.
fn bundles(dir: &Path) -> (PathBuf, PathBuf) {
    let f = Fixture::new(dir, Conditioning::Prefix);
    let (bundle, other) = (dir.join("bundle"), dir.join("other"));
    let mut parts = parts(&f, dir);
    Bundle::write(&parts, &bundle).unwrap();
    parts.manifest.name = "other".into();
    Bundle::write(&parts, &other).unwrap();
    (bundle, other)
}

/// A request whose draws depend on the seed.
fn request(synthesizer: &Synthesizer) -> SynthesisRequest {
    let mut decode = synthesizer.decode_config().clone();
    decode.ar.temperature = 1.0;
    SynthesisRequest::new("Abc, def!").voice("voice1").seed(u64::MAX).decode(decode)
}

/// Speaks to a wav with its manifest.
fn speak(bundle: &Path, wav: &Path) -> ReplayManifest {
    let synthesizer = SynthesizerBuilder::new(bundle).device(DevicePreference::Cpu).open().unwrap();
    let request = request(&synthesizer);
    let speech = synthesizer.speak(&request).unwrap();
    let manifest = ReplayManifest::new(&synthesizer, &request, &speech, wav).unwrap();
    manifest.save(&speech, wav).unwrap();
    manifest
}

#[test]
fn a_replay_gives_the_bytes_of_the_wav_also_where_the_bundle_moved() {
    let dir = tempfile::tempdir().unwrap();
    let (bundle, _) = bundles(dir.path());
    let wav = dir.path().join("out.wav");
    let written = speak(&bundle, &wav);
    let manifest = ReplayManifest::read(&dir.path().join("out.json")).unwrap();
    assert_eq!(manifest, written);
    let replay = manifest.replay(&manifest.open(None, None).unwrap()).unwrap();
    assert!(replay.is_reproduced(), "{:?}", replay.differences);
    assert_eq!((replay.record, replay.surroundings), (written.speech, Vec::new()));
    let again = dir.path().join("again.wav");
    replay.speech.save(&again).unwrap();
    assert_eq!(std::fs::read(&again).unwrap(), std::fs::read(&wav).unwrap());

    let moved = dir.path().join("moved");
    std::fs::rename(&bundle, &moved).unwrap();
    let error = manifest.open(None, None).err().unwrap().to_string();
    assert!(error.contains("--model"), "{error}");
    let replay = manifest.replay(&manifest.open(Some(&moved), None).unwrap()).unwrap();
    assert!(replay.is_reproduced());
}

#[test]
fn what_the_bundle_filled_in_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let (bundle, _) = bundles(dir.path());
    let synthesizer = SynthesizerBuilder::new(&bundle).open().unwrap();
    let short = SynthesisRequest::new("abc");
    let speech = synthesizer.speak(&short).unwrap();
    let manifest = ReplayManifest::new(&synthesizer, &short, &speech, Path::new("out.wav")).unwrap();
    let decode = synthesizer.decode_config().clone();
    assert_eq!(manifest.request, SynthesisRequest::new("abc").voice("voice0").decode(decode));
    assert_eq!(manifest.device, "cpu");
}

#[test]
fn another_bundle_is_refused_with_both_fingerprints() {
    let dir = tempfile::tempdir().unwrap();
    let (bundle, other) = bundles(dir.path());
    let manifest = speak(&bundle, &dir.path().join("out.wav"));
    let error = manifest.open(Some(&other), None).err().unwrap();
    let [ours, theirs] = [&bundle, &other].map(|dir| Bundle::open(dir).unwrap().origin.blake3);
    assert!(error.is_refusal() && ours != theirs);
    assert!(error.to_string().contains(&ours) && error.to_string().contains(&theirs), "{error}");
    let other = SynthesizerBuilder::new(&other).open().unwrap();
    assert!(matches!(manifest.replay(&other), Err(InferenceError::OtherBundle { .. })));
}

#[test]
fn speech_that_comes_out_otherwise_is_a_difference_of_wav_and_codes() {
    let dir = tempfile::tempdir().unwrap();
    let (bundle, _) = bundles(dir.path());
    let mut manifest = speak(&bundle, &dir.path().join("out.wav"));
    manifest.request = manifest.request.seed(7);
    manifest.platform = "elsewhere".into();
    let replay = manifest.replay(&manifest.open(None, None).unwrap()).unwrap();
    let what: Vec<&str> = replay.differences.iter().map(|d| d.what).collect();
    assert!(!replay.is_reproduced());
    assert_eq!(what, ["wav", "codes"]);
    assert_eq!(replay.surroundings[0].what, "platform");
    assert!(replay.differences[0].to_string().contains(&manifest.speech.wav_blake3));
}

#[test]
fn a_changed_byte_of_a_manifest_is_an_error_or_leaves_it_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (bundle, _) = bundles(dir.path());
    let written = speak(&bundle, &dir.path().join("out.wav"));
    let bytes = std::fs::read(dir.path().join("out.json")).unwrap();
    let path = dir.path().join("changed.json");
    let mut refused = 0;
    for i in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[i] ^= 1 << (i % 8);
        std::fs::write(&path, &changed).unwrap();
        match ReplayManifest::read(&path) {
            // White space that became other white space.
            Ok(manifest) => assert_eq!(manifest, written, "byte {i}"),
            Err(error) => {
                assert!(error.to_string().contains("changed.json"), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > bytes.len() / 2, "{refused} of {}", bytes.len());
}

#[test]
fn a_manifest_that_was_edited_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (bundle, _) = bundles(dir.path());
    speak(&bundle, &dir.path().join("out.wav"));
    let path = dir.path().join("out.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let error = |text: &str| {
        std::fs::write(&path, text).unwrap();
        ReplayManifest::read(&path).unwrap_err().to_string()
    };
    assert!(error(&text.replace("Abc, def!", "Abc, dee!")).contains("changed after it was written"));
    assert!(error(&text.replace("\"format_version\": 1", "\"format_version\": 9")).contains("version 9"));
    assert!(error("{\"samples\": 3}").contains("no replay manifest"));
    // Other white space is the same manifest.
    std::fs::write(&path, text.replace('\n', "\r\n  ")).unwrap();
    ReplayManifest::read(&path).unwrap();
}

#[test]
fn a_file_that_is_no_manifest_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let (bundle, _) = bundles(dir.path());
    let wav = dir.path().join("out.wav");
    speak(&bundle, &wav);
    // Its own manifest is replaced.
    let manifest = speak(&bundle, &wav);
    let before = std::fs::read(&wav).unwrap();
    let synthesizer = SynthesizerBuilder::new(&bundle).open().unwrap();
    let speech = synthesizer.speak(&SynthesisRequest::new("abc")).unwrap();
    for foreign in ["{\"samples\": 3}", "", "no json"] {
        std::fs::write(dir.path().join("out.json"), foreign).unwrap();
        let error = manifest.save(&speech, &wav).unwrap_err().to_string();
        assert!(error.contains("out.json") && error.contains("no replay manifest"), "{error}");
        assert_eq!(std::fs::read_to_string(dir.path().join("out.json")).unwrap(), foreign);
        assert_eq!(std::fs::read(&wav).unwrap(), before);
    }
    let same_name = ReplayManifest::check_place(&dir.path().join("speech.json")).unwrap_err().to_string();
    assert!(same_name.contains("name of the wav itself"), "{same_name}");
}

#[test]
fn cancelled_speech_is_cancelled_again_at_the_same_frame() {
    let dir = tempfile::tempdir().unwrap();
    let (bundle, _) = bundles(dir.path());
    let synthesizer = SynthesizerBuilder::new(&bundle).open().unwrap();
    for best_of in [1, 4] {
        let mut decode = DecodeConfig { best_of, ..synthesizer.decode_config().clone() };
        decode.ar.temperature = 1.0;
        let request = request(&synthesizer).decode(decode);
        let speech = synthesizer.speak_with_progress(&request, |n| n < 3).unwrap();
        assert_eq!(speech.stop, StopReason::Cancelled);
        let manifest = ReplayManifest::new(&synthesizer, &request, &speech, Path::new("out.wav")).unwrap();
        let replay = manifest.replay(&synthesizer).unwrap();
        assert!(replay.is_reproduced() && replay.record == manifest.speech, "best of {best_of}");
    }
}

/// Not a test by itself: the process with another number of threads. Without the variables that name its work it does nothing.
#[test]
fn worker() {
    let (Some(bundle), Some(wav)) = (std::env::var_os(BUNDLE), std::env::var_os(WAV)) else { return };
    speak(Path::new(&bundle), Path::new(&wav));
}

#[test]
fn one_and_two_threads_give_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (bundle, _) = bundles(dir.path());
    let bytes = ["1", "2"].map(|threads| {
        // The wav's name is recorded: the same in a directory of its own.
        let wav = dir.path().join(threads).join("out.wav");
        std::fs::create_dir(dir.path().join(threads)).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "replay::worker", "--quiet"]).env(BUNDLE, &bundle).env(WAV, &wav);
        assert!(command.env("RAYON_NUM_THREADS", threads).output().unwrap().status.success());
        (std::fs::read(&wav).unwrap(), std::fs::read(wav.with_extension("json")).unwrap())
    });
    assert!(!bytes[0].0.is_empty());
    assert!(bytes[0] == bytes[1], "one thread and two threads speak otherwise");
}
