//! Flipped bytes and lost ends of sealed directories: each is found, and the error names the file and what to do.

use crate::bundle::parts;
use crate::resume::{ONE_AT_A_TIME, task_nar, train};
use crate::voices::prompt_bundle;
use harmonica_config_schema::{Conditioning, RandomStream};
use harmonica_data::TokenCache;
use harmonica_inference::{Bundle, SynthesizerBuilder};
use harmonica_tests::{Fixture, record, speech};
use harmonica_training::Checkpoint;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Damages of each kind of directory; releases try more by `HARMONICA_N_DAMAGED`.
const N_DAMAGED: u64 = 400;

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// Damages a directory again and again; `open` must refuse each time, with a remedy of this kind of directory.
fn damage(kind: &str, dir: &Path, remedies: &[&str], open: impl Fn() -> Result<(), String>) -> u64 {
    open().unwrap();
    // An empty file has no byte to change and no end to lose.
    let files: Vec<PathBuf> =
        files(dir).into_iter().filter(|path| path.metadata().unwrap().len() > 0).collect();
    let n = std::env::var("HARMONICA_N_DAMAGED").map_or(N_DAMAGED, |n| n.parse().unwrap());
    for i in 0..n {
        let mut stream = RandomStream::new(1, kind, &[i]);
        // Every file in turn: the small ones are as important as the large ones.
        let path = &files[i as usize % files.len()];
        let whole = std::fs::read(path).unwrap();
        let mut bytes = whole.clone();
        let at = stream.below(bytes.len());
        if stream.below(4) == 0 {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 + stream.below(255) as u8;
        }
        std::fs::write(path, &bytes).unwrap();
        let opened = catch_unwind(AssertUnwindSafe(&open));
        std::fs::write(path, whole).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let words = opened.expect("damage is no reason to panic").expect_err("damage was not found");
        assert!(words.contains(name), "{kind} {i}: {name} is not in {words}");
        assert!(remedies.iter().any(|remedy| words.contains(remedy)), "{kind} {i}: no remedy in {words}");
    }
    open().unwrap();
    n
}

#[test]
fn every_flipped_byte_and_every_lost_end_is_found_and_named() {
    let _alone = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().unwrap();
    let f = Fixture::new(dir.path(), Conditioning::Cross);
    let run = dir.path().join("run");
    train(&f, task_nar(&f), &run, 2);
    let checkpoint = run.join(std::fs::read_to_string(run.join("LATEST")).unwrap().trim());
    let bundle = dir.path().join("bundle");
    Bundle::write(&parts(&f, dir.path()), &bundle).unwrap();
    let voiced = prompt_bundle(&dir.path().join("voiced"));
    let synthesizer = SynthesizerBuilder::new(&voiced).open().unwrap();
    let reference = synthesizer.reference(&speech("abcdef", 0), Some("abc def")).unwrap().reference;
    Bundle::enroll(&voiced, "ann", &reference).unwrap();
    let (cache, codec) = (dir.path().join("cache"), dir.path().join("codec"));
    let n = damage("checkpoint", &checkpoint, &["take another checkpoint"], || {
        Checkpoint::open(&checkpoint).map(|_| ()).map_err(|e| e.to_string())
    }) + damage("cache", &cache, &["rebuild it with `harmonica-lab preprocess`"], || {
        TokenCache::open(&cache, None).map(|_| ()).map_err(|e| e.to_string())
    }) + damage("bundle", &bundle, &["make one with `harmonica-lab bundle`"], || {
        Bundle::open(&bundle).map(|_| ()).map_err(|e| e.to_string())
    }) + damage("voice", &voiced.join("voices"), &["make one with `harmonica-lab bundle`"], || {
        Bundle::open(&voiced).map(|_| ()).map_err(|e| e.to_string())
    }) + damage("codec", &codec, &["fit one with `harmonica-lab codec fit`"], || {
        harmonica_codec::open(&codec).map(|_| ()).map_err(|e| e.to_string())
    });
    record("R2", &[("damaged directories", n as f64), ("found and named", n as f64), ("panics", 0.0)]);
}
