//! The cache refuses to be stale or damaged, and says why.

use harmonica_config_schema::{Conditioning, ExperimentConfig, LoudnessKind, SplitKind};
use harmonica_data::{CacheFingerprint, Manifest, TokenCache};
use harmonica_tests::{Fixture, record};
use harmonica_text::Vocab;
use std::collections::BTreeSet;

#[test]
fn stale_cache_is_refused_and_names_the_changed_key() {
    let dir = tempfile::tempdir().unwrap();
    let f = Fixture::new(dir.path(), Conditioning::Prefix);
    let manifest =
        Manifest::read(&dir.path().join("corpus"), f.config.data.layout, false).unwrap().fingerprint();
    let wanted = |config: &ExperimentConfig| {
        CacheFingerprint::new(config, f.codec.as_ref(), &Vocab::english(), &manifest).unwrap()
    };
    let path = dir.path().join("cache");
    assert_eq!(&TokenCache::open(&path, Some(&wanted(&f.config))).unwrap(), f.cache.as_ref());
    let mut changed = f.config.clone();
    changed.data.audio.trim_threshold_db = -30.0;
    let error = TokenCache::open(&path, Some(&wanted(&changed))).unwrap_err().to_string();
    assert!(error.contains("audio.trim_threshold_db = -45.0") && error.contains("-30.0"), "{error}");
    assert!(error.contains("--allow-cache-mismatch"), "{error}");
    changed.data.quality.max_duration_s = 3.0;
    let error = TokenCache::open(&path, Some(&wanted(&changed))).unwrap_err().to_string();
    assert!(error.contains("quality.max_duration_s"), "{error}");
}

/// Every setting that decides a cache's bytes, changed alone.
#[test]
fn each_key_of_the_fingerprint_alone_makes_a_cache_stale_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let f = Fixture::new(dir.path(), Conditioning::Prefix);
    let manifest =
        Manifest::read(&dir.path().join("corpus"), f.config.data.layout, false).unwrap().fingerprint();
    let list = dir.path().join("list");
    std::fs::write(&list, "drop u01\n").unwrap();
    let list = list.display().to_string();
    type Change<'a> = Box<dyn Fn(&mut ExperimentConfig) + 'a>;
    let changes: Vec<(&str, Change<'_>)> = vec![
        ("audio.trim", Box::new(|c| c.data.audio.trim = true)),
        ("audio.trim_threshold_db", Box::new(|c| c.data.audio.trim_threshold_db = -30.0)),
        ("audio.trim_keep_s", Box::new(|c| c.data.audio.trim_keep_s = 0.2)),
        ("audio.loudness", Box::new(|c| c.data.audio.loudness = LoudnessKind::Peak)),
        ("audio.loudness_target_db", Box::new(|c| c.data.audio.loudness_target_db = -20.0)),
        ("quality.min_duration_s", Box::new(|c| c.data.quality.min_duration_s = 0.2)),
        ("quality.max_duration_s", Box::new(|c| c.data.quality.max_duration_s = 14.0)),
        ("quality.max_silence_s", Box::new(|c| c.data.quality.max_silence_s = 1.0)),
        ("quality.max_clipped_share", Box::new(|c| c.data.quality.max_clipped_share = 0.01)),
        ("quality.min_snr_db", Box::new(|c| c.data.quality.min_snr_db = 1.0)),
        ("quality.min_chars_per_s", Box::new(|c| c.data.quality.min_chars_per_s = 1.0)),
        ("quality.max_chars_per_s", Box::new(|c| c.data.quality.max_chars_per_s = 40.0)),
        ("quality.max_rate_deviation", Box::new(|c| c.data.quality.max_rate_deviation = 6.0)),
        ("quality.min_voiced_share", Box::new(|c| c.data.quality.min_voiced_share = 0.1)),
        ("quality.min_sample_rate_hz", Box::new(|c| c.data.quality.min_sample_rate_hz = 8000)),
        ("quality.drop_duplicate_audio", Box::new(|c| c.data.quality.drop_duplicate_audio = false)),
        ("quality.max_same_text", Box::new(|c| c.data.quality.max_same_text = 9)),
        ("quality.overrides", Box::new(|c| c.data.quality.overrides.clone_from(&list))),
        ("split.kind", Box::new(|c| c.data.split.kind = SplitKind::Speaker)),
        ("split.valid_share", Box::new(|c| c.data.split.valid_share = 0.1)),
        ("split.test_share", Box::new(|c| c.data.split.test_share = 0.1)),
        ("split.valid_list", Box::new(|c| c.data.split.valid_list.clone_from(&list))),
        ("split.test_list", Box::new(|c| c.data.split.test_list.clone_from(&list))),
        ("model.max_frames", Box::new(|c| c.model.ar.max_frames = 64)),
        ("model.max_text_symbols", Box::new(|c| c.model.nar.max_text_symbols = 64)),
    ];
    let path = dir.path().join("cache");
    let fingerprint = |config: &ExperimentConfig| {
        CacheFingerprint::new(config, f.codec.as_ref(), &Vocab::english(), &manifest).unwrap()
    };
    let mut named: BTreeSet<String> = BTreeSet::new();
    let mut refused = |key: &str, wanted: &CacheFingerprint| {
        let error = TokenCache::open(&path, Some(wanted)).unwrap_err().to_string();
        assert!(error.contains(&format!("{key} = ")) && error.contains("preprocess"), "{key}: {error}");
        assert_eq!(error.matches("it was built with").count(), 1, "{key}: {error}");
        let anyway = TokenCache::open_whatever(&path, wanted).unwrap();
        assert!(anyway.accepted_differences()[0].contains(key));
        named.insert(key.to_owned());
    };
    for (key, change) in changes {
        let mut config = f.config.clone();
        change(&mut config);
        refused(key, &fingerprint(&config));
    }
    // What no setting of the configuration changes: the codec, the text's rules, the corpus.
    for key in
        ["codec.fingerprint", "codec.sample_rate_hz", "text.normalizer", "text.vocabulary", "corpus.manifest"]
    {
        let mut wanted = fingerprint(&f.config);
        wanted.keys.insert(key.into(), "another".into());
        refused(key, &wanted);
    }
    let all: BTreeSet<String> = fingerprint(&f.config).keys.into_keys().collect();
    assert_eq!(named, all, "every key is in the table");
    record("R14", &[("fingerprint keys refused and named", named.len() as f64)]);
}

#[test]
fn flipped_and_missing_bytes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    Fixture::new(dir.path(), Conditioning::Prefix);
    let shard = std::fs::read_dir(dir.path().join("cache/shards")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&shard).unwrap();
    bytes[10] ^= 1;
    std::fs::write(&shard, &bytes).unwrap();
    let open = || TokenCache::open(&dir.path().join("cache"), None).unwrap_err().to_string();
    assert!(open().contains(".shard: expected"), "{}", open());
    std::fs::remove_file(&shard).unwrap();
    assert!(open().contains(".shard: missing"), "{}", open());
}
