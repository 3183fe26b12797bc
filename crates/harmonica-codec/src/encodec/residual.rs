//! Residual blocks: a narrow branch beside a skip.
//!
//! Invariant: the branch may lag (its convolution waits for rows to mirror); the skip waits for it.

use super::conv::{Conv, ConvStream};
use super::layer::LayerStream;
use super::rows::RowBuffer;

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
            skip: RowBuffer::default(),
            lagging: RowBuffer::default(),
            narrow: RowBuffer::default(),
        }
    }
}

/// A residual block in the middle of a waveform.
pub(crate) struct ResidualStream<'a> {
    branch: [ConvStream<'a>; 2],
    shortcut: Option<ConvStream<'a>>,
    /// Rows of the skip that wait for the branch.
    skip: RowBuffer,
    /// Rows of the branch that wait for the skip.
    lagging: RowBuffer,
    /// Rows between the convolutions of the branch; kept for its memory.
    narrow: RowBuffer,
}

impl ResidualStream<'_> {
    fn join(&mut self, out: &mut RowBuffer) {
        let n = self.skip.len().min(self.lagging.len());
        let rows = self.skip[..n].iter().zip(&self.lagging[..n]);
        out.space(n).iter_mut().zip(rows).for_each(|(out, (skip, branch))| *out = skip + branch);
        self.skip.drop_front(n);
        self.lagging.drop_front(n);
    }
}

impl LayerStream for ResidualStream<'_> {
    fn push(&mut self, rows: &[f32], out: &mut RowBuffer) {
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

    fn finish(&mut self, out: &mut RowBuffer) {
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
