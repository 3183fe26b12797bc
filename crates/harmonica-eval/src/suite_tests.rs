//! The committed suites: each parses, says what its name promises, and is the one that was committed.

use crate::EvalSuite;
use crate::word_errors::words;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn suites() -> Vec<EvalSuite> {
    let entries = std::fs::read_dir(root().join("configs/suites")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "jsonl"));
    paths.sort();
    // Without the check of `read`, so that a changed suite is told with what to do about it.
    let parse = |p: &PathBuf| EvalSuite::parse(p, &std::fs::read_to_string(p).unwrap()).unwrap();
    paths.iter().map(parse).collect()
}

#[test]
fn committed_suites_are_the_ones_that_were_fingerprinted() {
    let found: BTreeMap<String, String> =
        suites().iter().map(|s| (s.name.clone(), s.fingerprint().as_str().to_owned())).collect();
    let text = std::fs::read_to_string(root().join("configs/suites/fingerprints.json")).unwrap();
    let committed: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
    assert_eq!(
        found, committed,
        "a suite changed: its figures are not comparable with older ones. Give it another name, or, if that is meant, write \
         the fingerprints on the left into configs/suites/fingerprints.json"
    );
}

#[test]
fn a_changed_suite_has_another_fingerprint() {
    for suite in suites() {
        let mut changed = suite.clone();
        changed.sentences[0].text.push('.');
        let mut shorter = suite.clone();
        shorter.sentences.pop();
        assert!(changed.fingerprint() != suite.fingerprint() && shorter.fingerprint() != suite.fingerprint());
    }
}

#[test]
fn sentences_of_all_suites_are_twenty_each_and_occur_once() {
    let all = suites();
    assert_eq!(all.len(), 10);
    let mut ids = BTreeSet::new();
    let mut texts = BTreeSet::new();
    for suite in &all {
        assert_eq!(suite.sentences.len(), 20, "{}", suite.name);
        for sentence in &suite.sentences {
            assert!(ids.insert(sentence.id.clone()), "{} occurs twice", sentence.id);
            assert!(texts.insert(sentence.text.clone()), "{:?} occurs twice", sentence.text);
            assert!(sentence.id.starts_with(&suite.name), "{}", sentence.id);
        }
    }
}

#[test]
fn suites_of_the_demo_use_its_words_and_no_sentence_that_it_trains_on() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let known = read("assets/demo-corpus/words.txt");
    let known: BTreeSet<&str> = known.split_whitespace().collect();
    let index = read("assets/demo-corpus/index.tsv");
    let spoken: BTreeSet<&str> = index
        .lines()
        .filter(|line| line.split('\t').nth(1) == Some("train"))
        .filter_map(|line| line.split('\t').next_back())
        .collect();
    assert!(spoken.len() > 1000);
    for suite in suites().iter().filter(|s| s.name.starts_with("demo-")) {
        for sentence in &suite.sentences {
            let unknown: Vec<String> =
                words(&sentence.text).into_iter().filter(|w| !known.contains(w.as_str())).collect();
            assert!(unknown.is_empty(), "{}: {unknown:?}", sentence.id);
            assert!(!spoken.contains(sentence.text.as_str()), "{} is trained on", sentence.id);
        }
    }
}
