//! What the declared input of an ONNX model says that it hears.
//!
//! In: the axes of the input; out: samples or log-mel frames, and how many of them where that is fixed. `[n]`, `[1, n]` and
//! `[1, 1, n]` are samples; `[1, frames, bands]` and `[1, bands, frames]`, with a number of bands that it names, are frames.
//! Invariant: what is understood can be made: a number of bands and a length that speech has.

use crate::kaldi_frames::STEP_S;
use std::ops::RangeInclusive;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::DimLike;

/// Sample rate of all models, in Hz.
pub(crate) const RATE_HZ: u32 = 16_000;
/// Numbers of bands that are bands.
const BANDS: RangeInclusive<usize> = 20..=256;
/// Longest fixed length, in seconds.
const MAX_FIXED_S: f64 = 60.0;

/// What a model hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// Samples, in a tensor of so many axes.
    Samples { rank: usize },
    /// Log-mel frames.
    Frames { n_bands: usize, bands_first: bool },
}

impl Input {
    /// Most steps in time that a fixed length may have.
    fn most_steps(self) -> usize {
        match self {
            Self::Samples { .. } => (MAX_FIXED_S * f64::from(RATE_HZ)) as usize,
            Self::Frames { .. } => (MAX_FIXED_S / STEP_S) as usize,
        }
    }
}

/// The axes of a declared input: a number where the model names one.
pub(crate) fn shape(model: &InferenceModel) -> Result<Vec<Option<usize>>, String> {
    let inputs = model.input_outlets().map_err(|e| e.to_string())?;
    let [_] = inputs else { return Err(format!("it has {} inputs, not one", inputs.len())) };
    let fact = model.input_fact(0).map_err(|e| e.to_string())?;
    if fact.datum_type.concretize().is_some_and(|kind| kind != DatumType::F32) {
        return Err(format!("its input is {:?}, not f32", fact.datum_type));
    }
    if fact.shape.is_open() {
        return Err("it does not say how many axes its input has".into());
    }
    Ok(fact.shape.dims().map(|dim| dim.concretize().and_then(|d| d.to_usize().ok())).collect())
}

/// What an input of these axes is, and how many steps in time it has if that is fixed.
pub(crate) fn understand(shape: &[Option<usize>]) -> Result<(Input, Option<usize>), String> {
    let found = match shape {
        [time] => Some((Input::Samples { rank: 1 }, *time)),
        [None | Some(1), time] => Some((Input::Samples { rank: 2 }, *time)),
        [None | Some(1), Some(1), time] => Some((Input::Samples { rank: 3 }, *time)),
        [None | Some(1), time, Some(n_bands)]
            if BANDS.contains(n_bands) && time.is_none_or(|t| t >= *n_bands) =>
        {
            Some((Input::Frames { n_bands: *n_bands, bands_first: false }, *time))
        }
        [None | Some(1), Some(n_bands), time] if BANDS.contains(n_bands) => {
            Some((Input::Frames { n_bands: *n_bands, bands_first: true }, *time))
        }
        _ => None,
    };
    let fits = |(input, time): &(Input, Option<usize>)| {
        time.is_none_or(|time| (1..=input.most_steps()).contains(&time))
    };
    found.filter(fits).ok_or_else(|| {
        let axes: Vec<String> =
            shape.iter().map(|d| d.map_or_else(|| "?".to_owned(), |d| d.to_string())).collect();
        format!(
            "its input has the shape [{}]; samples are [n], [1, n] or [1, 1, n], log-mel frames [1, frames, bands] or \
             [1, bands, frames] with {} to {} bands; a fixed length is {MAX_FIXED_S} s at most",
            axes.join(", "),
            BANDS.start(),
            BANDS.end()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_understood_or_refused() {
        let understood = |shape: &[Option<usize>]| understand(shape).ok();
        let frames = |n_bands, bands_first| Input::Frames { n_bands, bands_first };
        assert_eq!(understood(&[None]), Some((Input::Samples { rank: 1 }, None)));
        assert_eq!(understood(&[None, Some(9)]), Some((Input::Samples { rank: 2 }, Some(9))));
        assert_eq!(understood(&[Some(1), Some(1), None]), Some((Input::Samples { rank: 3 }, None)));
        assert_eq!(understood(&[None, None, Some(80)]), Some((frames(80, false), None)));
        assert_eq!(understood(&[None, Some(200), Some(80)]), Some((frames(80, false), Some(200))));
        assert_eq!(understood(&[Some(1), Some(40), None]), Some((frames(40, true), None)));
        for refused in [&[][..], &[Some(2), None], &[None, None, None], &[None, Some(0)], &[None; 4]] {
            assert_eq!(understood(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn shapes_that_no_speech_has_are_refused_with_themselves() {
        let one = Some(1);
        for (refused, shown) in [
            ([one, Some(0), None], "[1, 0, ?]"),
            ([one, None, Some(0)], "[1, ?, 0]"),
            ([one, Some(16_000), one], "[1, 16000, 1]"),
            ([one, Some(19), None], "[1, 19, ?]"),
            ([one, None, Some(1 << 40)], "[1, ?, 1099511627776]"),
            ([one, one, Some(960_001)], "[1, 1, 960001]"),
            ([one, Some(6001), Some(80)], "[1, 6001, 80]"),
        ] {
            let message = understand(&refused).unwrap_err();
            assert!(message.contains(shown), "{message}");
        }
        assert!(
            understand(&[one, one, Some(960_000)]).is_ok() && understand(&[one, Some(256), None]).is_ok()
        );
    }
}
