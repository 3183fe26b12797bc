//! Something said again at once: on the sound, and on the codes that it was decoded from.
//!
//! In: a waveform and its text, or codes. Out: where the [`Repeat`] is and how alike its parts are.
//! Invariant: words that the text itself repeats at once are no loop.

use crate::activity::Activity;
use crate::centred_frames::{N_MELS, centred_frames};
use crate::prosody::n_characters;
use crate::word_errors::words;
use harmonica_audio::Waveform;
use std::collections::BTreeSet;

/// Correlation of two neighbouring stretches from which the second is the first said again.
const MIN_CORRELATION: f64 = 0.88;
/// Shortest phrase whose repetition is heard as a loop, in seconds, ...
const MIN_TWICE_S: f64 = 0.4;
/// ... and the shortest if it is said three times.
const MIN_THRICE_S: f64 = 0.2;
/// Longest phrase that is looked for, in seconds: the search grows with its square.
const MAX_PHRASE_S: f64 = 6.0;
/// Least share of a phrase that sounds.
const MIN_ACTIVE_SHARE: f64 = 0.5;
/// Least variance of log-mel values within a phrase, in nats squared: a held vowel is no loop.
const MIN_VARIANCE: f64 = 0.3;
/// Longest time that codes may go in a circle too short to be a phrase, in seconds: a held sound or a silence does.
const MAX_TOKEN_LOOP_S: f64 = 2.0;
/// Different codes without which a circle is a held sound and no phrase.
const MIN_PHRASE_CODES: usize = 4;
/// Longest circle of codes that is looked for, in seconds.
const MAX_TOKEN_PERIOD_S: f64 = 4.0;

/// Something said again at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Repeat {
    /// Where the first part begins, in seconds.
    pub start_s: f64,
    /// Where the last repetition ends, in seconds.
    pub end_s: f64,
    /// How alike the parts are, or how long codes repeat.
    pub value: f64,
    /// From which value on it is a loop.
    pub threshold: f64,
}

/// The longest stretch of codes in which each is the one a circle before: a whole phrase said again, or a short circle that
/// turns for longer than [`MAX_TOKEN_LOOP_S`].
pub(crate) fn repeated_tokens(codes: &[i32], frame_s: f64, own: &OwnRepeats) -> Option<Repeat> {
    let longest = ((MAX_TOKEN_PERIOD_S / frame_s) as usize).min(codes.len() / 2);
    let mut found: Option<Repeat> = None;
    for period in 1..=longest {
        let (mut n_repeated, mut end, mut run) = (0, 0, 0);
        for i in period..codes.len() {
            run = if codes[i] == codes[i - period] { run + 1 } else { 0 };
            if run > n_repeated {
                (n_repeated, end) = (run, i + 1);
            }
        }
        let seconds = |frames: usize| frames as f64 * frame_s;
        let start = end - n_repeated.min(end) - period.min(end - n_repeated.min(end));
        let circle: BTreeSet<i32> = codes[start..(start + period).min(end)].iter().copied().collect();
        let is_phrase = seconds(period) >= MIN_TWICE_S && circle.len() >= MIN_PHRASE_CODES;
        let threshold = if is_phrase { seconds(period) } else { MAX_TOKEN_LOOP_S };
        let is_own = is_phrase && own.allow(seconds(period), 2);
        let value = seconds(n_repeated);
        if value + 1e-9 >= threshold && !is_own && found.is_none_or(|f| value > f.value) {
            found = Some(Repeat { start_s: seconds(start), end_s: seconds(end), value, threshold });
        }
    }
    found
}

/// Sums over a prefix of the frames, for one lag.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    a: f64,
    b: f64,
    aa: f64,
    bb: f64,
    ab: f64,
}

impl Sums {
    fn correlation(first: &Self, last: &Self, n: f64) -> f64 {
        let mean = |f: f64, l: f64| (l - f) / n;
        let (a, b) = (mean(first.a, last.a), mean(first.b, last.b));
        let (aa, bb) = (mean(first.aa, last.aa) - a * a, mean(first.bb, last.bb) - b * b);
        if aa < MIN_VARIANCE || bb < MIN_VARIANCE {
            return 0.0;
        }
        (mean(first.ab, last.ab) - a * b) / (aa * bb).sqrt()
    }
}

/// The stretch that is most like the stretch after it (or the two after it, if it is short).
pub(crate) fn repeated_sound(waveform: &Waveform, activity: &Activity, own: &OwnRepeats) -> Option<Repeat> {
    let frames = centred_frames(waveform, Activity::seconds(1));
    let n = frames.len();
    let mut active = vec![0_usize];
    for t in 0..n {
        active.push(active[t] + usize::from(activity.active.get(t).copied().unwrap_or(false)));
    }
    let shortest = (MIN_THRICE_S * 100.0) as usize;
    let mut best: Option<Repeat> = None;
    for lag in shortest..=(n / 2).min((MAX_PHRASE_S * 100.0) as usize) {
        let lag_s = Activity::seconds(lag);
        let copies = if lag_s >= MIN_TWICE_S { 2 } else { 3 };
        let span = (copies - 1) * lag;
        if own.allow(lag_s, copies) || n < span + lag {
            continue;
        }
        let mut sums = vec![Sums::default(); n - lag + 1];
        for t in 0..n - lag {
            let mut sum = sums[t];
            for (x, y) in frames[t].iter().zip(&frames[t + lag]) {
                let (x, y) = (f64::from(*x), f64::from(*y));
                sum.a += x;
                sum.b += y;
                sum.aa += x * x;
                sum.bb += y * y;
                sum.ab += x * y;
            }
            sums[t + 1] = sum;
        }
        for start in (0..=n - lag - span).step_by(2) {
            if ((active[start + span] - active[start]) as f64) < MIN_ACTIVE_SHARE * span as f64 {
                continue;
            }
            let value = Sums::correlation(&sums[start], &sums[start + span], (span * N_MELS) as f64);
            if value >= MIN_CORRELATION && best.is_none_or(|b| value > b.value) {
                best = Some(Repeat {
                    start_s: Activity::seconds(start),
                    end_s: Activity::seconds(start + span + lag),
                    value,
                    threshold: MIN_CORRELATION,
                });
            }
        }
    }
    best
}

/// Phrases that the text itself says several times in a row.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct OwnRepeats {
    /// Expected length of the phrase in seconds, and how often it is said.
    phrases: Vec<(f64, usize)>,
}

impl OwnRepeats {
    /// Those of a text that is said in `sounding_s` seconds.
    pub(crate) fn of(text: &str, sounding_s: f64) -> Self {
        let words = words(text);
        let s_per_character = sounding_s / n_characters(text).max(1) as f64;
        let mut phrases = Vec::new();
        for n in 1..=words.len() / 2 {
            for start in 0..=words.len() - 2 * n {
                let phrase = &words[start..start + n];
                let times = words[start..].chunks_exact(n).take_while(|next| *next == phrase).count();
                if times > 1 {
                    let characters = phrase.iter().map(|w| w.chars().count()).sum::<usize>();
                    phrases.push((characters as f64 * s_per_character, times));
                }
            }
        }
        Self { phrases }
    }

    /// Whether the text says something of about this length so often in a row.
    fn allow(&self, phrase_s: f64, times: usize) -> bool {
        self.phrases.iter().any(|(s, n)| *n >= times && (0.4 * s..=2.0 * s).contains(&phrase_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME_S: f64 = 0.04;

    fn tokens(codes: &[i32], text: &str) -> Option<Repeat> {
        repeated_tokens(codes, FRAME_S, &OwnRepeats::of(text, codes.len() as f64 * FRAME_S))
    }

    #[test]
    fn codes_that_say_a_phrase_again_or_go_in_circles_are_found() {
        let phrase: Vec<i32> = (0..12).map(|i| i * 37 % 101).collect();
        let mut codes: Vec<i32> = (200..230).collect();
        codes.extend(phrase.repeat(2));
        codes.extend(300..320);
        let found = tokens(&codes, "open the red box").unwrap();
        assert!(
            (found.start_s - 1.2).abs() < 1e-9 && (found.end_s - 54.0 * FRAME_S).abs() < 1e-9,
            "{found:?}"
        );
        let circle: Vec<i32> = (0..70).map(|i| i % 3).collect();
        assert!(tokens(&circle, "open the red box").is_some_and(|r| r.value > 2.0));
    }

    #[test]
    fn held_codes_and_phrases_of_the_text_are_no_loop() {
        let mut codes: Vec<i32> = (200..230).collect();
        codes.extend([7; 40]);
        codes.extend(300..330);
        assert_eq!(tokens(&codes, "open the red box"), None);
        let twice = (0..12).collect::<Vec<i32>>().repeat(2);
        assert_eq!(tokens(&twice, "three three"), None);
        assert!(tokens(&twice, "three four").is_some());
        assert_eq!(tokens(&[], "one"), None);
    }
}
