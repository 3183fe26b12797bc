//! Where in the text the speech is: read from what the model's heads look at while it writes.
//!
//! In: attention weights of the written frames over the symbols; out: a path through the text that never goes back, and how much
//! of the text was read. Invariant: a path has one symbol a frame and never decreases.

use std::ops::Range;

/// Weights of every head over the text, a row a frame.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TextAttention {
    n_heads: usize,
    n_symbols: usize,
    /// `[T][H][S]`.
    weights: Vec<f32>,
}

impl TextAttention {
    /// Nothing written yet.
    pub fn new(n_heads: usize, n_symbols: usize) -> Self {
        Self { n_heads, n_symbols, weights: Vec::new() }
    }

    /// Adds a frame.
    ///
    /// # Panics
    /// If there are not as many weights as heads times symbols.
    pub fn push(&mut self, frame: &[f32]) {
        assert_eq!(frame.len(), self.n_heads * self.n_symbols, "weights [H, S] of one frame");
        self.weights.extend_from_slice(frame);
    }

    /// Keeps the first frames.
    pub fn truncate(&mut self, n_frames: usize) {
        self.weights.truncate(n_frames * self.n_heads * self.n_symbols);
    }

    /// Frames so far.
    pub fn n_frames(&self) -> usize {
        self.weights.len() / (self.n_heads * self.n_symbols).max(1)
    }

    /// Heads of all blocks.
    pub fn n_heads(&self) -> usize {
        self.n_heads
    }

    /// Symbols of the text.
    pub fn n_symbols(&self) -> usize {
        self.n_symbols
    }

    /// What a head looked at in a frame `[S]`.
    pub fn row(&self, head: usize, frame: usize) -> &[f32] {
        let at = (frame * self.n_heads + head) * self.n_symbols;
        &self.weights[at..at + self.n_symbols]
    }

    /// What all heads together looked at in a frame `[S]`.
    pub fn total(&self, frame: usize) -> Vec<f32> {
        let mut total = vec![0.0; self.n_symbols];
        for head in 0..self.n_heads {
            total.iter_mut().zip(self.row(head, frame)).for_each(|(sum, weight)| *sum += weight);
        }
        total
    }

    /// Where in the text each frame is: the path that never goes back and gathers most of what all heads looked at.
    pub fn path(&self) -> Vec<usize> {
        let mut reader = Reader::default();
        (0..self.n_frames()).for_each(|frame| reader.push(&self.total(frame)));
        reader.path()
    }

    /// How much of the text was read, 0 to 1: the mean over `words` (ranges of symbols) of the most that all heads together
    /// looked at one in any frame, at most 1.
    pub fn coverage(&self, words: &[Range<usize>]) -> f64 {
        let mut most = vec![0.0_f32; words.len()];
        for frame in 0..self.n_frames() {
            let total = self.total(frame);
            for (most, word) in most.iter_mut().zip(words) {
                *most = most.max(total[word.clone()].iter().sum());
            }
        }
        most.iter().map(|m| f64::from(m.min(1.0))).sum::<f64>() / words.len().max(1) as f64
    }
}

/// Follows the text while frames are written: the best path to each symbol, frame by frame.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reader {
    frames: Vec<ReadFrame>,
}

#[derive(Debug, Clone)]
struct ReadFrame {
    /// Weight gathered by the best path to each symbol.
    gathered: Vec<f32>,
    /// Symbol in which that path stood a frame before.
    origins: Vec<usize>,
    /// Symbol in which the best path of all ends.
    end: usize,
    /// All weight on the text, of all frames so far.
    mass: f32,
}

impl Reader {
    /// Adds what all heads looked at in a frame `[S]`.
    pub(crate) fn push(&mut self, total: &[f32]) {
        let mass = total.iter().sum::<f32>();
        let frame = match self.frames.last() {
            None => ReadFrame {
                gathered: total.to_vec(),
                origins: (0..total.len()).collect(),
                end: argmax(total),
                mass,
            },
            Some(before) => {
                let mut origin = 0;
                let reach = |(symbol, weight): (usize, &f32)| {
                    if before.gathered[symbol] > before.gathered[origin] {
                        origin = symbol;
                    }
                    (before.gathered[origin] + weight, origin)
                };
                let (gathered, origins): (Vec<f32>, Vec<usize>) = total.iter().enumerate().map(reach).unzip();
                ReadFrame { end: argmax(&gathered), gathered, origins, mass: before.mass + mass }
            }
        };
        self.frames.push(frame);
    }

    /// Keeps the first frames.
    pub(crate) fn truncate(&mut self, n_frames: usize) {
        self.frames.truncate(n_frames);
    }

    /// For how many frames the reading has stood where it stands; 0 where the text is not read: where the path gathers not even
    /// three times what looking at every symbol alike would.
    pub(crate) fn stay_frames(&self) -> usize {
        let Some(last) = self.frames.last() else { return 0 };
        if last.gathered.get(last.end).is_none_or(|most| *most < 3.0 * last.mass / last.gathered.len() as f32)
        {
            return 0;
        }
        self.frames.iter().rev().take_while(|frame| frame.end == last.end).count()
    }

    /// Symbol of every frame on the best path.
    fn path(&self) -> Vec<usize> {
        let mut at = self.frames.last().map_or(0, |frame| frame.end);
        let mut path: Vec<usize> = Vec::with_capacity(self.frames.len());
        for frame in self.frames.iter().rev() {
            path.push(at);
            at = frame.origins.get(at).copied().unwrap_or(at);
        }
        path.reverse();
        path
    }
}

fn argmax(values: &[f32]) -> usize {
    (0..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two heads over ten symbols: one reads along the path, one looks everywhere.
    fn attention(path: &[usize]) -> TextAttention {
        let mut attention = TextAttention::new(2, 10);
        for at in path {
            let reading = (0..10).map(|s| if s == *at { 0.8 } else { 0.02 });
            attention.push(&reading.chain([0.1; 10]).collect::<Vec<f32>>());
        }
        attention
    }

    #[test]
    fn the_path_is_what_the_reading_head_reads() {
        let path = [0, 0, 1, 2, 2, 4, 5, 7, 7, 9];
        assert_eq!(attention(&path).path(), path);
        // A glance back does not turn the path.
        assert_eq!(attention(&[0, 1, 2, 3, 0, 4, 5]).path()[5..], [4, 5]);
        assert!(attention(&[0, 1, 2, 3, 0, 4, 5]).path().is_sorted());
        assert!(TextAttention::new(2, 10).path().is_empty());
    }

    #[test]
    fn words_that_are_never_read_are_missing_from_the_coverage() {
        let words = [0..3, 4..6, 7..10];
        let whole = attention(&[0, 1, 4, 5, 7, 9]).coverage(&words);
        let skipped = attention(&[0, 1, 2, 7, 9]).coverage(&words);
        assert!(whole > 0.99 && skipped < 0.8, "{whole} {skipped}");
        assert_eq!(TextAttention::new(2, 10).coverage(&words), 0.0);
    }

    #[test]
    fn a_reading_that_stands_is_told_from_one_that_does_not_read() {
        let mut reader = Reader::default();
        for (i, at) in [0, 1, 2, 3, 3, 3, 3].into_iter().enumerate() {
            reader.push(&attention(&[at]).total(0));
            assert_eq!(reader.stay_frames(), if i < 4 { 1 } else { i - 2 }, "{i}");
        }
        reader.truncate(5);
        assert_eq!(reader.stay_frames(), 2);
        let mut blind = Reader::default();
        (0..50).for_each(|_| blind.push(&[0.1; 10]));
        assert_eq!(blind.stay_frames(), 0);
    }
}
