//! Transposed convolutions, trimmed to `stride` rows for each row of the input.
//!
//! Every `stride` rows of the output are one product: of the few input rows that reach them with the weights laid side by side. So
//! nothing is added up afterwards, and the state between pushes is those few input rows.
//! Invariant: over a whole waveform, `rows * stride` rows come out.

use super::activation::extend_elu;
use super::layer::{LayerStream, TimeGroupNorm};
use super::matrix::{PackedMatrix, Rows};
use super::rows::RowBuffer;

/// Shape and trims of a transposed convolution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TransposedShape {
    pub(crate) channels_in: usize,
    pub(crate) channels_out: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    /// Rows cut at the right of the full output; what is left of the surplus is cut at the left.
    pub(crate) trim_right: usize,
    /// Whether the input passes an exponential linear unit first.
    pub(crate) elu: bool,
}

/// A transposed convolution `[T, channels_in]` to `[T * stride, channels_out]`.
#[derive(Debug, Clone)]
pub(crate) struct ConvTransposed {
    pub(crate) shape: TransposedShape,
    /// Input rows that reach one block of the output.
    taps: usize,
    matrix: PackedMatrix,
    bias: Vec<f32>,
    norm: Option<TimeGroupNorm>,
}

impl ConvTransposed {
    /// `weight` is `[channels_in, channels_out, kernel]`.
    pub(crate) fn new(
        shape: TransposedShape,
        weight: &[f32],
        bias: &[f32],
        norm: Option<TimeGroupNorm>,
    ) -> Self {
        let TransposedShape { channels_in, channels_out, kernel, stride, .. } = shape;
        let taps = kernel.div_ceil(stride);
        let matrix = PackedMatrix::new(taps * channels_in, stride * channels_out, |row, column| {
            // The newest row comes last and reaches the start of the kernel.
            let (age, channel) = (taps - 1 - row / channels_in, row % channels_in);
            let (phase, out) = (column / channels_out, column % channels_out);
            let tap = age * stride + phase;
            if tap < kernel { weight[(channel * channels_out + out) * kernel + tap] } else { 0.0 }
        });
        Self { shape, taps, matrix, bias: bias.repeat(stride), norm }
    }

    pub(crate) fn stream(&self) -> ConvTransposedStream<'_> {
        let TransposedShape { channels_in, kernel, stride, trim_right, .. } = self.shape;
        ConvTransposedStream {
            layer: self,
            recent: RowBuffer::zeros((self.taps - 1) * channels_in),
            n_rows: 0,
            to_skip: kernel - stride - trim_right,
            waiting: RowBuffer::default(),
        }
    }
}

/// A transposed convolution in the middle of a waveform.
pub(crate) struct ConvTransposedStream<'a> {
    layer: &'a ConvTransposed,
    /// The input rows that reach the next block of the output, without the newest.
    recent: RowBuffer,
    n_rows: usize,
    /// Rows to cut at the left, still.
    to_skip: usize,
    /// Rows that wait for their norm.
    waiting: RowBuffer,
}

impl ConvTransposedStream<'_> {
    /// Appends the blocks of the rows that `recent` has grown by.
    fn advance(&mut self, out: &mut RowBuffer) {
        let width = self.layer.shape.channels_in;
        let count = self.recent.len() / width + 1 - self.layer.taps;
        let out = out.space(count * self.layer.matrix.columns());
        let rows = Rows { values: &self.recent, step: width, count };
        self.layer.matrix.multiply(rows, &self.layer.bias, out);
        self.recent.drop_front(count * width);
    }

    fn trim_left(&mut self, out: &mut RowBuffer, start: usize) {
        let width = self.layer.shape.channels_out;
        let cut = self.to_skip.min((out.len() - start) / width);
        out.cut(start, cut * width);
        self.to_skip -= cut;
    }
}

impl LayerStream for ConvTransposedStream<'_> {
    fn push(&mut self, rows: &[f32], out: &mut RowBuffer) {
        let shape = &self.layer.shape;
        self.n_rows += rows.len() / shape.channels_in;
        if shape.elu {
            extend_elu(&mut self.recent, rows);
        } else {
            self.recent.extend_from_slice(rows);
        }
        if self.layer.norm.is_some() {
            let mut waiting = std::mem::take(&mut self.waiting);
            self.advance(&mut waiting);
            self.waiting = waiting;
        } else {
            let start = out.len();
            self.advance(out);
            self.trim_left(out, start);
        }
    }

    fn finish(&mut self, out: &mut RowBuffer) {
        let TransposedShape { channels_in, channels_out, kernel, stride, trim_right, .. } = self.layer.shape;
        if self.n_rows > 0 {
            // Rows of zeros bring out what the last rows still reach.
            let mut tail = std::mem::take(&mut self.waiting);
            self.recent.space((self.layer.taps - 1) * channels_in).fill(0.0);
            self.advance(&mut tail);
            let surplus = self.layer.taps * stride - kernel;
            tail.truncate(tail.len() - surplus * channels_out);
            if let Some(norm) = &self.layer.norm {
                norm.apply(&mut tail);
            }
            tail.truncate(tail.len() - trim_right * channels_out);
            let start = out.len();
            out.extend_from_slice(&tail);
            self.trim_left(out, start);
        }
        *self = self.layer.stream();
    }
}
