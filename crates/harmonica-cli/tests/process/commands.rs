//! The command as programs call it: its exit codes, and one object on stdout for each failure.

use harmonica_inference::{ReplayManifest, Speech, StopReason, SynthesisRequest, TextAttention, Waveform};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn bundle() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo-bundle")
}

/// Runs the command in a directory; `{bundle}` stands for the committed bundle.
fn harmonica(dir: &Path, words: &[&str]) -> Output {
    let bundle = bundle().display().to_string();
    let words = words.iter().map(|word| word.replace("{bundle}", &bundle));
    Command::new(env!("CARGO_BIN_EXE_harmonica")).current_dir(dir).args(words).output().unwrap()
}

/// What a command with `--json` prints, which is one JSON value and nothing else.
fn json(dir: &Path, words: &[&str], code: i32) -> Value {
    let output = harmonica(dir, &[words, &["--json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    if code != 0 {
        assert_eq!(value["exit_code"], code, "{words:?}");
        let error = value["error"].as_str().unwrap();
        assert!(!error.is_empty() && said.contains(error.lines().next().unwrap()), "{error}\n{said}");
    }
    value
}

const SPEAK: [&str; 5] = ["synthesize", "--model", "{bundle}", "--text", "open the red box"];

#[test]
fn every_failure_is_one_object_with_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("foreign.json"), "{}").unwrap();
    let usage: [&[&str]; 7] = [
        &[],
        &["nothing"],
        &["inspect"],
        &["replay"],
        &["synthesize", "--outptu", "x.wav"],
        &["synthesize", "--model", "{bundle}", "--text", "hi", "--seed", "x"],
        &["synthesize", "--model", "{bundle}", "--text", "hi", "--device", "gpu"],
    ];
    let work: [&[&str]; 10] = [
        &["inspect", "gone"],
        &["replay", "gone.json"],
        &["replay", "foreign.json"],
        &["replay", "foreign.json", "--output", "-"],
        &["synthesize", "--model", "gone", "--text", "hi", "--output", "x.wav"],
        &["synthesize", "--model", "{bundle}", "--output", "x.wav"],
        &["synthesize", "--model", "{bundle}", "--text", "hi"],
        &["synthesize", "--model", "{bundle}", "--text", "hi", "--output", "-"],
        &["synthesize", "--model", "{bundle}", "--text", "hi", "--output", "x.wav", "--top-p", "7"],
        &["synthesize", "--model", "{bundle}", "--text", "hi", "--output", "foreign.wav"],
    ];
    for words in usage.iter().chain(&work) {
        json(dir.path(), words, 2);
    }
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["foreign.json"]);
}

#[test]
fn a_wav_is_reproduced_from_the_manifest_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let spoken = json(dir, &[&SPEAK[..], &["--output", "out.wav"]].concat(), 0);
    assert_eq!(spoken["manifest"], "out.json");
    let replay = json(dir, &["replay", "out.json", "--output", "new.wav"], 0);
    assert_eq!((&replay["reproduced"], &replay["wav"]["state"]), (&true.into(), &"same".into()));
    let bytes = |name: &str| std::fs::read(dir.join(name)).unwrap();
    assert_eq!(bytes("out.wav"), bytes("new.wav"));
    assert!(!dir.join("new.json").exists());

    std::fs::write(dir.join("out.wav"), bytes("new.wav").split_last().unwrap().1).unwrap();
    let words = harmonica(dir, &["replay", "out.json"]).stdout;
    let words = String::from_utf8(words).unwrap();
    assert!(words.starts_with("reproduced") && words.contains("`out.wav` holds something else"), "{words}");

    harmonica(dir, &[&SPEAK[..], &["--output", "plain.wav", "--no-manifest"]].concat());
    assert!(dir.join("plain.wav").exists() && !dir.join("plain.json").exists());
}

#[test]
fn speech_that_comes_out_otherwise_is_told_with_exit_code_1() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    json(dir, &[&SPEAK[..], &["--output", "out.wav"]].concat(), 0);
    let mut manifest = ReplayManifest::read(&dir.join("out.json")).unwrap();
    // As if the program had spoken otherwise when it recorded these hashes.
    manifest.request = SynthesisRequest::new("close the door");
    manifest.program = "0.0.0".into();
    let silence = Speech {
        attention: TextAttention::default(),
        waveform: Waveform::new(vec![0.0; 16], 16_000),
        codes: Vec::new(),
        normalized_text: String::new(),
        stop: StopReason::EndOfSpeech,
        warnings: Vec::new(),
    };
    manifest.save(&silence, &dir.join("out.wav")).unwrap();
    let differs = json(dir, &["replay", "out.json", "--output", "new.wav"], 1);
    let what = |list: &str| {
        let list = differs[list].as_array().unwrap().iter();
        list.map(|d| d["what"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (what("differences"), what("surroundings")),
        (vec!["wav".into(), "codes".into()], vec!["program".into()])
    );
    let error = differs["error"].as_str().unwrap();
    assert!(
        error.starts_with("not reproduced: wav: recorded") && error.contains("recorded 0.0.0"),
        "{error}"
    );
    assert_eq!(differs["wav"]["state"], "changed");
    assert!(dir.join("new.wav").exists());
}

#[test]
fn another_bundle_is_refused_with_exit_code_1() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    json(dir, &[&SPEAK[..], &["--output", "out.wav"]].concat(), 0);
    let files = [
        "ar.safetensors",
        "nar.safetensors",
        "codec/codec.json",
        "codec/codec.safetensors",
        "codec/manifest.json",
    ];
    std::fs::create_dir_all(dir.join("other/codec")).unwrap();
    for file in files {
        std::fs::copy(bundle().join(file), dir.join("other").join(file)).unwrap();
    }
    // The same bundle in another spelling is another bundle.
    let manifest = std::fs::read_to_string(bundle().join("bundle.json")).unwrap();
    std::fs::write(dir.join("other/bundle.json"), manifest + "\n").unwrap();
    harmonica_storage::seal(&dir.join("other"), &[&files[..], &["bundle.json"]].concat()).unwrap();
    let refused = json(dir, &["replay", "out.json", "--model", "other"], 1);
    assert!(refused["error"].as_str().unwrap().contains("fingerprint"), "{refused}");
}

#[test]
fn a_batch_tells_all_problems_before_it_speaks() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let lines = r#"{"id": "one", "text": "open the red box"}
no json
{"id": "one", "text": "close the door"}

{"id": "two", "text": "?", "voice": "nobody"}
{"id": "../three", "text": "close the door"}
{"id": "foreign", "text": "close the door"}
"#;
    std::fs::write(dir.join("lines.jsonl"), lines).unwrap();
    std::fs::create_dir(dir.join("out")).unwrap();
    std::fs::write(dir.join("out/foreign.json"), "[]").unwrap();
    let batch = ["synthesize", "--model", "{bundle}", "--batch", "lines.jsonl", "--output-dir", "out"];
    let failed = json(dir, &batch, 2);
    let lines: Vec<u64> =
        failed["problems"].as_array().unwrap().iter().map(|p| p["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [2, 3, 5, 5, 6, 7]);
    let error = failed["error"].as_str().unwrap();
    assert!(
        error.starts_with("5 of 6 lines cannot be spoken") && error.contains("`lines.jsonl` line 7"),
        "{error}"
    );
    assert_eq!(std::fs::read_dir(dir.join("out")).unwrap().count(), 1);
}

#[test]
fn a_line_that_fails_costs_no_other_line() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let line = |id: &str| format!("{{\"id\": \"{id}\", \"text\": \"close the door\"}}\n");
    std::fs::write(dir.join("lines.jsonl"), ["one", "two", "three"].map(line).concat()).unwrap();
    // A wav that cannot be written, which nobody knows before.
    std::fs::create_dir_all(dir.join("out/two.wav")).unwrap();
    let batch = ["synthesize", "--model", "{bundle}", "--batch", "lines.jsonl", "--output-dir", "out"];
    let failed = json(dir, &batch, 2);
    assert_eq!(failed["problems"][0]["line"], 2);
    let spoken: Vec<&str> =
        failed["spoken"].as_array().unwrap().iter().map(|s| s["path"].as_str().unwrap()).collect();
    assert_eq!(spoken, ["out/one.wav", "out/three.wav"]);
    std::fs::remove_dir(dir.join("out/two.wav")).unwrap();
    assert_eq!(json(dir, &batch, 0).as_array().unwrap().len(), 3);
    for id in ["one", "two", "three"] {
        assert_eq!(harmonica(dir, &["replay", &format!("out/{id}.json")]).status.code(), Some(0));
    }
}
