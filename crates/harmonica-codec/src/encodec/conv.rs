//! Convolutions that continue their input beyond its ends by the model's rule.
//!
//! Invariant: over a whole waveform, `ceil(rows / stride)` rows come out. Padding is decided where it happens: at the left when enough
//! rows have come to mirror, at the right when the waveform ends.

use super::activation::extend_elu;
use super::config::PadMode;
use super::layer::{LayerStream, TimeGroupNorm};
use super::matrix::{PackedMatrix, Rows};
use super::rows::RowBuffer;

/// Shape and padding of a convolution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConvShape {
    pub(crate) channels_in: usize,
    pub(crate) channels_out: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) dilation: usize,
    pub(crate) causal: bool,
    pub(crate) pad_mode: PadMode,
    /// Whether the input passes an exponential linear unit first.
    pub(crate) elu: bool,
}

impl ConvShape {
    /// Rows that one row of the output sees.
    fn reach(&self) -> usize {
        (self.kernel - 1) * self.dilation + 1
    }

    /// Whether a row of the output is a product of one row of the input as it is.
    fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1 && !self.elu
    }

    /// Rows of padding at the left and, beside what fills the last stride, at the right.
    fn padding(&self) -> (usize, usize) {
        let total = self.reach().saturating_sub(self.stride);
        let right = if self.causal { 0 } else { total / 2 };
        (total - right, right)
    }

    /// Most rows that padding may ever mirror at one end.
    fn most_padding(&self) -> usize {
        let (left, right) = self.padding();
        left.max(right + self.stride - 1)
    }
}

/// A convolution `[T, channels_in]` to `[ceil(T / stride), channels_out]`.
#[derive(Debug, Clone)]
pub(crate) struct Conv {
    pub(crate) shape: ConvShape,
    matrix: PackedMatrix,
    bias: Vec<f32>,
    norm: Option<TimeGroupNorm>,
}

impl Conv {
    /// `weight` is `[channels_out, channels_in, kernel]`.
    pub(crate) fn new(shape: ConvShape, weight: &[f32], bias: Vec<f32>, norm: Option<TimeGroupNorm>) -> Self {
        let ConvShape { channels_in, channels_out, kernel, .. } = shape;
        let matrix = PackedMatrix::new(kernel * channels_in, channels_out, |row, out| {
            let (tap, channel) = (row / channels_in, row % channels_in);
            weight[(out * channels_in + channel) * kernel + tap]
        });
        Self { shape, matrix, bias, norm }
    }

    pub(crate) fn stream(&self) -> ConvStream<'_> {
        ConvStream {
            conv: self,
            padded: RowBuffer::default(),
            at: 0,
            n_rows: 0,
            started: false,
            waiting: RowBuffer::default(),
        }
    }
}

/// Index of the row that stands at `at` before or beyond `n` rows; none is a row of zeros.
fn source(mode: PadMode, at: isize, n: usize) -> Option<usize> {
    let last = n as isize - 1;
    let index = match mode {
        PadMode::Reflect if at < 0 => -at,
        PadMode::Reflect if at > last => 2 * last - at,
        PadMode::Replicate => at.clamp(0, last),
        _ => at,
    };
    (0..=last).contains(&index).then_some(index as usize)
}

/// A convolution in the middle of a waveform.
pub(crate) struct ConvStream<'a> {
    conv: &'a Conv,
    /// Rows that are still needed, padding included once it has started.
    padded: RowBuffer,
    /// Row of `padded` at which the next window starts.
    at: usize,
    n_rows: usize,
    started: bool,
    /// Rows that wait for their norm.
    waiting: RowBuffer,
}

impl ConvStream<'_> {
    /// The row at `at`, of rows that may be fewer than the padding mirrors: then zeros follow them first.
    fn padding_row(&self, at: isize) -> Vec<f32> {
        let ConvShape { channels_in: width, pad_mode, .. } = self.conv.shape;
        let n = self.padded.len() / width;
        let (left, right) = self.ends();
        let n_with_zeros = if pad_mode == PadMode::Reflect { n.max(left.max(right) + 1) } else { n };
        match source(pad_mode, at, n_with_zeros) {
            Some(row) if row < n => self.padded[row * width..][..width].to_vec(),
            _ => vec![0.0; width],
        }
    }

    /// Padding at both ends if the waveform ended here.
    fn ends(&self) -> (usize, usize) {
        let (left, right) = self.conv.shape.padding();
        (left, right + self.n_rows.next_multiple_of(self.conv.shape.stride) - self.n_rows)
    }

    fn pad_left(&mut self) {
        let (left, _) = self.conv.shape.padding();
        let rows: Vec<f32> = (0..left).flat_map(|i| self.padding_row(i as isize - left as isize)).collect();
        self.padded.put_front(&rows);
        self.started = true;
    }

    /// Appends all rows whose windows are complete.
    fn advance(&mut self, out: &mut RowBuffer) {
        let Conv { shape, matrix, bias, .. } = self.conv;
        let (width, n) = (shape.channels_in, self.padded.len() / shape.channels_in);
        let complete =
            (n.saturating_sub(self.at) + shape.stride).saturating_sub(shape.reach()) / shape.stride;
        if complete > 0 {
            let values = &self.padded[self.at * width..];
            let step = shape.stride * width;
            let mut gathered = Vec::new();
            let rows = if shape.dilation == 1 {
                Rows { values, step, count: complete }
            } else {
                for row in 0..complete {
                    for tap in 0..shape.kernel {
                        gathered
                            .extend_from_slice(&values[row * step + tap * shape.dilation * width..][..width]);
                    }
                }
                Rows { values: &gathered, step: shape.kernel * width, count: complete }
            };
            matrix.multiply(rows, bias, out.space(complete * shape.channels_out));
            self.at += complete * shape.stride;
        }
        // What the right end may mirror stays.
        let done = self.at.min(n.saturating_sub(shape.most_padding() + 1));
        self.padded.drop_front(done * width);
        self.at -= done;
    }

    fn take(&mut self, out: &mut RowBuffer) {
        if self.conv.norm.is_some() {
            let mut waiting = std::mem::take(&mut self.waiting);
            self.advance(&mut waiting);
            self.waiting = waiting;
        } else {
            self.advance(out);
        }
    }
}

impl LayerStream for ConvStream<'_> {
    fn push(&mut self, rows: &[f32], out: &mut RowBuffer) {
        let shape = &self.conv.shape;
        self.n_rows += rows.len() / shape.channels_in;
        if shape.is_pointwise() && self.conv.norm.is_none() {
            let rows = Rows { values: rows, step: shape.channels_in, count: rows.len() / shape.channels_in };
            let out = out.space(rows.count * shape.channels_out);
            return self.conv.matrix.multiply(rows, &self.conv.bias, out);
        }
        if shape.elu {
            extend_elu(&mut self.padded, rows);
        } else {
            self.padded.extend_from_slice(rows);
        }
        let needed = if shape.pad_mode == PadMode::Reflect { shape.most_padding() } else { 0 };
        if !self.started && self.n_rows > needed {
            self.pad_left();
        }
        if self.started {
            self.take(out);
        }
    }

    fn finish(&mut self, out: &mut RowBuffer) {
        if self.n_rows > 0 {
            let (_, right) = self.ends();
            let n = (self.padded.len() / self.conv.shape.channels_in) as isize;
            let after: Vec<f32> = (n..n + right as isize).flat_map(|at| self.padding_row(at)).collect();
            if !self.started {
                self.pad_left();
            }
            self.padded.extend_from_slice(&after);
            self.take(out);
            if let Some(norm) = &self.conv.norm {
                norm.apply(&mut self.waiting);
                out.extend_from_slice(&self.waiting);
            }
        }
        *self = self.conv.stream();
    }
}
