//! Every public error names the thing, the values and what to do.
//!
//! The samples below are held against the source: a variant without a sample fails the test.

use harmonica_audio::AudioError;
use harmonica_codec::CodecError;
use harmonica_config_schema::{Fingerprint, ProblemKind};
use harmonica_data::DataError;
use harmonica_eval::EvalError;
use harmonica_inference::InferenceError;
use harmonica_model_core::ModelError;
use harmonica_runtime::RuntimeError;
use harmonica_storage::{HubError, StorageError};
use harmonica_text::TextError;
use harmonica_training::{FileCheck, FileState, TrainingError};
use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;

/// One variant, what it says with its causes, and the values that must be in it.
struct Sample {
    name: String,
    words: String,
    values: &'static [&'static str],
}

/// An error's own words; those of its cause are checked apart.
fn chain(error: &dyn Error) -> String {
    let cause = error.source().map_or_else(String::new, |cause| format!(" ({})", chain(cause)));
    format!("{error}{cause}")
}

macro_rules! samples {
    ($($error:ident :: $variant:ident { $($field:ident : $value:expr),* $(,)? } => [$($named:literal),*]),* $(,)?) => {
        vec![$(Sample {
            name: concat!(stringify!($error), "::", stringify!($variant)).into(),
            words: chain(&$error::$variant { $($field: $value.into()),* }),
            values: &[$($named),*],
        }),*]
    };
}

macro_rules! problems {
    ($($variant:ident { $($field:ident : $value:expr),* $(,)? } => [$($named:literal),*]),* $(,)?) => {
        vec![$(Sample {
            name: concat!("ProblemKind::", stringify!($variant)).into(),
            words: ProblemKind::$variant { $($field: $value),* }.to_string(),
            values: &[$($named),*],
        }),*]
    };
}

fn cause() -> std::io::Error {
    std::io::Error::other("the cause")
}

fn words(of: &[&str]) -> Vec<String> {
    of.iter().map(|word| (*word).to_owned()).collect()
}

fn samples() -> Vec<Sample> {
    let finding = || FileCheck { file: "ema.safetensors".into(), state: FileState::Missing };
    let mut all: Vec<Sample> = samples![
        StorageError::Write { path: "a/b", source: cause() } => ["a/b", "the cause"],
        StorageError::Encode { path: "a/b", reason: "a float" } => ["a/b", "a float"],
        StorageError::NoSpace { path: "a/b", needed_bytes: 77_u64, free_bytes: 55_u64 } => ["a/b", "77", "55"],
        StorageError::Foreign { path: "a/b", kind: "bundle" } => ["a/b", "bundle"],
        AudioError::Read { path: "a.wav", source: cause() } => ["a.wav", "the cause"],
        AudioError::Unsupported { name: "a.opus", reason: "Opus" } => ["a.opus", "Opus"],
        AudioError::Damaged { name: "a.wav", reason: "half a chunk" } => ["a.wav", "half a chunk"],
        AudioError::TooLong { name: "a.wav", max_s: 60.0 } => ["a.wav", "60"],
        AudioError::TooLarge { path: "a.wav", bytes: 77_u64, max_bytes: 55_u64 } => ["a.wav", "77", "55"],
        AudioError::Resample { from_hz: 8000_u32, to_hz: 16_000_u32, reason: "a ratio" } => ["8000", "16000", "a ratio"],
        AudioError::Encode { duration_s: 99_000.0, source: hound::Error::TooWide } => ["99000"],
        TextError::Empty { text: "?!" } => ["?!"],
        TextError::TooLong { symbols: 300_usize, limit: 256_usize } => ["300", "256"],
        TextError::UnknownCharacter { character: 'q' } => ["q"],
        TextError::Vocabulary { reason: "twice an a" } => ["twice an a"],
        CodecError::Read { path: "a/codec", reason: "no file" } => ["a/codec", "no file"],
        CodecError::EnCodecModel { path: "a/encodec", reason: "tensor `x` is missing" } => ["a/encodec", "`x` is missing", "config.json"],
        CodecError::Kind { path: "a/codec", found: "encodec", asked: "mel_rvq" } => ["a/codec", "encodec", "mel_rvq", "codec.kind"],
        CodecError::TooLittleAudio { needed: 1024_usize, found: 7_usize } => ["1024", "7"],
        CodecError::NotNumbers {} => ["samples"],
        CodecError::Tokens { reason: "code 2000 is beyond 1023" } => ["code 2000"],
        RuntimeError::UnknownDevice { name: "tpu" } => ["tpu"],
        RuntimeError::NotCompiled { name: "cuda", feature: "cuda", available: vec!["flex"] } => ["cuda", "flex"],
        DataError::Read { path: "a/b", source: cause() } => ["a/b", "the cause"],
        DataError::Manifest { path: "a/metadata.csv", line: 7_usize, reason: "two columns; write id, text, text" } => ["a/metadata.csv", "7", "two columns"],
        DataError::OutsideCorpus { path: "a.wav", target: "/b.wav" } => ["a.wav", "/b.wav"],
        DataError::NothingKept { corpus: "a/corpus", dropped: 24_usize } => ["a/corpus", "24"],
        DataError::EmptySplit { split: "valid" } => ["valid"],
        DataError::StaleCache { path: "a/cache", differences: words(&["seed 1, 2"]) } => ["a/cache", "seed 1, 2"],
        DataError::NoCache { path: "a/cache" } => ["a/cache"],
        DataError::DamagedCache { path: "a/cache", reason: "codes.bin: missing" } => ["a/cache", "codes.bin"],
        DataError::Table { path: "a.parquet", reason: "no audio", remedy: "name another column" } => ["a.parquet", "no audio"],
        DataError::UnknownUtterance { id: "u7" } => ["u7"],
        DataError::NotBuilt { path: "a/corpus" } => ["a/corpus", "parquet"],
        DataError::Unfinished { path: "a/.bench-cache-1", missing: vec![3_usize, 7], of: 9_usize } => ["a/.bench-cache-1", "2", "9", "3"],
        DataError::DamagedShard { path: "a/000003.shard" } => ["a/000003.shard"],
        EvalError::Read { path: "a/b", source: cause() } => ["a/b", "the cause"],
        EvalError::ChangedSuite { path: "a.jsonl", wanted: Fingerprint::of(&1), found: Fingerprint::of(&2) } => ["a.jsonl"],
        EvalError::Fingerprints { path: "a/fingerprints.json", reason: "EOF at line 1" } => ["a/fingerprints.json", "EOF at line 1"],
        EvalError::FixedSuites { path: "a/suites", differing: words(&["short", "long"]) } => ["a/suites", "short", "long"],
        EvalError::RecognizerModel { path: "a/whisper", reason: "no tokenizer.json; give a directory with one" } => ["a/whisper", "tokenizer.json"],
        EvalError::OnnxModel { path: "a.onnx", reason: "it takes 3 inputs; give a model of one" } => ["a.onnx", "3 inputs"],
        HubError::Name { place: "hf://a/b/c", reason: "too many parts" } => ["hf://a/b/c", "too many parts"],
        HubError::Missing { files: "`x`", repository: "a/b", revision: "main", cache: "a/cache", obstacle: "nothing may be fetched; give their directory" } => ["`x`", "a/b", "main", "a/cache"],
        HubError::Reference { path: "refs/main" } => ["refs/main"],
        EvalError::Suite { path: "a.tsv", line: 7_usize, reason: "no tab" } => ["a.tsv", "7", "no tab"],
        EvalError::Recognizer { command: "hear {wav}", reason: "exit 3" } => ["hear {wav}", "exit 3"],
        EvalError::Embedder { path: "a.safetensors", reason: "no lstm" } => ["a.safetensors", "no lstm"],
        EvalError::Incomparable { differences: words(&["suite a, b"]) } => ["suite a, b"],
        ModelError::ReadWeights { path: "a/b", reason: "no header" } => ["a/b", "no header"],
        ModelError::WeightsMismatch { problems: words(&["head.weight is missing"]) } => ["head.weight"],
        ModelError::ContractViolated { left: "the AR model", right: "the codec", violations: words(&["codec.id is a and b"]) } => ["the AR model", "the codec", "a and b"],
        ModelError::UnknownTerm { name: "focus", known: words(&["entropy"]) } => ["focus", "entropy"],
        ModelError::MissingPrompt {} => ["reference recording"],
        ModelError::NotTrainedToRefine { steps: 4_usize } => ["4"],
        ModelError::TooLong { what: "the text", found: 300_usize, limit: 256_usize } => ["the text", "300", "256"],
        InferenceError::Bundle { path: "a/bundle", reason: "no ar.safetensors" } => ["a/bundle", "no ar.safetensors"],
        InferenceError::DecodeSettings { problems: "decode.best_of: 0 is not allowed; write 1" } => ["decode.best_of", "0", "write 1"],
        InferenceError::Foreign { path: "a.json", reason: "no seal" } => ["a.json", "no seal"],
        InferenceError::Unrecorded { wav: "a.wav", path: "a.json", source: StorageError::Foreign { path: "b".into(), kind: "x" } } => ["a.wav", "a.json", "no x"],
        InferenceError::Replay { path: "a.json", reason: "no seal; speak again" } => ["a.json", "no seal"],
        InferenceError::BundleMoved { path: "a/bundle" } => ["a/bundle"],
        InferenceError::OtherBundle { path: "a/bundle", found: "aa", recorded_path: "b/bundle", recorded: "bb" } => ["a/bundle", "aa", "b/bundle", "bb"],
        InferenceError::VoicesByName { known: words(&["ann", "bob"]) } => ["ann", "bob"],
        InferenceError::NoVoice { path: "a/bundle" } => ["a/bundle"],
        InferenceError::Reference { reason: "it is silent" } => ["it is silent"],
        InferenceError::VoiceName { name: "ann", reason: "it is taken; choose another" } => ["ann", "it is taken"],
        InferenceError::UnknownVoice { voice: "ann", known: words(&["bob"]) } => ["ann", "bob"],
        TrainingError::RunExists { path: "a/run" } => ["a/run"],
        TrainingError::OtherConfig { path: "a/run", found: "aa", wanted: "bb" } => ["a/run", "aa", "bb"],
        TrainingError::Search { path: "a/runs", source: cause() } => ["a/runs", "the cause"],
        TrainingError::Checkpoint { path: "a/step-1", reason: "no optimizer" } => ["a/step-1", "no optimizer"],
        TrainingError::Damaged { path: "a/step-1", findings: vec![finding()] } => ["a/step-1", "ema.safetensors", "missing"],
        TrainingError::NoWholeCheckpoint { path: "a/run", n_checkpoints: 3_usize, newest: Box::new(TrainingError::EmptySplit { split: "x" }) } => ["a/run", "3", "x"],
        TrainingError::RunLocked { path: "a/run", owner: "process 7", host: "there", record: "a/run/owner.json" } => ["a/run", "process 7", "there", "owner.json"],
        TrainingError::Diverged { update: 9_u64, skipped: 4_u64 } => ["9", "4"],
        TrainingError::NotFinite { update: 9_u64, file: "model.safetensors", tensors: words(&["head.weight"]) } => ["9", "model.safetensors", "head.weight"],
        TrainingError::BatchesEnded { update: 9_u64 } => ["9"],
        TrainingError::EmptySplit { split: "train" } => ["train"],
        TrainingError::Ungrouped { parameters: words(&["head.extra"]) } => ["head.extra"],
    ];
    all.extend::<Vec<Sample>>(problems![
        Unreadable { reason: "no file".into() } => ["no file"],
        NotUtf8 {} => ["UTF-8"],
        Syntax { message: "a bracket".into() } => ["a bracket"],
        Duplicate {} => ["twice"],
        Override { reason: "no =".into() } => ["no ="],
        UnknownKey { similar: words(&["seed"]), belongs: words(&["training"]) } => ["seed", "training"],
        OtherKind { tag: "kind".into(), kind: "cosine".into(), belongs: words(&["linear"]) } => ["kind", "cosine", "linear"],
        WrongType { found: "the string \"a\"".into(), expected: "a number".into() } => ["\"a\"", "a number"],
        OutOfRange { value: "7".into(), allowed: "0 to 1 updates".into(), similar: None } => ["7", "0 to 1 updates"],
        Misfit { value: "7".into(), allowed: "at most 3".into(), because: Some("model.x".into()) } => ["7", "at most 3", "model.x"],
        Refused { reason: "missing seed".into() } => ["missing seed"],
    ]);
    all
}

/// Every variant of the public error types, from their source; those that only hand on another error are left out.
fn variants() -> BTreeSet<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let mut variants = BTreeSet::new();
    for entry in std::fs::read_dir(crates).unwrap() {
        for entry in std::fs::read_dir(entry.unwrap().path().join("src")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                variants.extend(variants_of(&std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    variants
}

fn variants_of(source: &str) -> Vec<String> {
    let (mut inside, mut is_transparent) = (None, false);
    let mut found = Vec::new();
    for line in source.lines() {
        if let Some(rest) = line.strip_prefix("pub enum ") {
            let name = rest.trim_end_matches(" {");
            inside = (name.ends_with("Error") || name == "ProblemKind").then(|| name.to_owned());
        } else if line == "}" {
            inside = None;
        } else if line.trim() == "#[error(transparent)]" {
            is_transparent = true;
        } else if let (Some(name), Some(rest)) = (&inside, line.strip_prefix("    "))
            && rest.starts_with(|c: char| c.is_ascii_uppercase())
        {
            let variant: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
            if !is_transparent {
                found.push(format!("{name}::{variant}"));
            }
            is_transparent = false;
        }
    }
    found
}

/// What a remedy begins with.
const REMEDIES: [&str; 47] = [
    "add",
    "build",
    "check",
    "choose",
    "convert",
    "copy",
    "correct",
    "cut",
    "delete",
    "did you mean",
    "drop",
    "encode",
    "evaluate",
    "expected",
    "find",
    "fit",
    "give",
    "go on",
    "keep",
    "leave",
    "load",
    "lower",
    "make",
    "move",
    "name",
    "pass",
    "raise",
    "read",
    "rebuild",
    "replace",
    "registered",
    "remove",
    "restore",
    "resume",
    "retrain",
    "run",
    "save",
    "see",
    "set",
    "shorten",
    "speak",
    "spell",
    "split",
    "take",
    "train",
    "use",
    "write",
];

#[test]
fn every_error_names_the_thing_the_values_and_the_remedy() {
    let samples = samples();
    let named: BTreeSet<String> = samples.iter().map(|sample| sample.name.clone()).collect();
    assert_eq!(named, variants(), "left: samples of this test, right: variants in the source");
    let extra =
        ["it has", "please report", "preprocess a corpus", "wait for it", "what was there", "`harmonica-lab"];
    let mut faults = Vec::new();
    for Sample { name, words, values } in &samples {
        let missing = values.iter().filter(|value| !words.contains(**value));
        faults.extend(missing.map(|value| format!("{name} does not name {value}: {words}")));
        let clauses = words.split([';', ':', ',']).map(str::trim_start);
        let is_remedy = |clause: &str| {
            let clause = clause.strip_prefix("or ").unwrap_or(clause).to_lowercase();
            REMEDIES.iter().chain(&extra).any(|begin| clause.starts_with(begin))
        };
        if !clauses.skip(1).any(is_remedy) {
            faults.push(format!("{name} says not what to do: {words}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    harmonica_tests::record("errors", &[("public error variants", samples.len() as f64)]);
}
