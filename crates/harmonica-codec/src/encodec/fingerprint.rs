//! One fingerprint for a model, however its file spells the weights.
//!
//! Folding weight norm rounds, and not every library rounds alike: convolution weights from a folded file may differ in the last bit. So
//! everything else is hashed exactly, and of each convolution weight its length and a few projections, rounded far above that difference and far
//! below any update of training.

use super::config::EnCodecConfig;
use super::weights::Weights;
use harmonica_config_schema::{Fingerprint, RandomStream};

/// Changes with the rules for padding, trimming or choosing codes.
const RULES_VERSION: &str = "encodec 2";
/// Projections of a convolution's weight.
const PROJECTIONS: usize = 4;
/// Steps that a weight's length is divided into.
const STEPS: f64 = 1024.0;

/// Hash of a model that is used with so many of its codebooks.
pub(crate) fn with_codebooks(model: &Fingerprint, n_codebooks: usize) -> Fingerprint {
    Fingerprint::of_bytes(format!("{model} {n_codebooks}").as_bytes())
}

/// Hash of everything that decides which codes a waveform gets and how codes sound.
pub(crate) fn of_model(config: &EnCodecConfig, weights: &Weights) -> Fingerprint {
    let mut bytes = RULES_VERSION.as_bytes().to_vec();
    bytes.extend(serde_json::to_vec(config).unwrap_or_default());
    for (name, shape, values) in weights.all() {
        bytes.extend(format!("{name} {shape:?}").into_bytes());
        if name.ends_with(".conv.weight") {
            bytes.extend(projections(name, values).into_iter().flat_map(i64::to_le_bytes));
        } else {
            bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        }
    }
    Fingerprint::of_bytes(&bytes)
}

/// Length of a weight in 64ths of a power of two, and sums of its values under random signs in parts of that length.
fn projections(name: &str, values: &[f32]) -> Vec<i64> {
    let mut signs = RandomStream::new(0, name, &[]);
    let (mut sums, mut square) = ([0.0_f64; PROJECTIONS], 0.0_f64);
    for values in values.chunks(64 / PROJECTIONS) {
        let mut bits = signs.next_u64();
        for value in values.iter().map(|v| f64::from(*v)) {
            square += value * value;
            for sum in &mut sums {
                *sum += if bits & 1 == 0 { value } else { -value };
                bits >>= 1;
            }
        }
    }
    // The length itself is known to about one part in a million.
    let exponent = (square.sqrt().log2() * 64.0).round();
    let length = 2.0_f64.powf(exponent / 64.0);
    let steps = sums.map(|sum| (sum / length * STEPS).round() as i64);
    [exponent as i64].into_iter().chain(steps).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_goes_unnoticed_and_one_weight_or_a_factor_does_not() {
        let mut random = RandomStream::new(1, "fingerprint", &[]);
        let values: Vec<f32> = (0..3000).map(|_| random.uniform() as f32 - 0.5).collect();
        let of = |values: &[f32]| projections("encoder.layers.0.conv.weight", values);
        let length = values.iter().map(|v| v * v).sum::<f32>().sqrt();
        let rounded: Vec<f32> =
            values.iter().enumerate().map(|(i, v)| v * if i % 2 == 0 { 1.0 + 1e-7 } else { 1.0 }).collect();
        assert_ne!(rounded, values);
        assert_eq!(of(&rounded), of(&values));
        for at in (0..3000).step_by(97) {
            let mut changed = values.clone();
            changed[at] += length / 1000.0;
            assert_ne!(of(&changed), of(&values), "weight {at}");
        }
        for factor in [0.5, 0.98, 1.012, 2.0] {
            let scaled: Vec<f32> = values.iter().map(|v| v * factor).collect();
            assert_ne!(of(&scaled), of(&values), "factor {factor}");
        }
    }
}
