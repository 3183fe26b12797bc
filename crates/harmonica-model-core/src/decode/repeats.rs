//! A phrase that sounds as if it were said twice, although its codes differ: "seven seven" for "seven one".
//!
//! In: codebook 1 of an utterance, its centroids, the text. Out: how alike the most alike neighbouring stretches are, from 0 (no two are) to 1.
//! Invariant: phrases that the text itself repeats at once do not count.

use crate::decode::nar::Centroids;
use std::ops::Range;

/// Shortest phrase that is looked for, in characters of the text at the utterance's own pace: the shortest digits have three.
const MIN_CHARS: f64 = 3.0;
/// Least variance within a phrase, as a share of the utterance's: a held sound is no phrase.
const MIN_VARIANCE: f64 = 0.3;

/// What is to be said.
#[derive(Debug, Clone, Copy)]
pub struct SpokenText<'a> {
    /// Symbols, those of a prompt's transcript among them.
    pub symbols: &'a [i32],
    /// Ranges of symbols that are the words of the text itself.
    pub words: &'a [Range<usize>],
}

impl SpokenText<'_> {
    /// From the first to the last word.
    fn n_symbols(&self) -> usize {
        match (self.words.first(), self.words.last()) {
            (Some(first), Some(last)) => last.end - first.start,
            _ => 0,
        }
    }

    /// Lengths in symbols of the phrases that the text says at least twice in a row.
    fn own_repeats(&self) -> Vec<usize> {
        let n_words = self.words.len();
        let symbols = |at: usize, n: usize| self.words[at..at + n].iter().map(|w| &self.symbols[w.clone()]);
        let mut lengths = Vec::new();
        for n in 1..=n_words / 2 {
            for at in 0..=n_words - 2 * n {
                if symbols(at, n).eq(symbols(at + n, n)) {
                    lengths.push(self.words[at + n].start - self.words[at].start);
                }
            }
        }
        lengths
    }
}

/// Correlation of the two neighbouring stretches that are most alike, each at least as long as the shortest word would be;
/// 0 in an utterance that is too short for two.
///
/// # Panics
/// If a code has no centroid.
pub(crate) fn likeness_of_neighbours(codes: &[i32], centroids: Centroids<'_>, text: SpokenText<'_>) -> f64 {
    let n_frames = codes.len();
    let n_symbols = text.n_symbols();
    if n_symbols == 0 || n_frames < 2 {
        return 0.0;
    }
    let frames = centred(codes, centroids);
    let of_frames = |value: fn(&f64) -> f64| {
        prefix_sums(frames.chunks_exact(centroids.width).map(|f| f.iter().map(value).sum()))
    };
    let (sums, squares) = (of_frames(|v| *v), of_frames(|v| v * v));
    let least_variance = MIN_VARIANCE * squares[n_frames] / frames.len() as f64;
    let frames_a_char = n_frames as f64 / n_symbols as f64;
    let own: Vec<f64> = text.own_repeats().iter().map(|n| *n as f64 * frames_a_char).collect();
    let shortest = ((MIN_CHARS * frames_a_char).round() as usize).max(2);
    let mut most = 0.0_f64;
    for lag in shortest..=n_frames / 2 {
        if own.iter().any(|frames| (0.4 * frames..=2.0 * frames).contains(&(lag as f64))) {
            continue;
        }
        let neighbours =
            frames.chunks_exact(centroids.width).zip(frames.chunks_exact(centroids.width).skip(lag));
        let products = prefix_sums(neighbours.map(|(a, b)| a.iter().zip(b).map(|(a, b)| a * b).sum()));
        let mean =
            |sums: &[f64], start: usize| (sums[start + lag] - sums[start]) / (lag * centroids.width) as f64;
        for first in 0..=n_frames - 2 * lag {
            let second = first + lag;
            let (a, b) = (mean(&sums, first), mean(&sums, second));
            let (of_a, of_b) = (mean(&squares, first) - a * a, mean(&squares, second) - b * b);
            if of_a.min(of_b) > least_variance {
                most = most.max((mean(&products, first) - a * b) / (of_a * of_b).sqrt());
            }
        }
    }
    most
}

/// Centroids of the codes `[T, width]`, without the utterance's mean, so that the colour of the voice does not count.
fn centred(codes: &[i32], centroids: Centroids<'_>) -> Vec<f64> {
    let Centroids { codebooks, width } = centroids;
    let rows: Vec<&[f32]> =
        codes.iter().map(|code| &codebooks[0][*code as usize * width..][..width]).collect();
    let mut mean = vec![0.0; width];
    for row in &rows {
        mean.iter_mut().zip(*row).for_each(|(sum, v)| *sum += f64::from(*v) / rows.len() as f64);
    }
    rows.iter().flat_map(|row| row.iter().zip(&mean).map(|(v, m)| f64::from(*v) - m)).collect()
}

/// Sums of all values before each place, and of all.
fn prefix_sums(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sum = 0.0;
    let before = values.map(|value| {
        sum += value;
        sum
    });
    std::iter::once(0.0).chain(before).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use harmonica_config_schema::RandomStream;

    /// Words that sound each like the symbol they are written with, five frames a symbol; the takes of a word differ a little.
    fn say(symbols: &[i32], n_takes: i32, centroids: &mut Vec<f32>) -> Vec<i32> {
        const WIDTH: usize = 8;
        let mut codes = Vec::new();
        for (at, symbol) in symbols.iter().enumerate() {
            for frame in 0..5 {
                let mut word = RandomStream::new(1, "word", &[*symbol as u64, frame]);
                let mut take = RandomStream::new(2, "take", &[at as u64 % n_takes as u64, frame]);
                codes.push((centroids.len() / WIDTH) as i32);
                centroids.extend((0..WIDTH).map(|_| (word.normal() + 0.2 * take.normal()) as f32));
            }
        }
        codes
    }

    fn likeness(said: &[i32], written: &[i32]) -> f64 {
        let mut centroids = Vec::new();
        let codes = say(said, 3, &mut centroids);
        // Three symbols a word, so that a word of five frames is as long as the shortest that is looked for.
        let symbols: Vec<i32> = written.iter().flat_map(|s| [*s; 3]).collect();
        let words: Vec<Range<usize>> = (0..written.len()).map(|i| 3 * i..3 * i + 3).collect();
        let text = SpokenText { symbols: &symbols, words: &words };
        likeness_of_neighbours(&codes, Centroids { codebooks: &[&centroids], width: 8 }, text)
    }

    #[test]
    fn a_phrase_said_twice_in_other_codes_is_heard_unless_it_is_written_twice() {
        let straight = likeness(&[1, 2, 3, 4, 5, 6], &[1, 2, 3, 4, 5, 6]);
        assert!(straight < 0.6, "{straight}");
        for said in [[1, 2, 3, 3, 5, 6], [1, 2, 1, 2, 5, 6], [1, 2, 3, 1, 2, 3]] {
            let again = likeness(&said, &[1, 2, 3, 4, 5, 6]);
            assert!(again > 0.85, "{said:?} {again}");
            assert!(likeness(&said, &said) < 0.6, "{said:?}");
        }
    }

    #[test]
    fn held_sounds_and_very_short_utterances_are_no_repeats() {
        let sound = Centroids { codebooks: &[&[0.0, 1.0, -1.0]], width: 1 };
        let text = SpokenText { symbols: &[1, 2, 3, 4], words: std::slice::from_ref(&(0..4)) };
        assert_eq!(likeness_of_neighbours(&[1; 40], sound, text), 0.0);
        assert_eq!(likeness_of_neighbours(&[], sound, text), 0.0);
        assert_eq!(likeness_of_neighbours(&[1, 2, 1], sound, text), 0.0);
        assert_eq!(
            likeness_of_neighbours(&[1, 2, 1, 2], sound, SpokenText { symbols: &[], words: &[] }),
            0.0
        );
    }
}
