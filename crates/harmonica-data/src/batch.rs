//! Utterances padded into host arrays.
//!
//! Invariant: padding is `SpecialTokens::pad` for codes and `Vocab::PAD` for text, and never counts as a real id; no frame
//! of a target is in its prompt.

use crate::TokenCache;
use harmonica_config_schema::{RandomStream, SpecialTokens};
use harmonica_text::Vocab;

/// Where the prompt of a training target comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PromptPolicy {
    /// Seed of the draws.
    pub seed: u64,
    /// Position of the batch over all epochs.
    pub position: u64,
    /// Longest prompt, in frames.
    pub max_frames: usize,
    /// Probability that the prompt is another utterance of the speaker, where there is one.
    pub other_share: f64,
    /// Share of prompts that bring their transcript along.
    pub transcript_share: f64,
    /// Most frames of prompt and target together.
    pub max_total_frames: usize,
    /// Most symbols of transcript, separator and text together.
    pub max_text_symbols: usize,
}

impl PromptPolicy {
    /// Most frames that a target of `n_frames` takes together with its prompt.
    pub fn most_frames(&self, n_frames: usize) -> usize {
        (n_frames + self.max_frames).min(self.max_total_frames.max(n_frames))
    }
}

/// Prompts of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptBatch {
    /// Codes `[B, Q, P]`, padded.
    pub codes: Vec<i32>,
    /// Padded frames `P`.
    pub n_frames: usize,
    /// Real frames of each prompt.
    pub lengths: Vec<usize>,
}

/// A batch of utterances as host arrays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBatch {
    /// Utterance indices in the cache.
    pub utterances: Vec<usize>,
    /// Text ids `[B, S]`, padded; a prompt's transcript stands before a separator.
    pub text: Vec<i32>,
    /// Padded symbols `S`.
    pub n_symbols: usize,
    /// Real symbols of each text.
    pub text_lengths: Vec<usize>,
    /// Codes `[B, Q, T]`, padded.
    pub codes: Vec<i32>,
    /// Codebooks `Q`.
    pub n_codebooks: usize,
    /// Padded frames `T`.
    pub n_frames: usize,
    /// Real frames of each utterance.
    pub lengths: Vec<usize>,
    /// Speaker of each utterance.
    pub speakers: Vec<i32>,
    /// Prompts, if the model takes them.
    pub prompts: Option<PromptBatch>,
}

/// Part of an utterance: its index, first frame and number of frames.
type Crop = (usize, usize, usize);

fn pad_codes(cache: &TokenCache, crops: &[Crop]) -> (Vec<i32>, usize, Vec<usize>) {
    let n_codebooks = cache.spec().n_codebooks;
    let pad = SpecialTokens::above(cache.spec().codebook_size).pad as i32;
    let lengths: Vec<usize> = crops.iter().map(|c| c.2).collect();
    let n_frames = lengths.iter().copied().max().unwrap_or(0);
    let mut codes = vec![pad; crops.len() * n_codebooks * n_frames];
    for (b, &(utterance, first, length)) in crops.iter().enumerate() {
        let source = cache.codes(utterance);
        let total = source.len() / n_codebooks;
        for q in 0..n_codebooks {
            let row = &mut codes[(b * n_codebooks + q) * n_frames..][..length];
            let from = &source[q * total + first..][..length];
            row.iter_mut().zip(from).for_each(|(to, code)| *to = i32::from(*code));
        }
    }
    (codes, n_frames, lengths)
}

impl TokenBatch {
    /// How many symbols of an item stand before its own text: the prompt's transcript and a separator.
    pub fn n_transcript(&self, item: usize) -> usize {
        let ids = &self.text[item * self.n_symbols..][..self.text_lengths[item]];
        ids.iter().position(|id| *id == Vocab::SEPARATOR as i32).map_or(0, |at| at + 1)
    }

    /// Collects utterances of a cache. With a policy, every target gets a prompt: another utterance of its speaker, or,
    /// where there is none, its own first third, which is cut from the target.
    ///
    /// # Panics
    /// If `utterances` is empty.
    pub fn collect(cache: &TokenCache, utterances: &[usize], prompts: Option<&PromptPolicy>) -> Self {
        assert!(!utterances.is_empty(), "a batch needs utterances");
        let rows = cache.utterances();
        let mut targets: Vec<Crop> = utterances.iter().map(|u| (*u, 0, rows[*u].n_frames)).collect();
        let mut texts: Vec<Vec<u16>> = utterances.iter().map(|u| rows[*u].text_ids.to_vec()).collect();
        let prompts = prompts.map(|policy| {
            let crops: Vec<Crop> = (0..utterances.len())
                .map(|b| {
                    let (crop, transcript) = draw_prompt(cache, &mut targets[b], policy);
                    if transcript {
                        let mut text = rows[crop.0].text_ids.to_vec();
                        text.push(Vocab::SEPARATOR as u16);
                        text.append(&mut texts[b]);
                        texts[b] = text;
                    }
                    crop
                })
                .collect();
            let (codes, n_frames, lengths) = pad_codes(cache, &crops);
            PromptBatch { codes, n_frames, lengths }
        });
        let text_lengths: Vec<usize> = texts.iter().map(Vec::len).collect();
        let n_symbols = text_lengths.iter().copied().max().unwrap_or(0);
        let mut text = vec![Vocab::PAD as i32; texts.len() * n_symbols];
        for (row, ids) in text.chunks_exact_mut(n_symbols).zip(&texts) {
            row.iter_mut().zip(ids).for_each(|(to, id)| *to = i32::from(*id));
        }
        let (codes, n_frames, lengths) = pad_codes(cache, &targets);
        Self {
            utterances: utterances.to_vec(),
            text,
            n_symbols,
            text_lengths,
            codes,
            n_codebooks: cache.spec().n_codebooks,
            n_frames,
            lengths,
            speakers: utterances.iter().map(|u| rows[*u].speaker as i32).collect(),
            prompts,
        }
    }
}

/// A prompt for a target, and whether its transcript goes along. Trims the target where the prompt is its own beginning.
fn draw_prompt(cache: &TokenCache, target: &mut Crop, policy: &PromptPolicy) -> (Crop, bool) {
    let rows = cache.utterances();
    let own = &rows[target.0];
    let mut stream = RandomStream::new(policy.seed, "prompt", &[policy.position, target.0 as u64]);
    let others = || cache.of_voice(own.speaker, own.split).iter().copied();
    let candidates: Vec<usize> = others().filter(|i| *i != target.0 && rows[*i].text != own.text).collect();
    // A stream of its own, so that the choice among candidates does not depend on the share.
    let kind =
        || RandomStream::new(policy.seed, "prompt kind", &[policy.position, target.0 as u64]).uniform();
    if candidates.is_empty() || (policy.other_share < 1.0 && kind() >= policy.other_share) {
        let length = (own.n_frames / 3).clamp(1, policy.max_frames);
        *target = (target.0, length, own.n_frames - length);
        return ((target.0, 0, length), false);
    }
    let chosen = candidates[stream.below(candidates.len())];
    let room = policy.max_total_frames.saturating_sub(own.n_frames).max(1);
    let length = rows[chosen].n_frames.min(policy.max_frames).min(room);
    // A crop of a longer prompt has no transcript of its own.
    let n_symbols = own.text_ids.len() + 1 + rows[chosen].text_ids.len();
    let whole = length == rows[chosen].n_frames && n_symbols <= policy.max_text_symbols;
    ((chosen, 0, length), whole && stream.uniform() < policy.transcript_share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Split;
    use crate::cache::tests::cache_of;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_frame_of_a_target_is_in_its_prompt(
            rows in proptest::collection::vec((0_usize..4, 2_usize..40, any::<bool>()), 1..24),
            max_frames in 1_usize..30,
            other_share in prop_oneof![Just(0.0), Just(0.5), Just(1.0)],
            position in 0_u64..1000,
        ) {
            // Every frame of the corpus has a code of its own.
            let mut next = 0_u16;
            let rows: Vec<(usize, Split, Vec<u16>)> = rows
                .into_iter()
                .map(|(speaker, n, held)| {
                    let codes = (0..n as u16).map(|i| next + i).collect();
                    next += n as u16;
                    (speaker, if held { Split::Valid } else { Split::Train }, codes)
                })
                .collect();
            let cache = cache_of(1, usize::from(next), &rows);
            let pad = SpecialTokens::above(usize::from(next)).pad as i32;
            let policy = PromptPolicy {
                seed: 3,
                position,
                max_frames,
                other_share,
                transcript_share: 0.5,
                max_total_frames: 60,
                max_text_symbols: 9,
            };
            let all: Vec<usize> = (0..rows.len()).collect();
            let batch = TokenBatch::collect(&cache, &all, Some(&policy));
            let prompts = batch.prompts.as_ref().unwrap();
            for b in all {
                let real = |codes: &[i32], n: usize| -> BTreeSet<i32> {
                    codes[b * n..][..n].iter().copied().filter(|code| *code != pad).collect()
                };
                let target = real(&batch.codes, batch.n_frames);
                let prompt = real(&prompts.codes, prompts.n_frames);
                prop_assert!(!target.is_empty() && !prompt.is_empty() && prompt.len() <= max_frames);
                prop_assert!(target.is_disjoint(&prompt), "{target:?} {prompt:?}");
                // Of the same speaker and the same side of the split; its own beginning where it must be.
                let owner = rows.iter().position(|row| prompt.iter().all(|code| row.2.contains(&(*code as u16))));
                let owner = owner.expect("a prompt is of one utterance");
                prop_assert_eq!((rows[owner].0, rows[owner].1), (rows[b].0, rows[b].1));
                prop_assert!(other_share > 0.0 || owner == b);
                let is_alone = rows.iter().filter(|row| (row.0, row.1) == (rows[b].0, rows[b].1)).count() == 1;
                prop_assert!(owner != b || is_alone || other_share < 1.0);
                // A transcript goes along with whole prompts only.
                let text = &batch.text[b * batch.n_symbols..][..batch.text_lengths[b]];
                if text.contains(&(Vocab::SEPARATOR as i32)) {
                    prop_assert_eq!(prompt.len(), rows[owner].2.len());
                }
            }
        }
    }
}
