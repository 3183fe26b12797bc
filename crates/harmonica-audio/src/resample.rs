//! One rate to another, by rubato's FFT resampler.

use crate::{AudioError, Waveform};
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};

/// The waveform at `to_hz`; its length is the input's times the ratio, rounded up.
///
/// # Errors
/// A rate of zero, or one that the resampler refuses.
pub fn resample(waveform: &Waveform, to_hz: u32) -> Result<Waveform, AudioError> {
    let from_hz = waveform.sample_rate_hz();
    if from_hz == to_hz || waveform.samples().is_empty() {
        return Ok(Waveform::new(waveform.samples().to_vec(), to_hz));
    }
    let refuse = |reason: String| AudioError::Resample { from_hz, to_hz, reason };
    if from_hz == 0 || to_hz == 0 {
        return Err(refuse("a rate of zero".into()));
    }
    let n = waveform.samples().len();
    let wanted = (n as u64 * u64::from(to_hz)).div_ceil(u64::from(from_hz)) as usize;
    // An odd block would delay the signal by half a sample, which no trimming of whole frames can undo.
    let unit = from_hz as usize / gcd(from_hz, to_hz) as usize;
    let block = unit * 2048_usize.div_ceil(unit).next_multiple_of(2);
    let mut resampler = Fft::<f32>::new_custom(
        from_hz as usize,
        to_hz as usize,
        block,
        1,
        1,
        WindowFunction::BlackmanHarris2,
        FixedSync::Input,
    )
    .map_err(|e| refuse(e.to_string()))?;
    let input = InterleavedSlice::new(waveform.samples(), 1, n).map_err(|e| refuse(e.to_string()))?;
    let mut samples = resampler.process_all(&input, n, None).map_err(|e| refuse(e.to_string()))?.take_data();
    // The resampler rounds the ratio in floating point and can be one frame off.
    samples.resize(wanted, 0.0);
    Ok(Waveform::new(samples, to_hz))
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_keeps_its_frequency_and_length() {
        let tone = |rate: u32| -> Vec<f32> {
            (0..rate)
                .map(|n| {
                    ((std::f64::consts::TAU * 440.0 * f64::from(n) / f64::from(rate)).sin() * 0.5) as f32
                })
                .collect()
        };
        let out = resample(&Waveform::new(tone(44_100), 44_100), 16_000).unwrap();
        assert_eq!(out.samples().len(), 16_000);
        for (a, b) in out.samples().iter().zip(tone(16_000)).skip(800).take(14_400) {
            assert!((a - b).abs() < 2e-3, "{a} {b}");
        }
    }
}
