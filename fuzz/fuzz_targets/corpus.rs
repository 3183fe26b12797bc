//! Tables of a corpus: LJSpeech, JSON lines, Common Voice, NeMo, Lhotse, and the index of a packed one.
//!
//! Accepted rows have unique, plain ids and paths inside of the corpus; an unpacked corpus reads back as it was packed.
#![no_main]

use harmonica_config_schema::CorpusLayout;
use harmonica_data::{Manifest, Utterance, packed_metadata, parse_index};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;
use std::path::{Component, Path};

fn check(utterances: &[Utterance]) {
    let ids: BTreeSet<&str> = utterances.iter().map(|u| u.id.as_str()).collect();
    assert_eq!(ids.len(), utterances.len(), "ids are unique");
    for u in utterances {
        assert!(
            !u.id.is_empty() && !u.id.contains(['/', '\\', '\0']) && !u.id.starts_with('.'),
            "{:?}",
            u.id
        );
        assert!(u.audio.components().all(|c| matches!(c, Component::Normal(_))), "{:?}", u.audio);
        assert!(u.audio.file_name().is_some(), "{:?}", u.audio);
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for layout in [
        CorpusLayout::Ljspeech,
        CorpusLayout::Manifest,
        CorpusLayout::CommonVoice,
        CorpusLayout::Nemo,
        CorpusLayout::Lhotse,
    ] {
        if let Ok(manifest) = Manifest::parse(Path::new("corpus"), layout, text) {
            check(&manifest.utterances);
        }
    }
    if let Ok(rows) = parse_index(Path::new("index.tsv"), text) {
        let metadata = packed_metadata(&rows);
        let utterances: Vec<Utterance> = rows.into_iter().map(|row| row.utterance).collect();
        check(&utterances);
        let back = Manifest::parse(Path::new("corpus"), CorpusLayout::Ljspeech, &metadata);
        assert_eq!(back.expect("an unpacked corpus is read").utterances, utterances);
    }
});
