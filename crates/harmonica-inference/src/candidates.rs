//! Several utterances of one text, side by side, of which the best is kept.
//!
//! Invariant: candidate 0 is what a request for one utterance gives; the result does not depend on the threads. Cancelled, it is the
//! beginning of candidate 0: how far the others came depends on the threads, and stretches of different length cannot be ranked.

use harmonica_config_schema::{ArDecodeConfig, RandomStream};
use harmonica_model_core::decode::{ArDecoder, ArOutput, ArRequest, Centroids, SpokenText, best};
use harmonica_model_core::{ArModel, ModelError};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

/// What is drawn.
pub(crate) struct Draw<'a> {
    pub(crate) config: &'a ArDecodeConfig,
    pub(crate) request: ArRequest<'a>,
    /// Ranges of symbols that are words.
    pub(crate) words: &'a [Range<usize>],
    /// What the codes sound like.
    pub(crate) centroids: Centroids<'a>,
    pub(crate) seed: u64,
    pub(crate) n_candidates: usize,
}

impl Draw<'_> {
    fn seed_of(&self, candidate: usize) -> u64 {
        match candidate {
            0 => self.seed,
            n => RandomStream::new(self.seed, "candidate", &[n as u64]).next_u64(),
        }
    }

    fn decode(
        &self,
        model: &ArModel,
        candidate: usize,
        on_frame: impl FnMut(usize) -> bool,
    ) -> Result<ArOutput, ModelError> {
        let decoder = ArDecoder::new(self.config.clone());
        decoder.decode(model, &self.request, self.seed_of(candidate), on_frame)
    }

    /// The best of all candidates, and whether `on_frame` cancelled them. It hears the length of the longest one whenever any of
    /// them grows, so that who gives up by the clock is asked until all are written.
    ///
    /// # Errors
    /// A text that the model has no positions for.
    pub(crate) fn run(
        &self,
        model: &ArModel,
        on_frame: impl FnMut(usize) -> bool,
    ) -> Result<(ArOutput, bool), ModelError> {
        let is_worker = rayon::current_thread_index().is_some();
        let (mut written, cancelled) = if self.n_candidates <= 1 || is_worker {
            self.in_turn(model, on_frame)
        } else {
            self.side_by_side(model, on_frame)
        }?;
        let text = SpokenText { symbols: self.request.text, words: self.words };
        let chosen = if cancelled { 0 } else { best(&written, text, self.centroids) };
        Ok((written.swap_remove(chosen), cancelled))
    }

    /// All candidates on this thread. A worker of a thread pool draws so: were it to wait for threads of its own, and each of
    /// its fellows too, then nobody would be left to multiply the matrices of those threads.
    fn in_turn(
        &self,
        model: &ArModel,
        mut on_frame: impl FnMut(usize) -> bool,
    ) -> Result<(Vec<ArOutput>, bool), ModelError> {
        let (mut longest, mut cancelled) = (0, false);
        let mut written = Vec::new();
        while written.len() < self.n_candidates.max(1) && !cancelled {
            written.push(self.decode(model, written.len(), |n| {
                longest = n.max(longest);
                cancelled = !on_frame(longest);
                !cancelled
            })?);
        }
        Ok((written, cancelled))
    }

    /// The candidates on as many threads as there are processors.
    fn side_by_side(
        &self,
        model: &ArModel,
        mut on_frame: impl FnMut(usize) -> bool,
    ) -> Result<(Vec<ArOutput>, bool), ModelError> {
        let mut cancelled = false;
        let is_cancelled = AtomicBool::new(false);
        let n_threads = std::thread::available_parallelism().map_or(1, usize::from).min(self.n_candidates);
        // A model's parameters may not be shared between threads; their tensors are.
        let models: Vec<ArModel> = (0..n_threads).map(|_| model.clone()).collect();
        let (heard, frames) = mpsc::channel();
        let written = std::thread::scope(|scope| {
            let threads: Vec<_> = models
                .into_iter()
                .enumerate()
                .map(|(thread, model)| {
                    let (heard, is_cancelled) = (heard.clone(), &is_cancelled);
                    scope.spawn(move || {
                        // Candidate 0 is begun whatever happens: it is what a cancelled request gives.
                        let is_wanted = |n: &usize| *n == 0 || !is_cancelled.load(Ordering::Relaxed);
                        let mine = (thread..self.n_candidates).step_by(n_threads).take_while(is_wanted);
                        let decode = |candidate: usize| {
                            self.decode(&model, candidate, |n| {
                                // Nobody listens any more once the result is certain.
                                let _ = heard.send(n);
                                !is_cancelled.load(Ordering::Relaxed)
                            })
                        };
                        mine.map(|candidate| decode(candidate).map(|w| (candidate, w))).collect::<Vec<_>>()
                    })
                })
                .collect();
            drop(heard);
            let mut longest = 0;
            for n in frames {
                if !cancelled {
                    longest = n.max(longest);
                    cancelled = !on_frame(longest);
                    is_cancelled.store(cancelled, Ordering::Relaxed);
                }
            }
            threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect::<Vec<_>>()
        });
        let mut written: Vec<(usize, ArOutput)> = written.into_iter().collect::<Result<_, _>>()?;
        written.sort_by_key(|(candidate, _)| *candidate);
        Ok((written.into_iter().map(|(_, output)| output).collect(), cancelled))
    }
}
