//! Fixed slices of what is held out: short, medium and long utterances, rare symbols, single speakers.
//!
//! In: a [`TokenCache`] and a held-out split; out: [`Slice`]s of its utterances. Who is in a slice is drawn by name, so that
//! neither the order of a manifest nor the seed of an experiment moves it. Invariant: no slice holds a training utterance, and
//! the slices are a function of the held-out utterances and, for rare symbols, of the training texts.

use crate::{CachedUtterance, DataError, Split, TokenCache};
use harmonica_config_schema::{Fingerprint, RandomStream};
use harmonica_storage::is_plain_name;
use std::collections::{BTreeMap, BTreeSet};

/// Seed of the draws: a property of the corpus, as that of the splits.
const SLICE_SEED: u64 = 0;

/// What is never trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldOut {
    /// Judged while training.
    Valid,
    /// Judged once, at the end.
    Test,
}

impl HeldOut {
    /// The split.
    pub fn split(self) -> Split {
        match self {
            Self::Valid => Split::Valid,
            Self::Test => Split::Test,
        }
    }
}

/// How large slices are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SliceSizes {
    /// Most sentences of a slice.
    pub sentences: usize,
    /// Most speakers that have a slice of their own; those with the most held-out utterances.
    pub speakers: usize,
}

/// Some utterances of a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// `short`, `medium`, `long`, `rare-symbols` or `speaker-NAME`; a plain file name.
    pub name: String,
    /// Indices into the cache, in the order of the utterances' names.
    pub utterances: Vec<usize>,
}

/// An utterance, as slices see it.
struct Row<'a> {
    index: usize,
    id: &'a str,
    speaker: &'a str,
    n_samples: usize,
    /// Training utterances that hold its rarest symbol.
    rarest: usize,
    /// Where it stands in the draw.
    draw: f64,
}

fn draw(purpose: &str, name: &str) -> f64 {
    RandomStream::new(SLICE_SEED, &format!("{purpose} {name}"), &[]).uniform()
}

/// Divides what is held out into slices; one that would be empty is left out.
///
/// # Errors
/// A split without utterances.
pub fn slices(cache: &TokenCache, from: HeldOut, sizes: SliceSizes) -> Result<Vec<Slice>, DataError> {
    let rows = rows(cache, from.split());
    if rows.is_empty() {
        return Err(DataError::EmptySplit { split: from.split().name() });
    }
    let mut by_length: Vec<&Row<'_>> = rows.iter().collect();
    by_length.sort_by_key(|row| (row.n_samples, row.id));
    let third = |i: usize| &by_length[i * rows.len() / 3..(i + 1) * rows.len() / 3];
    let mut by_rarity: Vec<&Row<'_>> = rows.iter().collect();
    by_rarity.sort_by(|a, b| a.rarest.cmp(&b.rarest).then(a.draw.total_cmp(&b.draw)).then(a.id.cmp(b.id)));
    by_rarity.truncate(sizes.sentences);
    let mut slices = vec![
        slice("short".into(), balanced(third(0), sizes.sentences)),
        slice("medium".into(), balanced(third(1), sizes.sentences)),
        slice("long".into(), balanced(third(2), sizes.sentences)),
        slice("rare-symbols".into(), by_rarity),
    ];
    let mut speakers: Vec<(&str, Vec<&Row<'_>>)> = by_speaker(&by_length).into_iter().collect();
    // The order of names decides between equals, because the sort is stable.
    speakers.sort_by_key(|(_, rows)| std::cmp::Reverse(rows.len()));
    speakers.truncate(sizes.speakers);
    slices.extend(
        speakers.into_iter().map(|(name, rows)| slice(speaker_slice(name), balanced(&rows, sizes.sentences))),
    );
    slices.retain(|slice| !slice.utterances.is_empty());
    Ok(slices)
}

fn rows(cache: &TokenCache, split: Split) -> Vec<Row<'_>> {
    let symbols = |row: &CachedUtterance| row.text_ids.iter().copied().collect::<BTreeSet<u16>>();
    let mut holders: BTreeMap<u16, usize> = BTreeMap::new();
    for row in cache.utterances().iter().filter(|row| row.split == Split::Train) {
        for id in symbols(row) {
            *holders.entry(id).or_default() += 1;
        }
    }
    let held_out = cache.utterances().iter().enumerate().filter(|(_, row)| row.split == split);
    held_out
        .map(|(index, row)| Row {
            index,
            id: &row.id,
            speaker: &cache.speakers()[row.speaker],
            n_samples: row.n_samples,
            rarest: symbols(row).iter().map(|id| holders.get(id).copied().unwrap_or(0)).min().unwrap_or(0),
            draw: draw("slice", &row.id),
        })
        .collect()
}

fn by_speaker<'a, 'b>(rows: &[&'b Row<'a>]) -> BTreeMap<&'a str, Vec<&'b Row<'a>>> {
    let mut speakers: BTreeMap<&str, Vec<&Row<'_>>> = BTreeMap::new();
    rows.iter().for_each(|row| speakers.entry(row.speaker).or_default().push(row));
    speakers
}

/// At most `n` of the rows, as many of one speaker as of another as far as there are.
fn balanced<'a, 'b>(rows: &[&'b Row<'a>], n: usize) -> Vec<&'b Row<'a>> {
    let mut turns: Vec<(usize, f64, &'b Row<'a>)> = Vec::new();
    for (speaker, mut rows) in by_speaker(rows) {
        rows.sort_by(|a, b| a.draw.total_cmp(&b.draw).then(a.id.cmp(b.id)));
        let place = draw("slice of speaker", speaker);
        turns.extend(rows.into_iter().enumerate().map(|(turn, row)| (turn, place, row)));
    }
    turns.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.id.cmp(b.2.id)));
    turns.into_iter().take(n).map(|(.., row)| row).collect()
}

fn slice(name: String, mut rows: Vec<&Row<'_>>) -> Slice {
    rows.sort_by_key(|row| row.id);
    Slice { name, utterances: rows.into_iter().map(|row| row.index).collect() }
}

/// A file name for a speaker; other names than plain ones get a hash, so that two never share one.
fn speaker_slice(speaker: &str) -> String {
    if is_plain_name(speaker) {
        return format!("speaker-{speaker}");
    }
    let plain: String = speaker.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let hash = Fingerprint::of_bytes(speaker.as_bytes());
    format!("speaker-{}-{}", plain.chars().take(40).collect::<String>(), &hash.as_str()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::cache_of;

    const SIZES: SliceSizes = SliceSizes { sentences: 12, speakers: 2 };

    /// A hundred held-out utterances of three speakers among as many for training; every tenth one has a symbol that training
    /// texts hold less often. `order` names the places that the utterances stand at.
    fn corpus(order: &[usize]) -> TokenCache {
        let rows: Vec<_> = order
            .iter()
            .map(|i| {
                let split = if i % 2 == 0 { Split::Test } else { Split::Train };
                let speaker = [0, 0, 1, 2, 0][i / 2 % 5];
                (speaker, split, vec![0; 2 * (5 + i * 7 % 90)])
            })
            .collect();
        let mut cache = cache_of(2, 8, &rows);
        cache.edit(|(place, utterance)| {
            utterance.id = format!("u{:03}", order[place]);
            utterance.text_ids = if order[place] % 20 < 2 { [2, 3].into() } else { [2].into() };
        });
        cache
    }

    fn named(cache: &TokenCache) -> Vec<(String, Vec<String>)> {
        let name = |i: &usize| cache.utterances()[*i].id.clone();
        let slices = slices(cache, HeldOut::Test, SIZES).unwrap();
        slices.into_iter().map(|s| (s.name, s.utterances.iter().map(name).collect())).collect()
    }

    #[test]
    fn slices_do_not_depend_on_the_order_of_the_corpus() {
        let mut order: Vec<usize> = (0..200).collect();
        let wanted = named(&corpus(&order));
        for seed in 0..20 {
            RandomStream::new(seed, "order", &[]).shuffle(&mut order);
            assert_eq!(named(&corpus(&order)), wanted);
        }
    }

    #[test]
    fn no_slice_holds_a_training_utterance_and_all_have_their_size() {
        let cache = corpus(&(0..200).collect::<Vec<_>>());
        let slices = slices(&cache, HeldOut::Test, SIZES).unwrap();
        let names: Vec<&str> = slices.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["short", "medium", "long", "rare-symbols", "speaker-s0", "speaker-s1"]);
        for slice in &slices {
            assert_eq!(slice.utterances.len(), SIZES.sentences, "{}", slice.name);
            assert!(
                slice.utterances.iter().all(|i| cache.utterances()[*i].split == Split::Test),
                "{}",
                slice.name
            );
        }
    }

    #[test]
    fn slices_are_what_their_names_say() {
        let cache = corpus(&(0..200).collect::<Vec<_>>());
        let slices = slices(&cache, HeldOut::Test, SIZES).unwrap();
        let of = |name: &str| {
            let slice = slices.iter().find(|s| s.name == name).unwrap();
            slice.utterances.iter().map(|i| &cache.utterances()[*i]).collect::<Vec<_>>()
        };
        let longest = |name: &str| of(name).iter().map(|u| u.n_samples).max().unwrap();
        let shortest = |name: &str| of(name).iter().map(|u| u.n_samples).min().unwrap();
        assert!(longest("short") <= shortest("medium") && longest("medium") <= shortest("long"));
        // Ten of the held-out ones have the rare symbol.
        assert_eq!(of("rare-symbols").iter().filter(|u| u.text_ids.contains(&3)).count(), 10);
        assert!(of("speaker-s1").iter().all(|u| u.speaker == 1));
        let mut by_speaker = [0; 3];
        of("medium").iter().for_each(|u| by_speaker[u.speaker] += 1);
        assert_eq!(by_speaker, [4, 4, 4]);
    }

    #[test]
    fn an_empty_split_has_no_slices_and_odd_names_stay_apart() {
        let error = slices(&corpus(&[1, 3, 5]), HeldOut::Test, SIZES).unwrap_err();
        assert!(error.to_string().contains("no test utterance"), "{error}");
        assert_ne!(speaker_slice("a b"), speaker_slice("a_b"));
        assert_ne!(speaker_slice("a b"), speaker_slice("a/b"));
        assert!(is_plain_name(&speaker_slice("../x y")));
    }
}
