//! How tokens are drawn from the models.
//!
//! Invariant: greedy is temperature 0, exactly; no utterance outlives the bound that its text gives.

use crate::{ArModel, ModelError, NarInput, NarModel, Prompt};
use harmonica_config_schema::{ArDecodeConfig, CodebookIndex, NarDecodeKind, RandomStream};

/// Shapes scores into a distribution: temperature, top-k, top-p.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogitFilter {
    /// Softmax temperature; 0 keeps the likeliest alone.
    pub temperature: f64,
    /// Keep this many; 0 keeps all.
    pub top_k: usize,
    /// Keep the smallest set with this total probability.
    pub top_p: f64,
}

impl LogitFilter {
    /// Nothing filtered, temperature 1.
    pub const PLAIN: Self = Self { temperature: 1.0, top_k: 0, top_p: 1.0 };

    /// Probability of every class; classes filtered out have exactly 0. Ties break towards the lower id.
    pub fn distribution(&self, scores: &[f32]) -> Vec<f64> {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
        let mut probabilities = vec![0.0; scores.len()];
        let Some(&best) = order.first() else { return probabilities };
        if self.temperature <= 0.0 {
            probabilities[best] = 1.0;
            return probabilities;
        }
        if self.top_k > 0 {
            order.truncate(self.top_k);
        }
        let weight = |i: usize| (f64::from(scores[i] - scores[best]) / self.temperature).exp();
        let total: f64 = order.iter().map(|i| weight(*i)).sum();
        if self.top_p < 1.0 {
            let mut mass = 0.0;
            let kept = order.iter().take_while(|i| {
                let before = mass;
                mass += weight(**i) / total;
                before < self.top_p
            });
            let kept = kept.count().max(1);
            order.truncate(kept);
        }
        let total: f64 = order.iter().map(|i| weight(*i)).sum();
        for i in order {
            probabilities[i] = weight(i) / total;
        }
        probabilities
    }
}

fn draw(distribution: &[f64], stream: &mut RandomStream) -> usize {
    let mut left = stream.uniform();
    let mut last = 0;
    for (i, p) in distribution.iter().enumerate().filter(|(_, p)| **p > 0.0) {
        last = i;
        left -= p;
        if left <= 0.0 {
            break;
        }
    }
    last
}

/// Why writing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArStop {
    /// The model wrote the end of speech.
    EndOfSpeech,
    /// The bound from the text's length was reached.
    LengthBound,
}

/// What the AR model wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct ArOutput {
    /// Codes of codebook 1.
    pub codes: Vec<i32>,
    /// Why it ended.
    pub stop: ArStop,
    /// Mean log-probability of the written codes, in nats.
    pub mean_log_probability: f64,
}

/// Draws codebook 1.
#[derive(Debug, Clone)]
pub struct ArDecoder {
    config: ArDecodeConfig,
}

impl ArDecoder {
    /// A decoder with these settings.
    pub fn new(config: ArDecodeConfig) -> Self {
        Self { config }
    }

    /// Fewest and most frames for a text of `n_symbols`.
    pub fn bounds(&self, n_symbols: usize) -> (usize, usize) {
        let frames = |rate: f64| (rate * n_symbols as f64).ceil() as usize;
        (frames(self.config.min_frames_per_char).max(1), frames(self.config.max_frames_per_char).max(8))
    }

    /// Writes one utterance. `on_frame` hears how many frames are written; it returns false to cancel.
    ///
    /// # Errors
    /// A text or prompt that the model has no positions for.
    pub fn decode(
        &self,
        model: &ArModel,
        text: &[i32],
        speaker: i32,
        prompt: &[i32],
        seed: u64,
        mut on_frame: impl FnMut(usize) -> bool,
    ) -> Result<ArOutput, ModelError> {
        let config = &self.config;
        let filter =
            LogitFilter { temperature: config.temperature, top_k: config.top_k, top_p: config.top_p };
        let (min_frames, max_frames) = self.bounds(text.len());
        let max_frames = max_frames.min(model.max_frames().saturating_sub(prompt.len()));
        let mut cache = model.start(text, speaker, prompt)?;
        let mut codes: Vec<i32> = Vec::new();
        let mut last = model.bos();
        let (mut log_probability, mut stop) = (0.0, ArStop::LengthBound);
        while codes.len() < max_frames {
            let mut scores = model.step(&mut cache, last);
            if codes.len() < min_frames {
                scores[model.eos()] = f32::NEG_INFINITY;
            }
            let mut stream = RandomStream::new(seed, "ar decode", &[codes.len() as u64]);
            let mut code = draw(&filter.distribution(&scores), &mut stream);
            // Repetition-aware sampling: a code that fills the window is drawn again from all codes.
            let window = &codes[codes.len().saturating_sub(config.repetition_window)..];
            let repeated = window.iter().filter(|c| **c == code as i32).count();
            if config.temperature > 0.0
                && config.repetition_window > 0
                && repeated as f64 > config.repetition_share * config.repetition_window as f64
            {
                code = draw(&LogitFilter::PLAIN.distribution(&scores), &mut stream);
            }
            let plain = LogitFilter::PLAIN.distribution(&scores);
            log_probability += plain[code].max(1e-30).ln();
            if code == model.eos() {
                stop = ArStop::EndOfSpeech;
                break;
            }
            codes.push(code as i32);
            last = code;
            if !on_frame(codes.len()) {
                break;
            }
        }
        let n = (codes.len() + usize::from(stop == ArStop::EndOfSpeech)).max(1) as f64;
        Ok(ArOutput { codes, stop, mean_log_probability: log_probability / n })
    }
}

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
    kind: NarDecodeKind,
}

impl NarDecoder {
    /// A decoder of this kind.
    pub fn new(kind: NarDecodeKind) -> Self {
        Self { kind }
    }

    /// Codes and latents for codebook 1 of one utterance.
    ///
    /// # Errors
    /// A text or utterance that the model has no positions for.
    pub fn decode(
        &self,
        model: &NarModel,
        text: &[i32],
        speaker: i32,
        prompt: Option<&Prompt>,
        first: &[i32],
        centroids: Centroids<'_>,
    ) -> Result<NarOutput, ModelError> {
        let width = centroids.width;
        let mut codes = vec![first.to_vec()];
        let mut latents = vec![0.0_f32; first.len() * width];
        let add = |latents: &mut [f32], q: usize, row: &[i32]| {
            for (latent, code) in latents.chunks_exact_mut(width).zip(row) {
                let vector = &centroids.codebooks[q][*code as usize * width..][..width];
                latent.iter_mut().zip(vector).for_each(|(l, v)| *l += v);
            }
        };
        add(&mut latents, 0, first);
        if self.kind == NarDecodeKind::None || first.is_empty() {
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
            let likeliest: Vec<i32> = rows
                .clone()
                .map(|row| {
                    let best = (0..n_classes).fold(0, |best, i| if row[i] > row[best] { i } else { best });
                    best as i32
                })
                .collect();
            if self.kind == NarDecodeKind::Argmax {
                add(&mut latents, q, &likeliest);
            } else {
                for (latent, row) in latents.chunks_exact_mut(width).zip(rows) {
                    for (code, p) in LogitFilter::PLAIN.distribution(row).into_iter().enumerate() {
                        if p > 1e-5 {
                            let vector = &centroids.codebooks[q][code * width..][..width];
                            latent.iter_mut().zip(vector).for_each(|(l, v)| *l += v * p as f32);
                        }
                    }
                }
            }
            codes.push(likeliest);
        }
        Ok(NarOutput { codes, latents })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_keep_what_they_say() {
        let scores = [1.0, 3.0, 2.0, 3.0];
        let greedy = LogitFilter { temperature: 0.0, ..LogitFilter::PLAIN }.distribution(&scores);
        assert_eq!(greedy, [0.0, 1.0, 0.0, 0.0]);
        let top_2 = LogitFilter { top_k: 2, ..LogitFilter::PLAIN }.distribution(&scores);
        assert_eq!(top_2, [0.0, 0.5, 0.0, 0.5]);
        let nucleus = LogitFilter { top_p: 0.6, ..LogitFilter::PLAIN }.distribution(&scores);
        assert_eq!(nucleus, [0.0, 0.5, 0.0, 0.5]);
        let plain = LogitFilter::PLAIN.distribution(&scores);
        assert!((plain.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((plain[1] / plain[2] - 1.0_f64.exp()).abs() < 1e-9);
    }

    #[test]
    fn sampled_frequencies_match_the_filtered_distribution() {
        let scores: Vec<f32> = (0..8).map(|i| (i as f32 * 1.7).sin() * 2.0).collect();
        let expected = LogitFilter { temperature: 0.7, top_k: 6, top_p: 0.95 }.distribution(&scores);
        let n = 20_000;
        let mut counts = [0.0; 8];
        for i in 0..n {
            counts[draw(&expected, &mut RandomStream::new(3, "chi", &[i]))] += 1.0;
        }
        let chi_square: f64 = expected
            .iter()
            .zip(&counts)
            .filter(|(p, _)| **p > 0.0)
            .map(|(p, c)| (c - p * n as f64).powi(2) / (p * n as f64))
            .sum();
        assert!(chi_square < 25.0, "{chi_square}");
        assert!(expected.iter().zip(&counts).all(|(p, c)| *p > 0.0 || *c == 0.0));
    }
}
