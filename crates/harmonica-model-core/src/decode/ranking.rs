//! Which of several utterances of one text is the best, without a reference.
//!
//! In: what the AR model wrote, several times; out: the index of the best. Scores are comparable within one text only.

use crate::decode::ar::{ArOutput, ArStop};

/// Parts of a score; their sum is the score, higher is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CandidateScore {
    /// Mean log-probability of the codes, in nats.
    pub log_probability: f64,
    /// Minus the distance of the length from the median of all candidates, as the absolute logarithm of their ratio.
    pub duration: f64,
    /// Minus half a nat for each loop that was drawn again.
    pub loops: f64,
    /// Minus two nats where the end of speech was not reached.
    pub ending: f64,
}

impl CandidateScore {
    /// Their sum.
    pub fn total(&self) -> f64 {
        self.log_probability + self.duration + self.loops + self.ending
    }
}

/// Scores of all candidates.
pub fn score(candidates: &[ArOutput]) -> Vec<CandidateScore> {
    let mut lengths: Vec<usize> = candidates.iter().map(|c| c.codes.len().max(1)).collect();
    lengths.sort_unstable();
    let median = lengths.get(lengths.len() / 2).copied().unwrap_or(1) as f64;
    let one = |candidate: &ArOutput| CandidateScore {
        log_probability: candidate.mean_log_probability,
        duration: -(candidate.codes.len().max(1) as f64 / median).ln().abs(),
        loops: -0.5 * candidate.loops.len() as f64,
        ending: if candidate.stop == ArStop::EndOfSpeech { 0.0 } else { -2.0 },
    };
    candidates.iter().map(one).collect()
}

/// Index of the best candidate; the first of equal ones.
pub fn best(candidates: &[ArOutput]) -> usize {
    let scores = score(candidates);
    (0..scores.len()).fold(0, |best, i| if scores[i].total() > scores[best].total() { i } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::LoopEvent;

    fn candidate(n: usize, log_probability: f64, stop: ArStop, n_loops: usize) -> ArOutput {
        let event = LoopEvent { frame: 0, period: 1, attempt: 1 };
        ArOutput {
            codes: vec![1; n],
            stop,
            mean_log_probability: log_probability,
            loops: vec![event; n_loops],
        }
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
        ] {
            let candidates = [worse.clone(), usual.clone(), candidate(52, -2.5, end, 0)];
            assert_eq!(best(&candidates), 1, "{worse:?}");
        }
    }
}
