//! Codebooks 2..Q of one utterance, stage by stage.
//!
//! Invariant: a later stage sees codes, never mixtures; the draw of a code is a function of (seed, codebook, frame).

use crate::decode::filter::{LogitFilter, draw};
use crate::{ModelError, NarInput, NarModel, Prompt};
use harmonica_config_schema::{CodebookIndex, NarDecodeConfig, NarDecodeKind, RandomStream};

/// Codebook vectors of a codec, for expected centroids.
#[derive(Debug, Clone, Copy)]
pub struct Centroids<'a> {
    /// For each codebook `[codebook_size, width]`.
    pub codebooks: &'a [&'a [f32]],
    /// Width of a vector.
    pub width: usize,
}

/// What the NAR model filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct NarOutput {
    /// Codes, codebook by codebook `[Q][T]`; only codebook 1 for [`NarDecodeKind::None`].
    pub codes: Vec<Vec<i32>>,
    /// Latents `[T, width]` for the codec.
    pub latents: Vec<f32>,
}

/// Fills codebooks 2..Q of one utterance.
#[derive(Debug, Clone)]
pub struct NarDecoder {
    config: NarDecodeConfig,
    seed: u64,
}

impl NarDecoder {
    /// A decoder with these settings; `seed` is for draws.
    pub fn new(config: NarDecodeConfig, seed: u64) -> Self {
        Self { config, seed }
    }

    /// Codes and latents for codebook 1 of one utterance.
    ///
    /// # Errors
    /// A text or utterance that the model has no positions for; more refinement passes than it was trained for.
    pub fn decode(
        &self,
        model: &NarModel,
        text: &[i32],
        speaker: i32,
        prompt: Option<&Prompt>,
        first: &[i32],
        centroids: Centroids<'_>,
    ) -> Result<NarOutput, ModelError> {
        if self.config.refine_steps > 1 {
            return Err(ModelError::NotTrainedToRefine { steps: self.config.refine_steps });
        }
        let (width, kind) = (centroids.width, self.config.kind);
        let mut codes = vec![first.to_vec()];
        let mut latents = vec![0.0_f32; first.len() * width];
        let add = |latents: &mut [f32], q: usize, row: &[i32]| {
            for (latent, code) in latents.chunks_exact_mut(width).zip(row) {
                let vector = &centroids.codebooks[q][*code as usize * width..][..width];
                latent.iter_mut().zip(vector).for_each(|(l, v)| *l += v);
            }
        };
        add(&mut latents, 0, first);
        if kind == NarDecodeKind::None || first.is_empty() {
            return Ok(NarOutput { codes, latents });
        }
        for stage in CodebookIndex::stages(model.n_codebooks()) {
            let q = stage.zero_based();
            let input = NarInput {
                text: vec![text.to_vec()],
                codes: vec![codes.clone()],
                speakers: vec![speaker],
                prompt: prompt.cloned(),
            };
            let logits = model.forward(&input, stage, None)?;
            let scores: Vec<f32> = logits.into_data().iter::<f32>().collect();
            let n_classes = scores.len() / first.len();
            let rows = scores.chunks_exact(n_classes);
            let filter = LogitFilter::of_codebook(&self.config, stage);
            let chosen: Vec<i32> = match kind {
                NarDecodeKind::Sampled => rows
                    .clone()
                    .enumerate()
                    .map(|(t, row)| {
                        let mut stream = RandomStream::new(self.seed, "nar decode", &[q as u64, t as u64]);
                        draw(&filter.distribution(row), &mut stream) as i32
                    })
                    .collect(),
                _ => rows.clone().map(likeliest).collect(),
            };
            if kind == NarDecodeKind::Expected {
                for (latent, row) in latents.chunks_exact_mut(width).zip(rows) {
                    for (code, p) in filter.distribution(row).into_iter().enumerate() {
                        if p > 1e-5 {
                            let vector = &centroids.codebooks[q][code * width..][..width];
                            latent.iter_mut().zip(vector).for_each(|(l, v)| *l += v * p as f32);
                        }
                    }
                }
            } else {
                add(&mut latents, q, &chosen);
            }
            codes.push(chosen);
        }
        Ok(NarOutput { codes, latents })
    }
}

/// The likeliest class; ties break towards the lower id.
fn likeliest(row: &[f32]) -> i32 {
    (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best }) as i32
}
