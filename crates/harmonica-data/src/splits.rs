//! Who is on which side: training, validation, test.
//!
//! In: a manifest and [`SplitConfig`]; out: a [`Split`] for each utterance. Invariant: a text, or with `speaker` a speaker, is
//! never on two sides unless the corpus itself names splits so; the draw depends on the text or the speaker alone, so that a
//! corpus may grow without moving what is held out.

use crate::{DataError, Manifest, Split, Utterance};
use harmonica_config_schema::{RandomStream, SplitConfig, SplitKind};
use harmonica_text::normalize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Seed of the splits: a property of the corpus, not of an experiment, so that every run is judged on the same texts.
const SPLIT_SEED: u64 = 0;

/// Splits by the manifest where it names them, else as configured.
///
/// # Errors
/// A list that cannot be read, or that names an utterance which the corpus does not have.
pub(crate) fn assign_splits(manifest: &Manifest, config: &SplitConfig) -> Result<Vec<Split>, DataError> {
    Ok(match config.kind {
        SplitKind::Text => by_key(manifest, config, |utterance| normalize(&utterance.text)),
        SplitKind::Speaker => by_key(manifest, config, |utterance| format!("speaker {}", utterance.speaker)),
        SplitKind::Lists => by_lists(manifest, config)?,
    })
}

fn by_key(manifest: &Manifest, config: &SplitConfig, key: impl Fn(&Utterance) -> String) -> Vec<Split> {
    // A key that is named anywhere takes all its unnamed utterances along; where names differ, the most held-out one.
    let mut named: BTreeMap<String, Split> = BTreeMap::new();
    for utterance in &manifest.utterances {
        if let Some(split) = utterance.split {
            let known = named.entry(key(utterance)).or_insert(split);
            *known = split.max(*known);
        }
    }
    let assign = |utterance: &Utterance| {
        utterance.split.unwrap_or_else(|| {
            let key = key(utterance);
            named.get(&key).copied().unwrap_or_else(|| drawn(&key, config))
        })
    };
    manifest.utterances.iter().map(assign).collect()
}

fn drawn(key: &str, config: &SplitConfig) -> Split {
    let draw = RandomStream::new(SPLIT_SEED, key, &[]).uniform();
    if draw < config.valid_share {
        Split::Valid
    } else if draw < config.valid_share + config.test_share {
        Split::Test
    } else {
        Split::Train
    }
}

fn by_lists(manifest: &Manifest, config: &SplitConfig) -> Result<Vec<Split>, DataError> {
    let ids: BTreeSet<&str> = manifest.utterances.iter().map(|u| u.id.as_str()).collect();
    let mut held: BTreeMap<String, Split> = BTreeMap::new();
    for (path, split) in [(&config.valid_list, Split::Valid), (&config.test_list, Split::Test)] {
        if path.is_empty() {
            continue;
        }
        let path = Path::new(path);
        let text = std::fs::read_to_string(path)
            .map_err(|source| DataError::Read { path: path.to_owned(), source })?;
        for (i, id) in text.lines().map(str::trim).enumerate().filter(|(_, id)| !id.is_empty()) {
            let refuse = |reason: String| DataError::Manifest { path: path.to_owned(), line: i + 1, reason };
            if !ids.contains(id) {
                return Err(refuse(format!("the corpus has no utterance `{id}`; remove the line")));
            }
            if held.insert(id.to_owned(), split).is_some_and(|earlier| earlier != split) {
                return Err(refuse(format!("`{id}` is in both lists; an utterance is on one side only")));
            }
        }
    }
    Ok(manifest.utterances.iter().map(|u| held.get(&u.id).copied().unwrap_or(Split::Train)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(rows: impl Iterator<Item = (String, String, Option<Split>)>) -> Manifest {
        let utterances = rows
            .enumerate()
            .map(|(i, (text, speaker, split))| Utterance {
                id: format!("u{i}"),
                audio: "a.wav".into(),
                text,
                speaker,
                split,
                ..Utterance::default()
            })
            .collect();
        Manifest { utterances, ..Manifest::default() }
    }

    fn shares(kind: SplitKind) -> SplitConfig {
        SplitConfig { kind, valid_share: 0.2, test_share: 0.2, ..SplitConfig::default() }
    }

    fn sides<'a>(
        keys: impl Iterator<Item = &'a str>,
        splits: &[Split],
    ) -> BTreeMap<&'a str, BTreeSet<Split>> {
        let mut sides: BTreeMap<&str, BTreeSet<Split>> = BTreeMap::new();
        for (key, split) in keys.zip(splits) {
            sides.entry(key).or_default().insert(*split);
        }
        sides
    }

    #[test]
    fn a_text_is_never_on_both_sides() {
        let rows = (0..400).map(|i| (format!("text {}", i % 100), "s".to_owned(), None));
        let named = [
            ("Text 7!".to_owned(), "s".to_owned(), Some(Split::Test)),
            ("text seven".to_owned(), "s".to_owned(), Some(Split::Train)),
        ];
        let manifest = manifest(rows.chain(named));
        let splits = assign_splits(&manifest, &shares(SplitKind::Text)).unwrap();
        let sides = sides(manifest.utterances.iter().map(|u| u.text.as_str()).take(400), &splits);
        assert!(sides.values().all(|s| s.len() == 1));
        let held = splits.iter().filter(|s| **s != Split::Train).count();
        assert!((80..240).contains(&held), "{held}");
    }

    #[test]
    fn a_speaker_is_never_on_both_sides() {
        let manifest = manifest((0..900).map(|i| (format!("text {i}"), format!("p{}", i % 90), None)));
        let splits = assign_splits(&manifest, &shares(SplitKind::Speaker)).unwrap();
        let sides = sides(manifest.utterances.iter().map(|u| u.speaker.as_str()), &splits);
        assert!(sides.values().all(|s| s.len() == 1));
        let held = sides.values().filter(|s| !s.contains(&Split::Train)).count();
        assert!((18..54).contains(&held), "{held}");
    }

    #[test]
    fn lists_decide_and_strangers_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let list = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let manifest = manifest((0..4).map(|i| (format!("text {i}"), "s".to_owned(), Some(Split::Test))));
        let config = |valid: &str, test: &str| SplitConfig {
            valid_list: list("valid", valid),
            test_list: list("test", test),
            ..shares(SplitKind::Lists)
        };
        let splits = assign_splits(&manifest, &config("u1\n", "u3\n\n")).unwrap();
        assert_eq!(splits, [Split::Train, Split::Valid, Split::Train, Split::Test]);
        for (valid, test, word) in [("u9\n", "", "no utterance"), ("u1\n", "u1\n", "both lists")] {
            let error = assign_splits(&manifest, &config(valid, test)).unwrap_err().to_string();
            assert!(error.contains("line 1") && error.contains(word), "{error}");
        }
    }
}
