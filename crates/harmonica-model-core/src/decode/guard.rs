//! Loops: a pattern of codes that the model cannot leave.
//!
//! In: the codes so far; out: the loop that they end in. On 2,880 natural utterances (25 frames a second) no pattern of at most
//! 16 codes fills more than 6 frames beyond one repetition; three in a row, over at least ten frames, is a model's doing.

use harmonica_config_schema::ArDecodeConfig;
use serde::{Deserialize, Serialize};

/// Longest pattern that is looked for, in frames.
const MAX_PERIOD: usize = 24;

/// An utterance has so many times the draws that one place has. Draws repeat exactly, so that two places that lead back to each
/// other would otherwise never end.
const RETRIES_AN_UTTERANCE: usize = 4;

/// A loop that was found, taken back and drawn again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoopEvent {
    /// Frame at which the pattern began.
    pub frame: usize,
    /// Length of the pattern, in frames.
    pub period: usize,
    /// Which attempt at this place it was, from 1.
    pub attempt: usize,
}

/// The loop that `codes` end in: where its pattern begins, and the pattern's length.
pub fn trailing_loop(codes: &[i32], min_frames: usize) -> Option<(usize, usize)> {
    (1..=MAX_PERIOD.min(codes.len() / 3)).find_map(|period| {
        let repeats = codes.iter().rev().zip(codes.iter().rev().skip(period));
        let n_equal = repeats.take_while(|(a, b)| a == b).count();
        let length = n_equal + period;
        (n_equal > 0 && length >= min_frames.max(3 * period)).then(|| (codes.len() - length, period))
    })
}

/// What the guard does about loops.
pub(crate) struct LoopGuard<'a> {
    config: &'a ArDecodeConfig,
    /// Loops that were drawn again.
    pub(crate) events: Vec<LoopEvent>,
    /// Attempt at the present place, and the frame at which it is behind us.
    attempt: usize,
    until: usize,
}

/// What to do after a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Advice {
    /// Go on.
    Write,
    /// Go back to so many frames and draw again.
    Rewind(usize),
    /// Every attempt has failed: end with so many frames.
    Cut(usize),
}

impl<'a> LoopGuard<'a> {
    pub(crate) fn new(config: &'a ArDecodeConfig) -> Self {
        Self { config, events: Vec::new(), attempt: 0, until: 0 }
    }

    /// Looks at the codes after a frame was written.
    pub(crate) fn look(&mut self, codes: &[i32]) -> Advice {
        if self.config.loop_retries == 0 {
            return Advice::Write;
        }
        if codes.len() > self.until {
            self.attempt = 0;
        }
        let Some((begin, period)) = trailing_loop(codes, self.config.loop_frames) else {
            return Advice::Write;
        };
        // One pattern is speech; what repeats it goes.
        let kept = begin + period;
        let is_spent = self.events.len() >= RETRIES_AN_UTTERANCE * self.config.loop_retries;
        if is_spent || self.attempt >= self.config.loop_retries {
            return Advice::Cut(kept);
        }
        self.attempt += 1;
        self.until = codes.len() + self.config.loop_frames;
        self.events.push(LoopEvent { frame: begin, period, attempt: self.attempt });
        Advice::Rewind(kept)
    }

    /// Attempt at a frame: 0 is the first draw.
    pub(crate) fn attempt_at(&self, n_frames: usize) -> usize {
        if n_frames < self.until { self.attempt } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_lead_back_to_each_other_end() {
        let config = ArDecodeConfig::default();
        let mut guard = LoopGuard::new(&config);
        let mut n_looks = 0;
        // Between any two loops there is a place that is behind: the attempts at one place never run out.
        loop {
            n_looks += 1;
            assert!(n_looks < 100);
            guard.until = 0;
            match guard.look(&[7; 12]) {
                Advice::Rewind(kept) => assert_eq!(kept, 1),
                Advice::Cut(kept) => break assert_eq!(kept, 1),
                Advice::Write => panic!("a loop was not seen"),
            }
        }
        assert_eq!(n_looks, RETRIES_AN_UTTERANCE * config.loop_retries + 1);
    }

    #[test]
    fn loops_of_every_length_are_found_where_they_begin() {
        for period in 1..=MAX_PERIOD {
            let speech = [100, 101, 102];
            let pattern: Vec<i32> = (0..period as i32).collect();
            let mut codes = speech.to_vec();
            while codes.len() < 3 + 10.max(3 * period) {
                assert_eq!(trailing_loop(&codes, 10), None, "{period} {}", codes.len());
                codes.push(pattern[(codes.len() - 3) % period]);
            }
            assert_eq!(trailing_loop(&codes, 10), Some((3, period)));
        }
        assert_eq!(trailing_loop(&[], 10), None);
        assert_eq!(trailing_loop(&[7; 9], 10), None);
    }
}
