//! A bundle from a bundle: its models stay byte for byte, what it says of itself changes.

use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// What a command prints as JSON, and its exit code.
fn lab(arguments: &[&str]) -> (i32, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harmonica-lab"));
    let output = command.args(arguments).arg("--json").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{arguments:?}: {e}\n{said}"));
    (output.status.code().unwrap(), value)
}

fn description(bundle: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(bundle.join("bundle.json")).unwrap()).unwrap()
}

#[test]
fn a_bundle_takes_an_evaluation_of_itself_and_other_decode_settings() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo-bundle");
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(
        at("suite.jsonl"),
        "{\"id\": \"one\", \"text\": \"open the red box\", \"speaker\": \"slt\"}\n",
    )
    .unwrap();
    let evaluate = |output: &str, settings: &[&str]| {
        let bundle = committed.to_str().unwrap();
        let (suite, output) = (at("suite.jsonl"), at(output));
        let always = [
            "evaluate",
            "--bundle",
            bundle,
            "--suite",
            &suite,
            "--output",
            &output,
            "--system",
            "generated, expected",
        ];
        let (code, value) = lab(&[&always, settings].concat());
        assert_eq!(code, 0, "{value}");
    };
    evaluate("own", &[]);
    evaluate("greedy", &["--set", "decode.ar.temperature=0", "--set", "decode.best_of=1"]);

    let (from, judged) = (committed.to_str().unwrap(), at("judged"));
    let (own, greedy) = (at("own/eval.json"), at("greedy/eval.json"));
    let (code, refused) = lab(&["bundle", "--from", from, "--output", &judged, "--evaluation", &greedy]);
    assert!(code == 1 && refused["error"].as_str().unwrap().contains("other decode settings"), "{refused}");
    assert!(!Path::new(&judged).exists());
    assert_eq!(lab(&["bundle", "--from", from, "--output", &judged, "--evaluation", &own]).0, 0);
    for file in ["ar.safetensors", "nar.safetensors", "codec/codec.safetensors"] {
        let bytes = |bundle: &Path| std::fs::read(bundle.join(file)).unwrap();
        assert!(bytes(&committed) == bytes(Path::new(&judged)), "{file}");
    }
    let (before, after) = (description(&committed), description(Path::new(&judged)));
    assert_eq!(after["evaluation"]["systems"][0]["n_utterances"], 1);
    for same in
        ["ar", "nar", "ar_contract", "nar_contract", "vocab", "voices", "known_words", "updates", "config"]
    {
        assert_eq!(before[same], after[same], "{same}");
    }

    let record = |path: &str| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    assert_eq!(after["decode"], record(&own)["decode"]);

    // In its own place, with the settings of the other evaluation: what was found with those of before is gone.
    let other = &record(&greedy)["decode"];
    std::fs::write(at("decode.json"), other.to_string()).unwrap();
    let decode = at("decode.json");
    assert_eq!(lab(&["bundle", "--from", &judged, "--output", &judged, "--decode", &decode]).0, 0);
    let changed = description(Path::new(&judged));
    assert_eq!(&changed["decode"], other);
    assert!(changed["evaluation"].is_null(), "{changed}");
}
