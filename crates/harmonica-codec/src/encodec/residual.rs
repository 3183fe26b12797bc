//! Residual blocks: a narrow branch beside a skip.
//!
//! Invariant: the branch may lag (its convolution waits for rows to mirror); the skip waits for it.

use super::conv::{Conv, ConvStream};
use super::layer::LayerStream;

/// `skip(x) + branch(x)`, `[T, C]` to `[T, C]`.
#[derive(Debug, Clone)]
pub(crate) struct Residual {
    /// Two convolutions, each after an exponential linear unit.
    pub(crate) branch: [Conv; 2],
    /// A convolution, or the input itself.
    pub(crate) shortcut: Option<Conv>,
}

impl Residual {
    pub(crate) fn stream(&self) -> ResidualStream<'_> {
        ResidualStream {
            branch: self.branch.each_ref().map(Conv::stream),
            shortcut: self.shortcut.as_ref().map(Conv::stream),
            skip: Vec::new(),
            lagging: Vec::new(),
            narrow: Vec::new(),
        }
    }
}

/// A residual block in the middle of a waveform.
pub(crate) struct ResidualStream<'a> {
    branch: [ConvStream<'a>; 2],
    shortcut: Option<ConvStream<'a>>,
    /// Rows of the skip that wait for the branch.
    skip: Vec<f32>,
    /// Rows of the branch that wait for the skip.
    lagging: Vec<f32>,
    /// Rows between the convolutions of the branch; kept for its memory.
    narrow: Vec<f32>,
}

impl ResidualStream<'_> {
    fn join(&mut self, out: &mut Vec<f32>) {
        let n = self.skip.len().min(self.lagging.len());
        out.extend(self.skip[..n].iter().zip(&self.lagging[..n]).map(|(skip, branch)| skip + branch));
        self.skip.drain(..n);
        self.lagging.drain(..n);
    }
}

impl LayerStream for ResidualStream<'_> {
    fn push(&mut self, rows: &[f32], out: &mut Vec<f32>) {
        match &mut self.shortcut {
            Some(shortcut) => shortcut.push(rows, &mut self.skip),
            None => self.skip.extend_from_slice(rows),
        }
        let [first, second] = &mut self.branch;
        self.narrow.clear();
        first.push(rows, &mut self.narrow);
        second.push(&self.narrow, &mut self.lagging);
        self.join(out);
    }

    fn finish(&mut self, out: &mut Vec<f32>) {
        if let Some(shortcut) = &mut self.shortcut {
            shortcut.finish(&mut self.skip);
        }
        let [first, second] = &mut self.branch;
        self.narrow.clear();
        first.finish(&mut self.narrow);
        second.push(&self.narrow, &mut self.lagging);
        second.finish(&mut self.lagging);
        self.join(out);
    }
}
