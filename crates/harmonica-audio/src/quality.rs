//! Measures a recording. Judging the figures is `harmonica-data`'s job.
//! Invariant: every figure is finite, whatever the waveform.

use crate::Waveform;
use crate::condition::frame_rms;
use serde::{Deserialize, Serialize};

/// Samples at least this high count as clipped.
const CLIP_LEVEL: f32 = 0.999;
/// Frames this far below the loudest count as silence, in dB.
const SILENCE_DB: f64 = -45.0;

/// Figures about one recording.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QualityStats {
    /// Length in seconds.
    pub duration_s: f64,
    /// Highest absolute sample.
    pub peak: f64,
    /// Root mean square level, in dBFS, at least -120.
    pub rms_db: f64,
    /// Share of samples in runs of at least three at full scale.
    pub clipped_share: f64,
    /// Longest stretch of silence, in seconds.
    pub longest_silence_s: f64,
    /// Level of the loud frames over that of the quiet ones, in dB (95th against 5th percentile, at most 100).
    pub snr_db: f64,
    /// Share of the sounding frames that are periodic between 70 and 400 Hz, as voices are and noise is not.
    pub voiced_share: f64,
    /// Rate of the recording, in Hz.
    pub sample_rate_hz: u32,
}

/// Measures a waveform.
pub fn measure(waveform: &Waveform) -> QualityStats {
    let samples = waveform.samples();
    let levels = frame_rms(samples, waveform.sample_rate_hz());
    let rms = (samples.iter().map(|s| f64::from(*s) * f64::from(*s)).sum::<f64>()
        / samples.len().max(1) as f64)
        .sqrt();
    let mut sorted = levels.clone();
    sorted.sort_by(f64::total_cmp);
    let percentile = |share: f64| {
        sorted.get((share * sorted.len().saturating_sub(1) as f64) as usize).copied().unwrap_or(0.0)
    };
    let snr_db = 20.0 * (percentile(0.95).max(1e-6) / percentile(0.05).max(1e-6)).log10();
    let floor = percentile(1.0) * 10_f64.powf(SILENCE_DB / 20.0);
    let longest = longest_run(levels.iter().map(|l| *l <= floor));
    let mut clipped = 0;
    let mut run = 0;
    for sample in samples.iter().map(|s| s.abs()).chain([0.0]) {
        if sample >= CLIP_LEVEL {
            run += 1;
        } else {
            clipped += if run >= 3 { run } else { 0 };
            run = 0;
        }
    }
    QualityStats {
        duration_s: waveform.duration_s(),
        peak: f64::from(waveform.peak()),
        rms_db: 20.0 * rms.max(1e-6).log10(),
        clipped_share: clipped as f64 / samples.len().max(1) as f64,
        longest_silence_s: longest as f64 * 0.01,
        snr_db: snr_db.min(100.0),
        voiced_share: voiced_share(waveform),
        sample_rate_hz: waveform.sample_rate_hz(),
    }
}

/// Frames whose normalized autocorrelation is at least this high at some pitch period count as periodic.
const PERIODIC: f32 = 0.5;

/// Share of the sounding frames that are periodic. A coarse answer at a coarse rate: it tells voices from noise, not pitches.
fn voiced_share(waveform: &Waveform) -> f64 {
    // Averages of neighbours are a low-pass, and no pitch is lost at 4 kHz.
    let every = (waveform.sample_rate_hz() as usize / 4000).max(1);
    let coarse: Vec<f32> =
        waveform.samples().chunks_exact(every).map(|c| c.iter().sum::<f32>() / every as f32).collect();
    let rate = waveform.sample_rate_hz() as usize / every;
    let (shortest, longest) = (rate / 400, rate / 70);
    let n = 2 * longest;
    let energy = |frame: &[f32]| frame.iter().map(|s| s * s).sum::<f32>();
    let frames: Vec<&[f32]> = if n == 0 { Vec::new() } else { coarse.chunks_exact(n).collect() };
    let loudest = frames.iter().map(|frame| energy(frame)).fold(0.0, f32::max);
    let floor = loudest * 10_f32.powf(SILENCE_DB as f32 / 10.0);
    let sounding: Vec<&[f32]> = frames.into_iter().filter(|frame| energy(frame) > floor).collect();
    let periodic = sounding.iter().filter(|frame| {
        (shortest.max(1)..=longest).any(|lag| {
            let (early, late) = (&frame[..n - lag], &frame[lag..]);
            let product: f32 = early.iter().zip(late).map(|(a, b)| a * b).sum();
            product >= PERIODIC * (energy(early) * energy(late)).sqrt().max(f32::MIN_POSITIVE)
        })
    });
    periodic.count() as f64 / sounding.len().max(1) as f64
}

fn longest_run(flags: impl Iterator<Item = bool>) -> usize {
    let (mut longest, mut run) = (0, 0);
    for flag in flags {
        run = if flag { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clipping_silence_and_noise_are_measured() {
        let mut samples: Vec<f32> =
            (0..16_000).map(|n| ((n as f32 * 0.05).sin() * 2.0).clamp(-1.0, 1.0)).collect();
        samples.extend(vec![0.0; 16_000]);
        let stats = measure(&Waveform::new(samples, 16_000));
        assert!(stats.clipped_share > 0.2, "{stats:?}");
        assert!((stats.longest_silence_s - 1.0).abs() < 0.02, "{stats:?}");
        assert!(stats.snr_db > 60.0, "{stats:?}");
    }

    #[test]
    fn periodic_sound_is_voiced_and_noise_is_not() {
        let buzz: Vec<f32> = (0..16_000).map(|n| (n % 130) as f32 / 130.0 - 0.5).collect();
        let mut state = 1_u32;
        let noise: Vec<f32> = (0..16_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state as f32 / u32::MAX as f32 - 0.5
            })
            .collect();
        let share = |samples: Vec<f32>| measure(&Waveform::new(samples, 16_000)).voiced_share;
        assert!(share(buzz) > 0.9 && share(noise) < 0.1);
        assert_eq!(share(vec![0.0; 16_000]), 0.0);
    }

    #[test]
    fn empty_and_silent_waveforms_have_finite_figures() {
        for samples in [vec![], vec![0.0; 100]] {
            let stats = measure(&Waveform::new(samples, 16_000));
            assert!([stats.rms_db, stats.snr_db, stats.clipped_share].iter().all(|v| v.is_finite()));
        }
    }
}
