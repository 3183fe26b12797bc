//! A bundle from a bundle: its models stay byte for byte, what it says of itself changes.

use crate::program::lab;
use serde_json::Value;
use std::path::Path;

/// A JSON file.
fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_bundle_takes_an_evaluation_of_itself_and_other_decode_settings() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo-bundle");
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let suite = r#"{"id": "one", "text": "open the red box", "speaker": "slt"}"#;
    std::fs::write(at("suite.jsonl"), suite).unwrap();
    let ends_with = |code: i32, arguments: &[&str]| {
        let (ended_with, value, said) = lab(dir.path(), arguments);
        assert_eq!(ended_with, Some(code), "{arguments:?}: {said}");
        value
    };
    let from = committed.to_str().unwrap();
    let evaluate = [
        "evaluate",
        "--bundle",
        from,
        "--suite",
        "suite.jsonl",
        "--system",
        "generated, expected",
        "--output",
    ];
    let greedy = ["greedy", "--set", "decode.ar.temperature=0", "--set", "decode.best_of=1"];
    let (code, _, said) = lab(dir.path(), &[&evaluate[..], &["own"]].concat());
    assert!(code == Some(0) && said.contains("device cpu"), "{said}");
    assert!(!said.contains('\u{1b}'), "colours are for terminals: {said:?}");
    ends_with(0, &[&evaluate[..], &greedy].concat());

    let take = |evaluation| ["bundle", "--from", from, "--output", "judged", "--evaluation", evaluation];
    let refused = ends_with(1, &take("greedy/eval.json"));
    assert!(refused["error"].as_str().unwrap().contains("other decode settings"), "{refused}");
    assert!(!at("judged").exists());
    ends_with(0, &take("own/eval.json"));
    for file in ["ar.safetensors", "nar.safetensors", "codec/codec.safetensors"] {
        let bytes = |bundle: &Path| std::fs::read(bundle.join(file)).unwrap();
        assert!(bytes(&committed) == bytes(&at("judged")), "{file}");
    }
    let (before, after) = (json(&committed.join("bundle.json")), json(&at("judged/bundle.json")));
    assert_eq!(after["evaluation"]["systems"][0]["n_utterances"], 1);
    assert_eq!(after["decode"], json(&at("own/eval.json"))["decode"]);
    for same in
        ["ar", "nar", "ar_contract", "nar_contract", "vocab", "voices", "known_words", "updates", "config"]
    {
        assert_eq!(before[same], after[same], "{same}");
    }

    // In its own place, with the settings of the other evaluation: what was found with those of before is gone.
    let other = &json(&at("greedy/eval.json"))["decode"];
    std::fs::write(at("decode.json"), other.to_string()).unwrap();
    ends_with(0, &["bundle", "--from", "judged", "--output", "judged", "--decode", "decode.json"]);
    let changed = json(&at("judged/bundle.json"));
    assert_eq!(&changed["decode"], other);
    assert!(changed["evaluation"].is_null(), "{changed}");
}
