//! Loops: a pattern of codes, or a place in the text, that the model cannot leave.
//!
//! In: the codes so far and how long the reading of the text has stood; out: the loop that they end in. On 2,880 natural utterances (25 frames a second) no pattern of at most
//! 16 codes fills more than 6 frames beyond one repetition; three in a row, over at least ten frames, is a model's doing.

use harmonica_config_schema::ArDecodeConfig;
use serde::{Deserialize, Serialize};

/// Longest pattern that is looked for, in frames.
const MAX_PERIOD: usize = 24;

/// An utterance has so many times the draws that one place has. Draws repeat exactly, so that two places that lead back to each
/// other would otherwise never end.
const RETRIES_AN_UTTERANCE: usize = 4;

/// What a model could not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoopKind {
    /// A pattern of codes.
    Pattern,
    /// A place in the text.
    Stall,
}

/// A loop that was found, taken back and drawn again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoopEvent {
    /// What it was.
    pub kind: LoopKind,
    /// Frame at which it began.
    pub frame: usize,
    /// Length of the pattern, or of the stay, in frames.
    pub n_frames: usize,
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

    /// Most frames that the reading of the text may stand at one place.
    fn stall_frames(&self) -> usize {
        (self.config.stall_chars * self.config.max_frames_per_char).ceil() as usize
    }

    /// Looks at the codes after a frame was written; the reading of the text has stood for `stay_frames`.
    pub(crate) fn look(&mut self, codes: &[i32], stay_frames: usize) -> Advice {
        if self.config.loop_retries == 0 {
            return Advice::Write;
        }
        if codes.len() > self.until {
            self.attempt = 0;
        }
        let (kind, begin, n_frames) = match trailing_loop(codes, self.config.loop_frames) {
            Some((begin, period)) => (LoopKind::Pattern, begin, period),
            None if self.config.stall_chars > 0.0 && stay_frames > self.stall_frames() => {
                (LoopKind::Stall, codes.len() - stay_frames.min(codes.len()), stay_frames)
            }
            None => return Advice::Write,
        };
        let kept = match kind {
            // One pattern is speech; what repeats it goes.
            LoopKind::Pattern => begin + n_frames,
            // As much as one symbol may have.
            LoopKind::Stall => (begin + self.config.max_frames_per_char.ceil() as usize).min(codes.len()),
        };
        let is_spent = self.events.len() >= RETRIES_AN_UTTERANCE * self.config.loop_retries;
        if is_spent || self.attempt >= self.config.loop_retries {
            return Advice::Cut(kept);
        }
        self.attempt += 1;
        self.until = codes.len() + self.config.loop_frames;
        self.events.push(LoopEvent { kind, frame: begin, n_frames, attempt: self.attempt });
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
            match guard.look(&[7; 12], 0) {
                Advice::Rewind(kept) => assert_eq!(kept, 1),
                Advice::Cut(kept) => break assert_eq!(kept, 1),
                Advice::Write => panic!("a loop was not seen"),
            }
        }
        assert_eq!(n_looks, RETRIES_AN_UTTERANCE * config.loop_retries + 1);
    }

    #[test]
    fn a_reading_that_stands_is_a_loop() {
        let config =
            ArDecodeConfig { stall_chars: 10.0, max_frames_per_char: 2.0, ..ArDecodeConfig::default() };
        let codes: Vec<i32> = (0..30).collect();
        let mut guard = LoopGuard::new(&config);
        assert_eq!(guard.look(&codes, 20), Advice::Write);
        assert_eq!(guard.look(&codes, 21), Advice::Rewind(11));
        let event = LoopEvent { kind: LoopKind::Stall, frame: 9, n_frames: 21, attempt: 1 };
        assert_eq!(guard.events, [event]);
        let off = ArDecodeConfig { stall_chars: 0.0, ..config };
        assert_eq!(LoopGuard::new(&off).look(&codes, 30), Advice::Write);
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
