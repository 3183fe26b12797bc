//! One fingerprint for a model, however its file spells the weights.
//!
//! Folding weight norm rounds, and not every library rounds alike: convolution weights from a folded file may differ in the last bit. So
//! everything else is hashed exactly, and of each convolution weight a few projections, rounded far above that difference and far below any
//! update of training.

use super::config::EnCodecConfig;
use super::weights::Weights;
use harmonica_config_schema::{Fingerprint, RandomStream};

/// Changes with the rules for padding, trimming or choosing codes.
const RULES_VERSION: &str = "encodec 1";
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

/// Sums of a weight's values under random signs, in steps of its length.
fn projections(name: &str, values: &[f32]) -> [i64; PROJECTIONS] {
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
    let length = 2.0_f64.powf((square.sqrt().log2() * 64.0).round() / 64.0);
    sums.map(|sum| (sum / length * STEPS).round() as i64)
}
