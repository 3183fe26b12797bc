//! Phases for magnitudes, block by block with a fixed look-ahead.
//!
//! Each block starts from phases carried on along spectral peaks (single-pass spectrogram inversion, Beauregard et al.
//! 2015) and is refined by fast Griffin-Lim (Perraudin et al. 2013) while samples that were already given out stay as they
//! are. Blocks are counted from the start of the utterance, so the samples do not depend on how frames arrive.

use harmonica_audio::{Complex, Stft};
use std::collections::VecDeque;
use std::f32::consts::{PI, TAU};

/// Frames given out at once.
const BLOCK_FRAMES: usize = 64;
/// Frames beyond a block that take part in its refinement.
const AHEAD_FRAMES: usize = 16;
/// Frames before a block that take part, their samples fixed.
const CONTEXT_FRAMES: usize = 8;
const MOMENTUM: f32 = 0.99;

/// A phase reconstruction in the middle of an utterance.
pub(crate) struct PhaseStream {
    stft: Stft,
    iterations: usize,
    pending: VecDeque<Vec<f32>>,
    /// Magnitudes of the last frames given out.
    context: VecDeque<Vec<f32>>,
    /// Last samples given out, at most what the context's windows reach.
    tail: Vec<f32>,
    /// Phase at the centre of the last frame given out, for every bin.
    centre_phase: Vec<f32>,
}

impl PhaseStream {
    pub(crate) fn new(stft: Stft, iterations: usize) -> Self {
        let n_bins = stft.n_bins();
        Self {
            stft,
            iterations,
            pending: VecDeque::new(),
            context: VecDeque::new(),
            tail: Vec::new(),
            centre_phase: vec![0.0; n_bins],
        }
    }

    /// Takes magnitudes `[n_bins]` of one frame; returns samples whenever a block is complete.
    pub(crate) fn push(&mut self, magnitudes: Vec<f32>) -> Vec<f32> {
        self.pending.push_back(magnitudes);
        if self.pending.len() >= BLOCK_FRAMES + AHEAD_FRAMES { self.block(BLOCK_FRAMES) } else { Vec::new() }
    }

    pub(crate) fn finish(&mut self) -> Vec<f32> {
        let mut samples = Vec::new();
        while !self.pending.is_empty() {
            samples.extend(self.block(self.pending.len().min(BLOCK_FRAMES)));
        }
        self.context.clear();
        self.tail.clear();
        self.centre_phase.fill(0.0);
        samples
    }

    /// Refines the next `n_out` frames (and up to `AHEAD_FRAMES` beyond) and gives their samples out.
    fn block(&mut self, n_out: usize) -> Vec<f32> {
        let n_bins = self.stft.n_bins();
        let step = self.stft.step_samples();
        let n_new = self.pending.len().min(n_out + AHEAD_FRAMES);
        let n_context = self.context.len();
        let n_frames = n_context + n_new;
        let magnitudes: Vec<f32> =
            self.context.iter().chain(self.pending.iter().take(n_new)).flatten().copied().collect();
        // The tail reaches back beyond the first context frame by as much as is known.
        let known = self.tail.len();
        let offset = known - n_context * step;
        let n_samples = offset + n_frames * step;

        let (mut spectrum, phases) = self.initial(&magnitudes, n_context, n_new);
        let mut previous = vec![Complex::default(); spectrum.len()];
        let mut signal = Vec::new();
        for iteration in 0..=self.iterations {
            signal = self.stft.synthesise(&spectrum, offset, n_samples);
            signal[..known].copy_from_slice(&self.tail);
            if iteration == self.iterations {
                break;
            }
            let rebuilt = self.stft.analyse(&signal, offset, n_frames);
            for (((s, r), p), m) in spectrum.iter_mut().zip(&rebuilt).zip(&previous).zip(&magnitudes) {
                let ahead = r - p * (MOMENTUM / (1.0 + MOMENTUM));
                *s = ahead * (m / ahead.norm().max(1e-12));
            }
            previous = rebuilt;
        }
        let given: Vec<f32> = signal[known..known + n_out * step].to_vec();
        let last = n_context + n_out - 1;
        self.centre_phase.copy_from_slice(&phases[last * n_bins..][..n_bins]);
        for frame in self.pending.drain(..n_out) {
            self.context.push_back(frame);
        }
        while self.context.len() > CONTEXT_FRAMES {
            self.context.pop_front();
        }
        self.tail.extend_from_slice(&given);
        let keep = (self.context.len() * step + 4 * step).min(self.tail.len());
        self.tail.drain(..self.tail.len() - keep);
        given
    }

    /// First guess: context frames from the samples given out, new frames carried on along spectral peaks.
    /// Returns the spectrum and each bin's phase at the frame's centre.
    fn initial(&self, magnitudes: &[f32], n_context: usize, n_new: usize) -> (Vec<Complex<f32>>, Vec<f32>) {
        let n_bins = self.stft.n_bins();
        let fft_samples = 2 * (n_bins - 1);
        let step = self.stft.step_samples() as f32;
        let mut phases = vec![0.0_f32; (n_context + n_new) * n_bins];
        if n_context > 0 {
            let offset = self.tail.len() - n_context * self.stft.step_samples();
            let past = self.stft.analyse(&self.tail, offset, n_context);
            // The last window reaches beyond the tail: its phases come from the block before.
            for (phase, bin) in phases.iter_mut().zip(
                past.chunks_exact(n_bins)
                    .flat_map(|frame| frame.iter().enumerate().map(|(k, c)| c.arg() + PI * k as f32)),
            ) {
                *phase = bin;
            }
            phases[(n_context - 1) * n_bins..n_context * n_bins].copy_from_slice(&self.centre_phase);
        }
        for frame in n_context..n_context + n_new {
            let magnitude = &magnitudes[frame * n_bins..][..n_bins];
            let (before, now) = phases.split_at_mut(frame * n_bins);
            let last = if frame > 0 { &before[(frame - 1) * n_bins..] } else { &self.centre_phase[..] };
            carry_on(magnitude, last, step / fft_samples as f32, &mut now[..n_bins]);
        }
        let spectrum = magnitudes
            .iter()
            .zip(&phases)
            .enumerate()
            .map(|(i, (m, centre))| Complex::from_polar(*m, centre - PI * (i % n_bins) as f32))
            .collect();
        (spectrum, phases)
    }
}

/// Advances each spectral peak by its own frequency; the bins around a peak share its phase.
fn carry_on(magnitude: &[f32], last: &[f32], step_over_fft: f32, now: &mut [f32]) {
    let n = magnitude.len();
    let is_peak = |k: usize| magnitude[k] > magnitude[k - 1] && magnitude[k] >= magnitude[k + 1];
    let peaks: Vec<usize> = (1..n - 1).filter(|k| is_peak(*k)).collect();
    for (k, phase) in now.iter_mut().enumerate() {
        *phase = (last[k] + TAU * k as f32 * step_over_fft) % TAU;
    }
    for (i, &peak) in peaks.iter().enumerate() {
        let (left, centre, right) = (magnitude[peak - 1], magnitude[peak], magnitude[peak + 1]);
        let curve = left - 2.0 * centre + right;
        let shift = if curve.abs() > 1e-12 { (0.5 * (left - right) / curve).clamp(-0.5, 0.5) } else { 0.0 };
        let phase = (last[peak] + TAU * (peak as f32 + shift) * step_over_fft) % TAU;
        let from = if i == 0 { 0 } else { usize::midpoint(peaks[i - 1], peak) };
        let to = peaks.get(i + 1).map_or(n, |next| usize::midpoint(peak, *next));
        now[from..to].fill(phase);
    }
}
