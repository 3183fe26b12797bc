//! Wrong conditions for the utterances of a batch: another's text, another's voice.
//!
//! In: a batch. Out: for each item which other one lends its condition, and whose tokens may be compared. Invariant: an item
//! without a neighbour of another text or voice is left out, never compared with itself.

use harmonica_data::TokenBatch;
use harmonica_model_core::Prompt;
use harmonica_model_core::diagnosis::PairedCost;

/// For each item the next one that differs from it, in the batch's order; none where there is none.
fn lenders(n: usize, differ: impl Fn(usize, usize) -> bool) -> Vec<Option<usize>> {
    (0..n).map(|b| (1..n).map(|step| (b + step) % n).find(|other| differ(b, *other))).collect()
}

/// Who lends each item its text.
pub(crate) fn text_lenders(texts: &[Vec<i32>]) -> Vec<Option<usize>> {
    lenders(texts.len(), |a, b| texts[a] != texts[b])
}

/// Who lends each item its voice.
pub(crate) fn voice_lenders(batch: &TokenBatch) -> Vec<Option<usize>> {
    lenders(batch.speakers.len(), |a, b| batch.speakers[a] != batch.speakers[b])
}

/// Values of the lenders; items without one keep their own.
pub(crate) fn lent<T: Clone>(own: &[T], lenders: &[Option<usize>]) -> Vec<T> {
    lenders.iter().enumerate().map(|(b, lender)| own[lender.unwrap_or(b)].clone()).collect()
}

/// Prompts of the lenders, no longer than an item's own: a longer one might have no position.
pub(crate) fn lent_prompts(own: &Prompt, lenders: &[Option<usize>]) -> Prompt {
    let mut codes = lent(&own.codes, lenders);
    for (prompt, own) in codes.iter_mut().zip(&own.codes) {
        let longest = own.first().map_or(0, Vec::len);
        prompt.iter_mut().for_each(|row| row.truncate(longest));
    }
    Prompt { codes }
}

/// Takes in the tokens of the items that were lent something; `lengths` are the tokens of each item.
pub(crate) fn compare(
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
