//! A cache is the same bytes whoever makes it: one process or eight, in one sitting or killed again and again, all at once or
//! share by share, from nothing or from an older cache.

use crate::crashes::{assert_same, content};
use harmonica_config_schema::{Conditioning, ExperimentConfig, RandomStream};
use harmonica_data::{DataError, Effort, Manifest, Preprocessor, ShardShare, TokenCache};
use harmonica_tests::{Fixture, record, speech};
use harmonica_text::{TextTokenizer, Vocab};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

const FIXTURE: &str = "HARMONICA_TEST_PREPROCESS_FIXTURE";
const CACHE: &str = "HARMONICA_TEST_PREPROCESS_CACHE";
/// Kills at random moments; releases try more by `HARMONICA_N_KILLS`.
const N_KILLS: u64 = 4;
/// Small ones, so that there are many.
const ROWS_A_SHARD: usize = 2;

/// Not a test by itself: a process that makes a cache. Without the variables that name its work it does nothing.
#[test]
fn preprocess_worker() {
    let (Some(fixture), Some(cache)) = (std::env::var_os(FIXTURE), std::env::var_os(CACHE)) else { return };
    let (fixture, cache) = (Path::new(&fixture), Path::new(&cache));
    let effort = make(fixture, cache);
    let name = format!("effort-{}", std::process::id());
    std::fs::write(cache.parent().unwrap().join(name), serde_json::to_string(&effort).unwrap()).unwrap();
}

fn config(fixture: &Path) -> ExperimentConfig {
    let mut config = Fixture::open(fixture, Conditioning::Cross).config;
    config.data.shard_rows = ROWS_A_SHARD;
    config
}

fn with_work<T>(fixture: &Path, work: impl FnOnce(&Preprocessor<'_>) -> T) -> T {
    let config = config(fixture);
    let codec = harmonica_codec::open(&fixture.join("codec")).unwrap();
    let manifest = Manifest::of(&config.data).unwrap();
    let tokenizer = TextTokenizer::new(Vocab::english());
    work(&Preprocessor::new(&manifest, &config, codec.as_ref(), &tokenizer))
}

fn make(fixture: &Path, cache: &Path) -> Effort {
    with_work(fixture, |work| work.make(cache, |_| ()).unwrap().effort)
}

fn spawn(fixture: &Path, cache: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "preprocessing::preprocess_worker", "--quiet"]);
    command.env(FIXTURE, fixture).env(CACHE, cache).env("RAYON_NUM_THREADS", "1");
    command.stdout(Stdio::null()).spawn().unwrap()
}

/// A corpus with its codec, and the cache that one process makes of it in one sitting.
fn fixture() -> (tempfile::TempDir, PathBuf, BTreeMap<String, Vec<u8>>) {
    let dir = tempfile::tempdir().unwrap();
    Fixture::new(dir.path(), Conditioning::Cross);
    let cache = dir.path().join("whole/cache");
    make(dir.path(), &cache);
    let wanted = content(&cache);
    let fixture = dir.path().to_owned();
    (dir, fixture, wanted)
}

/// Bytes of what is not finished below a directory.
fn scratch_bytes(dir: &Path) -> u64 {
    let files = content(dir);
    let is_scratch = |name: &str| name.split('/').any(|part| part.starts_with(".staging-"));
    // A directory that is being put together holds second names of finished shards, which take no room.
    let is_linked = |name: &str| name.contains("/shards/");
    let bytes =
        files.iter().filter(|(name, _)| is_scratch(name) && !is_linked(name)).map(|(_, b)| b.len() as u64);
    bytes.sum()
}

#[test]
fn a_cache_that_was_killed_again_and_again_is_the_same_bytes() {
    let (_dir, fixture, wanted) = fixture();
    let n_kills = std::env::var("HARMONICA_N_KILLS").map_or(N_KILLS, |n| n.parse().unwrap());
    let bytes = |of_shards: bool| {
        let files = wanted.iter().filter(move |(name, _)| name.starts_with("shards/") == of_shards);
        files.map(|(_, bytes)| bytes.len() as u64)
    };
    // One shard that is being written, or the tables of a cache that is being put together.
    let most_allowed = bytes(true).max().unwrap().max(bytes(false).sum());
    let whole = {
        let start = Instant::now();
        assert!(spawn(&fixture, &fixture.join("timed/cache")).wait().unwrap().success());
        start.elapsed()
    };
    let (mut kills, mut caches, mut most_scratch, mut n_spawned) = (0, 0, 0, 0);
    while kills < n_kills {
        let root = fixture.join(format!("killed-{caches}"));
        std::fs::create_dir_all(&root).unwrap();
        let cache = root.join("cache");
        loop {
            let mut child = spawn(&fixture, &cache);
            n_spawned += 1;
            std::thread::sleep(whole.mul_f64(RandomStream::new(5, "kill", &[n_spawned]).uniform()));
            if kills < n_kills && child.try_wait().unwrap().is_none() {
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
                most_scratch = most_scratch.max(scratch_bytes(&root));
                // What stands under its name is whole, at any moment.
                assert!(!cache.exists() || TokenCache::open(&cache, None).is_ok());
                continue;
            }
            assert!(child.wait().unwrap().success());
            break;
        }
        assert_same(&content(&cache), &wanted, &format!("cache {caches} after {kills} kills"));
        let left: Vec<_> = std::fs::read_dir(&root).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
        std::fs::remove_dir_all(&root).unwrap();
        caches += 1;
    }
    assert!(most_scratch <= most_allowed, "{most_scratch} bytes of scratch, {most_allowed} are allowed");
    record(
        "R5",
        &[
            ("preprocessing kills", kills as f64),
            ("caches compared", f64::from(caches)),
            ("most scratch bytes", most_scratch as f64),
            ("most scratch bytes allowed", most_allowed as f64),
        ],
    );
}

#[test]
fn eight_processes_make_one_cache_and_no_shard_twice() {
    let (_dir, fixture, wanted) = fixture();
    let root = fixture.join("eight");
    std::fs::create_dir_all(&root).unwrap();
    let cache = root.join("cache");
    let children: Vec<Child> = (0..8).map(|_| spawn(&fixture, &cache)).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_same(&content(&cache), &wanted, "eight processes");
    let mut made = 0;
    let mut efforts = 0;
    for entry in std::fs::read_dir(&root).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("effort-") {
            let effort: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            made += effort["shards_made"].as_u64().unwrap();
            efforts += 1;
        }
    }
    let n_shards = wanted.keys().filter(|name| name.starts_with("shards/")).count() as u64;
    // Those that came late found the cache finished.
    assert_eq!((efforts, made), (8, n_shards));
    record(
        "R9",
        &[("processes on one cache", 8.0), ("shards made", made as f64), ("shards", n_shards as f64)],
    );
}

#[test]
fn shares_of_many_machines_make_the_same_cache_and_a_missing_one_is_named() {
    let (_dir, fixture, wanted) = fixture();
    let cache = fixture.join("shares/cache");
    with_work(&fixture, |work| {
        for index in [2, 0] {
            work.run(&cache, ShardShare { index, of: 3 }, |_| ()).unwrap();
        }
        let error = work.finish(&cache).unwrap_err();
        assert!(matches!(&error, DataError::Unfinished { missing, .. } if missing[0] == 1), "{error}");
        let effort = work.run(&cache, ShardShare { index: 1, of: 3 }, |_| ()).unwrap();
        assert!(effort.rows_decoded > 0 && effort.rows_decoded < effort.rows * 2);
        let done = work.finish(&cache).unwrap();
        assert_eq!(done.report.kept, done.cache.utterances().len());
        assert!(work.current(&cache).unwrap().is_some());
    });
    assert_same(&content(&cache), &wanted, "three shares");
}

#[test]
fn only_what_changed_is_encoded_again_and_the_result_is_that_of_a_fresh_start() {
    let (_dir, fixture, _) = fixture();
    let cache = fixture.join("old/cache");
    let first = make(&fixture, &cache);
    assert_eq!((first.rows_reused, first.rows_decoded), (0, first.rows));
    // Another recording of one utterance, and a new utterance in the middle.
    let corpus = fixture.join("corpus");
    harmonica_audio::save(&corpus.join("wavs/u03.wav"), &speech("fedcba", 1)).unwrap();
    harmonica_audio::save(&corpus.join("wavs/new.wav"), &speech("bbbaaa", 0)).unwrap();
    let rows = std::fs::read_to_string(corpus.join("metadata.csv")).unwrap();
    let mut rows: Vec<String> = rows.lines().map(str::to_owned).collect();
    rows.insert(5, "new|bbbaaa|bbbaaa|voice0|train".into());
    std::fs::write(corpus.join("metadata.csv"), rows.join("\n")).unwrap();
    let second = make(&fixture, &cache);
    assert_eq!((second.rows_decoded, second.rows_reused), (2, first.rows - 1));
    let fresh = fixture.join("fresh/cache");
    make(&fixture, &fresh);
    assert_same(&content(&cache), &content(&fresh), "from an older cache");
    with_work(&fixture, |work| assert!(work.current(&cache).unwrap().is_some()));
    harmonica_audio::save(&corpus.join("wavs/u03.wav"), &speech("aaaaaa", 1)).unwrap();
    with_work(&fixture, |work| {
        assert!(work.current(&cache).unwrap().is_none(), "audio changed under the same row")
    });
}
