//! Every command as programs call it: a failure is one object on stdout, with the exit code of the process.

use crate::program::lab;
use serde_json::Value;
use std::path::Path;

/// Runs a command with `--json` that must fail, and gives the one JSON value that it prints.
fn failure(dir: &Path, line: &str, code: i32) -> Value {
    let (ended_with, value, said) = lab(dir, &line.split_whitespace().collect::<Vec<_>>());
    assert_eq!(ended_with, Some(code), "{line}: {said}");
    assert_eq!(value["exit_code"], code, "{line}");
    let error = value["error"].as_str().unwrap_or_else(|| panic!("{line}: {value}"));
    assert!(!error.is_empty() && said.contains(error.lines().next().unwrap()), "{line}: {error}\n{said}");
    value
}

#[test]
fn a_mistake_on_the_command_line_is_one_object() {
    let dir = tempfile::tempdir().unwrap();
    for line in [
        "nothing",
        "codec",
        "codec info",
        "codec info --codce x",
        "bundle --from x --ar y --output z",
        "bundle --ar y --output z",
        "train --model bar --run-dir x",
        "train --model ar --run-dir x --device gpu",
        "checkpoint verify",
        "config show --config",
        "evaluate --ar x --suite x --output x",
    ] {
        failure(dir.path(), line, 2);
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn what_is_not_there_is_one_object_with_every_command() {
    let dir = tempfile::tempdir().unwrap();
    for line in [
        "config diff gone.toml gone.toml",
        "codec fit --corpus gone --output x",
        "codec info --codec gone",
        "codec encode --codec gone in.wav out.safetensors",
        "codec decode --codec gone in.safetensors out.wav",
        "data unpack --packed gone --corpus x",
        "data check --corpus gone",
        "preprocess",
        "train --model ar --run-dir x",
        "bundle --ar gone --nar gone --codec gone --output x",
        "bundle --from gone --output x",
        "evaluate --bundle gone --suite gone --output x",
        "evaluate --suite gone --output x",
        "judge gone.tsv",
        "diagnose gone.safetensors",
        "report gone",
        "checkpoint inspect gone",
        "checkpoint export gone --output x",
        "checkpoint average gone --output x",
        "checkpoint seal gone",
    ] {
        failure(dir.path(), line, 2);
    }
}

#[test]
fn what_was_found_wanting_stands_beside_the_message() {
    let dir = tempfile::tempdir().unwrap();
    for line in ["config check --set nothing=1", "config show --set nothing=1"] {
        let failed = failure(dir.path(), line, 2);
        assert_eq!(failed["problems"].as_array().unwrap().len(), 1, "{failed}");
    }
    let refused = failure(dir.path(), "checkpoint verify gone", 1);
    assert_eq!(refused["checkpoints"][0]["whole"], false, "{refused}");
}
