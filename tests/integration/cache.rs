//! The cache refuses to be stale or damaged, and says why.

use harmonica_config_schema::{Conditioning, ExperimentConfig};
use harmonica_data::{CacheFingerprint, Manifest, TokenCache};
use harmonica_tests::Fixture;
use harmonica_text::Vocab;

#[test]
fn stale_cache_is_refused_and_names_the_changed_key() {
    let dir = tempfile::tempdir().unwrap();
    let f = Fixture::new(dir.path(), Conditioning::Prefix);
    let manifest = Manifest::read(&dir.path().join("corpus"), f.config.data.layout).unwrap().fingerprint();
    let wanted = |config: &ExperimentConfig| {
        CacheFingerprint::new(config, f.codec.as_ref(), &Vocab::english(), &manifest)
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

#[test]
fn flipped_and_missing_bytes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let f = Fixture::new(dir.path(), Conditioning::Prefix);
    let path = dir.path().join("cache/codes.bin");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[10] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let open = || TokenCache::open(&dir.path().join("cache"), None).unwrap_err().to_string();
    assert!(open().contains("codes.bin: expected"), "{}", open());
    std::fs::remove_file(&path).unwrap();
    assert!(open().contains("codes.bin"), "{}", open());
    assert!(f.cache.utterances().iter().all(|u| u.n_frames > 0));
}
