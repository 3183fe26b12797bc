//! Wrong conditions for the utterances of a batch: another's text, another's voice.
//!
//! In: a batch. Out: for each item which other one lends its condition, and whose tokens may be compared. Invariant: an item
//! without a neighbour of another text or voice is left out, never compared with itself.

use crate::TrainingError;
use harmonica_data::TokenBatch;
use harmonica_model_core::diagnosis::{PairedCost, Probes};
use harmonica_model_core::{ArInput, NarInput, Prompt};

/// For each item the next one that differs from it, in the batch's order; none where there is none.
fn lenders(n: usize, differ: impl Fn(usize, usize) -> bool) -> Vec<Option<usize>> {
    (0..n).map(|b| (1..n).map(|step| (b + step) % n).find(|other| differ(b, *other))).collect()
}

/// Who lends each item its text.
fn text_lenders(texts: &[Vec<i32>]) -> Vec<Option<usize>> {
    lenders(texts.len(), |a, b| texts[a] != texts[b])
}

/// Who lends each item its voice.
fn voice_lenders(batch: &TokenBatch) -> Vec<Option<usize>> {
    lenders(batch.speakers.len(), |a, b| batch.speakers[a] != batch.speakers[b])
}

/// Values of the lenders; items without one keep their own.
fn lent<T: Clone>(own: &[T], lenders: &[Option<usize>]) -> Vec<T> {
    lenders.iter().enumerate().map(|(b, lender)| own[lender.unwrap_or(b)].clone()).collect()
}

/// Prompts of the lenders, no longer than an item's own: a longer one might have no position.
fn lent_prompts(own: &Prompt, lenders: &[Option<usize>]) -> Prompt {
    let mut codes = lent(&own.codes, lenders);
    for (prompt, own) in codes.iter_mut().zip(&own.codes) {
        let longest = own.first().map_or(0, Vec::len);
        prompt.iter_mut().for_each(|row| row.truncate(longest));
    }
    Prompt { codes }
}

/// Takes in the tokens of the items that were lent something; `lengths` are the tokens of each item.
fn compare(
    cost: &mut PairedCost,
    right: &[f64],
    wrong: &[f64],
    lengths: &[usize],
    lenders: &[Option<usize>],
) {
    let mut first = 0;
    for (n, lender) in lengths.iter().zip(lenders) {
        if lender.is_some() {
            cost.observe(&right[first..first + n], &wrong[first..first + n]);
        }
        first += n;
    }
}

/// The input of a model whose conditions can be lent.
pub(crate) trait Conditioned: Clone {
    fn text(&mut self) -> &mut Vec<Vec<i32>>;
    fn speakers(&mut self) -> &mut Vec<i32>;
    fn prompt(&mut self) -> &mut Option<Prompt>;
}

macro_rules! conditioned {
    ($($input:ty),+) => {
        $(impl Conditioned for $input {
            fn text(&mut self) -> &mut Vec<Vec<i32>> {
                &mut self.text
            }

            fn speakers(&mut self) -> &mut Vec<i32> {
                &mut self.speakers
            }

            fn prompt(&mut self) -> &mut Option<Prompt> {
                &mut self.prompt
            }
        })+
    };
}

conditioned!(ArInput, NarInput);

/// What another text and another voice cost, over batches.
#[derive(Debug, Default)]
pub(crate) struct Probing {
    text: PairedCost,
    voice: PairedCost,
}

impl Probing {
    /// Takes in a batch: `costs` are those of every token of an input, `lengths` the tokens of each item.
    pub(crate) fn observe<I: Conditioned>(
        &mut self,
        own: &I,
        batch: &TokenBatch,
        lengths: &[usize],
        costs: impl Fn(&I) -> Result<Vec<f64>, TrainingError>,
    ) -> Result<(), TrainingError> {
        let right = costs(own)?;
        let mut other = own.clone();
        let lenders = text_lenders(other.text());
        if lenders.iter().any(Option::is_some) {
            let text = lent(other.text(), &lenders);
            *other.text() = text;
            compare(&mut self.text, &right, &costs(&other)?, lengths, &lenders);
        }
        let mut other = own.clone();
        let lenders = voice_lenders(batch);
        if lenders.iter().any(Option::is_some) {
            let speakers = lent(other.speakers(), &lenders);
            *other.speakers() = speakers;
            let prompt = other.prompt().as_ref().map(|prompt| lent_prompts(prompt, &lenders));
            *other.prompt() = prompt;
            compare(&mut self.voice, &right, &costs(&other)?, lengths, &lenders);
        }
        Ok(())
    }

    /// What was found.
    pub(crate) fn record(&self) -> Probes {
        Probes { text: self.text.record(), prompt: self.voice.record() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_compared_with_himself() {
        let texts = [vec![1], vec![1], vec![2], vec![1]];
        assert_eq!(text_lenders(&texts), [Some(2), Some(2), Some(3), Some(2)]);
        assert_eq!(text_lenders(&texts[..2]), [None, None]);
        let mut cost = PairedCost::default();
        compare(&mut cost, &[1.0; 5], &[3.0; 5], &[2, 3], &[None, Some(0)]);
        assert_eq!(cost.record().map(|r| (r.n_tokens, r.gap_nats)), Some((3, 2.0)));
    }

    #[test]
    fn a_lent_prompt_is_never_longer_than_the_own_one() {
        let own = Prompt { codes: vec![vec![vec![1, 2]; 2], vec![vec![3, 4, 5]; 2]] };
        let lent = lent_prompts(&own, &[Some(1), Some(0)]);
        assert_eq!(lent.codes, [vec![vec![3, 4]; 2], vec![vec![1, 2]; 2]]);
    }
}
