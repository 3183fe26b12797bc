//! Which of several utterances of one text is the best, without a reference.
//!
//! In: what the AR model wrote, several times; out: the index of the best. Scores are comparable within one text only.

use crate::decode::ar::{ArOutput, ArStop};
use crate::decode::nar::Centroids;
use crate::decode::repeats::{SpokenText, likeness_of_neighbours};

/// Likeness that three quarters of natural strings of digits hardly exceed (0.71); three quarters of those in which a digit is said
/// twice reach 0.75 (docs/research-log.md, 2026-11-29). Both overlap, which does no harm: candidates of one text are compared, and the text's own likeness is in each of them.
const USUAL_LIKENESS: f64 = 0.7;
/// Nats for a likeness that is higher by 1.
const NATS_PER_LIKENESS: f64 = 4.0;

/// Parts of a score; their sum is the score, higher is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CandidateScore {
    /// Mean log-probability of the codes, in nats.
    pub log_probability: f64,
    /// Minus the distance of the length from the median of all candidates, as the absolute logarithm of their ratio.
    pub duration: f64,
    /// Minus half a nat for each loop that was drawn again.
    pub loops: f64,
    /// Minus four times by how much neighbouring stretches are more alike than those of most texts that repeat nothing.
    pub repeats: f64,
    /// Minus what the heads left unread of the text, 0 to 1.
    pub coverage: f64,
    /// Minus two nats where the end of speech was not reached.
    pub ending: f64,
}

impl CandidateScore {
    /// Their sum.
    pub fn total(&self) -> f64 {
        self.log_probability + self.duration + self.loops + self.repeats + self.coverage + self.ending
    }
}

/// Scores of all candidates of a text.
pub fn score(candidates: &[ArOutput], text: SpokenText<'_>, centroids: Centroids<'_>) -> Vec<CandidateScore> {
    let mut lengths: Vec<usize> = candidates.iter().map(|c| c.codes.len().max(1)).collect();
    lengths.sort_unstable();
    let median = lengths.get(lengths.len() / 2).copied().unwrap_or(1) as f64;
    let one = |candidate: &ArOutput| CandidateScore {
        log_probability: candidate.mean_log_probability,
        duration: -(candidate.codes.len().max(1) as f64 / median).ln().abs(),
        loops: -0.5 * candidate.loops.len() as f64,
        repeats: -NATS_PER_LIKENESS
            * (likeness_of_neighbours(&candidate.codes, centroids, text) - USUAL_LIKENESS).max(0.0),
        coverage: candidate.attention.coverage(text.words) - 1.0,
        ending: if candidate.stop == ArStop::EndOfSpeech { 0.0 } else { -2.0 },
    };
    candidates.iter().map(one).collect()
}

/// Index of the best candidate; the first of equal ones.
pub fn best(candidates: &[ArOutput], text: SpokenText<'_>, centroids: Centroids<'_>) -> usize {
    if candidates.len() < 2 {
        return 0;
    }
    let scores = score(candidates, text, centroids);
    (0..scores.len()).fold(0, |best, i| if scores[i].total() > scores[best].total() { i } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{LoopEvent, LoopKind, TextAttention};

    fn candidate(n: usize, log_probability: f64, stop: ArStop, n_loops: usize) -> ArOutput {
        let event = LoopEvent { kind: LoopKind::Pattern, frame: 0, n_frames: 1, attempt: 1 };
        ArOutput {
            codes: vec![1; n],
            stop,
            mean_log_probability: log_probability,
            loops: vec![event; n_loops],
            attention: reading(&[0, 1]),
        }
    }

    /// Of a text of two words of one symbol.
    fn reading(path: &[usize]) -> TextAttention {
        let mut attention = TextAttention::new(1, 2);
        path.iter().for_each(|at| attention.push(if *at == 0 { &[1.0, 0.0] } else { &[0.0, 1.0] }));
        attention
    }

    #[test]
    fn probable_whole_utterances_of_usual_length_win() {
        let end = ArStop::EndOfSpeech;
        let usual = candidate(50, -2.0, end, 0);
        for worse in [
            candidate(50, -2.1, end, 0),
            candidate(120, -1.9, end, 0),
            candidate(50, -1.8, end, 1),
            candidate(50, -1.0, ArStop::LengthBound, 0),
            candidate(50, -1.0, ArStop::Loop, 0),
            ArOutput { attention: reading(&[0, 0]), ..candidate(50, -1.8, end, 0) },
        ] {
            let candidates = [worse.clone(), usual.clone(), candidate(52, -2.5, end, 0)];
            let text = SpokenText { symbols: &[5, 6], words: &[0..1, 1..2] };
            let centroids = Centroids { codebooks: &[&[0.0, 1.0, -1.0]], width: 1 };
            assert_eq!(best(&candidates, text, centroids), 1, "{worse:?}");
        }
    }
    #[test]
    fn who_says_a_phrase_twice_that_is_written_once_loses_to_who_does_not() {
        let text = SpokenText { symbols: &[1, 2, 3, 4, 5, 6, 7, 8], words: &[0..4, 4..8] };
        let centroids = Centroids { codebooks: &[&[0.0, 1.0, -1.0, 0.5]], width: 1 };
        let say = |codes: &[i32], log_probability| {
            let mut attention = TextAttention::new(1, 8);
            attention.push(&[0.25; 8]);
            let said = candidate(0, log_probability, ArStop::EndOfSpeech, 0);
            ArOutput { codes: codes.to_vec(), attention, ..said }
        };
        let twice = [[1, 1, 2, 3, 1, 2, 2, 0], [1, 1, 2, 3, 1, 2, 2, 0]].concat();
        let once = [[1, 1, 2, 3, 1, 2, 2, 0], [2, 3, 1, 1, 2, 0, 1, 2]].concat();
        assert_eq!(best(&[say(&twice, -1.5), say(&once, -2.0)], text, centroids), 1);
        let own = SpokenText { symbols: &[1, 2, 3, 4, 1, 2, 3, 4], ..text };
        assert_eq!(best(&[say(&twice, -1.5), say(&once, -2.0)], own, centroids), 0);
    }
}
