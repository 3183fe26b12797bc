//! Token caches: `fingerprint.json`, `index.json` and the codes of a shard, joined by the separator.
//!
//! An accepted cache never points outside of its tables.
#![no_main]

use harmonica_data::{Split, TokenCache};
use harmonica_fuzz::files;
use harmonica_text::Vocab;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;
use std::path::{Component, Path};

fuzz_target!(|data: &[u8]| {
    let [fingerprint, index, codes] = files::<3>(data);
    // The end of a shard: no table, a hash that only its maker asks for, the mark.
    let shard = [codes, &[0; 40], b"HSHARD01"].concat();
    let Ok(cache) = TokenCache::open_bytes(Path::new("cache"), fingerprint, index, &shard, None) else {
        return;
    };
    let spec = cache.spec();
    let n = cache.utterances().len();
    let mut ids = BTreeSet::new();
    let mut n_codes = 0;
    for (i, u) in cache.utterances().iter().enumerate() {
        let codes = cache.codes(i);
        n_codes += codes.len();
        assert_eq!(codes.len() / spec.n_codebooks, u.n_frames);
        assert!(!codes.is_empty() && codes.iter().all(|c| usize::from(*c) < spec.codebook_size));
        let mut ids_of_text = u.text_ids.iter().map(|id| usize::from(*id));
        assert!(!u.text_ids.is_empty() && ids_of_text.all(|id| id < cache.vocab().len() && id != Vocab::PAD));
        assert!(!cache.speakers()[u.speaker].is_empty() || n > 0);
        assert!(spec.n_frames(u.n_samples) <= u.n_frames);
        assert!(u.audio.components().all(|c| matches!(c, Component::Normal(_))), "{:?}", u.audio);
        assert!(ids.insert(&u.id), "ids are unique");
    }
    let n_shards: usize = cache.utterances().iter().map(|u| u.shard + 1).max().unwrap_or(0);
    assert!(n_codes <= n_shards * (codes.len() / 2), "no code belongs to two utterances");
    let by_split = [Split::Train, Split::Valid, Split::Test].map(|split| cache.split(split).len());
    assert_eq!(by_split.iter().sum::<usize>(), n);
});
