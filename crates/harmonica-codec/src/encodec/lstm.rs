//! Long short-term memory: layers one upon the other, and one skip around them all.
//!
//! The input side of all four gates is one product for many rows; each step adds the recurrent side. Layers work at the same time, each on the
//! rows that the one below has finished.
//! Invariant: the result does not depend on how rows are cut into blocks or pushes.

use super::activation::lstm_step;
use super::layer::LayerStream;
use super::matrix::{PackedMatrix, Rows};
use super::rows::RowBuffer;
use rayon::prelude::*;

/// Rows that a layer takes before the next one may start on them.
const BLOCK_ROWS: usize = 24;

/// One layer: gates stacked as input, forgetting, cell, output.
#[derive(Debug, Clone)]
pub(crate) struct LstmLayer {
    input: PackedMatrix,
    recurrent: PackedMatrix,
    bias: Vec<f32>,
}

impl LstmLayer {
    /// `input` and `recurrent` are `[4 * width, width]`, the two biases are added.
    pub(crate) fn new(width: usize, input: &[f32], recurrent: &[f32], biases: [&[f32]; 2]) -> Self {
        let pack =
            |weight: &[f32]| PackedMatrix::new(width, 4 * width, |row, gate| weight[gate * width + row]);
        let bias = biases[0].iter().zip(biases[1]).map(|(a, b)| a + b).collect();
        Self { input: pack(input), recurrent: pack(recurrent), bias }
    }
}

/// Layers of equal width, `[T, C]` to `[T, C]`.
#[derive(Debug, Clone)]
pub(crate) struct Lstm {
    pub(crate) width: usize,
    pub(crate) layers: Vec<LstmLayer>,
}

impl Lstm {
    pub(crate) fn stream(&self) -> LstmStream<'_> {
        let state = |layer| LstmState {
            layer,
            cell: vec![0.0; self.width],
            hidden: vec![0.0; self.width],
            gates: Vec::new(),
            rows: Vec::new(),
            backwards: false,
        };
        LstmStream { lstm: self, states: self.layers.iter().map(state).collect() }
    }
}

struct LstmState<'a> {
    layer: &'a LstmLayer,
    cell: Vec<f32>,
    hidden: Vec<f32>,
    gates: Vec<f32>,
    /// The block at hand: what goes in, then what comes out.
    rows: Vec<f32>,
    /// Direction in which the next step passes the recurrent weights.
    backwards: bool,
}

impl LstmState<'_> {
    fn step_block(&mut self) {
        let width = self.cell.len();
        let count = self.rows.len() / width;
        self.gates.resize(count * 4 * width, 0.0);
        let rows = Rows { values: &self.rows, step: width, count };
        self.layer.input.multiply(rows, &self.layer.bias, &mut self.gates);
        for (gates, out) in self.gates.chunks_exact_mut(4 * width).zip(self.rows.chunks_exact_mut(width)) {
            self.layer.recurrent.add_row(&self.hidden, self.backwards, gates);
            self.backwards = !self.backwards;
            lstm_step(gates, &mut self.cell, &mut self.hidden);
            out.copy_from_slice(&self.hidden);
        }
    }
}

/// The memory in the middle of a waveform.
pub(crate) struct LstmStream<'a> {
    lstm: &'a Lstm,
    states: Vec<LstmState<'a>>,
}

impl LayerStream for LstmStream<'_> {
    fn push(&mut self, rows: &[f32], out: &mut RowBuffer) {
        let start = out.len();
        out.extend_from_slice(rows);
        let mut blocks = rows.chunks(BLOCK_ROWS * self.lstm.width);
        let mut at = start;
        // A wave: at every beat each layer works on the block that the layer below finished at the beat before.
        while let Some(last) = self.states.len().checked_sub(1) {
            for i in (1..=last).rev() {
                let (below, above) = self.states.split_at_mut(i);
                std::mem::swap(&mut below[i - 1].rows, &mut above[0].rows);
            }
            self.states[0].rows.clear();
            self.states[0].rows.extend_from_slice(blocks.next().unwrap_or_default());
            if self.states.iter().all(|state| state.rows.is_empty()) {
                break;
            }
            self.states.par_iter_mut().for_each(LstmState::step_block);
            let done = &mut self.states[last].rows;
            out[at..at + done.len()].iter_mut().zip(done.iter()).for_each(|(out, row)| *out += row);
            at += done.len();
            done.clear();
        }
    }

    fn finish(&mut self, _: &mut RowBuffer) {
        *self = self.lstm.stream();
    }
}
