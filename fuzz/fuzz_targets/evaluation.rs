//! Suites of sentences, tables of recordings, and word errors between any two texts.
//!
//! Accepted sentences have unique, plain ids; edits lie between the difference of the lengths and the longer length.
#![no_main]

use harmonica_eval::{EvalSuite, character_errors, parse_recordings, word_errors};
use harmonica_fuzz::files;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;
use std::path::Path;

fuzz_target!(|data: &[u8]| {
    let [table, other] = files::<2>(data);
    let (table, other) = (String::from_utf8_lossy(table), String::from_utf8_lossy(other));
    if let Ok(suite) = EvalSuite::parse(Path::new("suite.jsonl"), &table) {
        let ids: BTreeSet<&str> = suite.sentences.iter().map(|s| s.id.as_str()).collect();
        assert!(!ids.is_empty() && ids.len() == suite.sentences.len(), "ids are unique");
        assert!(
            ids.iter().all(|id| !id.is_empty() && !id.contains(['/', '\\', '\0']) && !id.starts_with('.'))
        );
        let json: Vec<String> = suite
            .sentences
            .iter()
            .map(|s| serde_json::to_string(s).expect("a sentence is written"))
            .collect();
        let again =
            EvalSuite::parse(Path::new("suite.jsonl"), &json.join("\n")).expect("a suite is read back");
        assert_eq!((again.fingerprint(), &again), (suite.fingerprint(), &suite));
    }
    if let Ok(recordings) = parse_recordings(Path::new("recordings.tsv"), &table) {
        for r in &recordings {
            assert!(!r.audio.trim().is_empty() && !r.text.trim().is_empty(), "{r:?}");
        }
    }
    if table.len() + other.len() < 600 {
        for errors in [word_errors, character_errors] {
            let ((edits, n), (back, m)) = (errors(&table, &other), errors(&other, &table));
            assert!(edits.total() >= n.abs_diff(m) && edits.total() <= n.max(m));
            assert_eq!(n + edits.insertions, m + edits.deletions);
            assert_eq!(edits.total(), back.total(), "a distance is symmetric");
            assert_eq!(errors(&table, &table).0.total(), 0);
        }
    }
});
