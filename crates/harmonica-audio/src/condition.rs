//! Trimming silence and levelling loudness.

use crate::{AudioError, Waveform};
use ebur128::{EbuR128, Mode};
use harmonica_config_schema::{AudioConfig, LoudnessKind};

const FRAME_S: f64 = 0.01;
const TRUE_PEAK_CEILING_DBTP: f64 = -1.0;

/// Root mean square of consecutive 10 ms frames, the last one possibly shorter.
pub(crate) fn frame_rms(samples: &[f32], sample_rate_hz: u32) -> Vec<f64> {
    let frame = ((FRAME_S * f64::from(sample_rate_hz)) as usize).max(1);
    samples
        .chunks(frame)
        .map(|c| (c.iter().map(|s| f64::from(*s) * f64::from(*s)).sum::<f64>() / c.len() as f64).sqrt())
        .collect()
}

/// Trims and levels a waveform as configured; what the codec hears.
///
/// # Errors
/// A rate that loudness is not defined for.
pub fn condition(waveform: Waveform, config: &AudioConfig) -> Result<Waveform, AudioError> {
    let trimmed = if config.trim {
        trim_silence(&waveform, config.trim_threshold_db, config.trim_keep_s)
    } else {
        waveform
    };
    level_loudness(trimmed, config.loudness, config.loudness_target_db)
}

/// Cuts leading and trailing frames that are `threshold_db` below the loudest frame, keeping `keep_s` seconds.
/// A waveform of silence is returned as it is: judging it is the quality filter's job.
pub fn trim_silence(waveform: &Waveform, threshold_db: f64, keep_s: f64) -> Waveform {
    let rate = waveform.sample_rate_hz();
    let levels = frame_rms(waveform.samples(), rate);
    let floor = levels.iter().fold(0.0_f64, |a, b| a.max(*b)) * 10_f64.powf(threshold_db / 20.0);
    let (Some(first), Some(last)) =
        (levels.iter().position(|l| *l > floor), levels.iter().rposition(|l| *l > floor))
    else {
        return waveform.clone();
    };
    let frame = ((FRAME_S * f64::from(rate)) as usize).max(1);
    let keep = (keep_s * f64::from(rate)) as usize;
    waveform.slice((first * frame).saturating_sub(keep), (last + 1) * frame + keep)
}

/// Brings the waveform to `target_db` (dBFS for `Peak`, LUFS for `Lufs`). Silence, and clips too short to have a
/// loudness (under 400 ms), stay as they are.
///
/// # Errors
/// A sample rate that loudness is not defined for.
pub fn level_loudness(
    waveform: Waveform,
    kind: LoudnessKind,
    target_db: f64,
) -> Result<Waveform, AudioError> {
    let gain_db = match kind {
        LoudnessKind::None => return Ok(waveform),
        LoudnessKind::Peak => target_db - 20.0 * f64::from(waveform.peak()).log10(),
        LoudnessKind::Lufs => {
            let rate = waveform.sample_rate_hz();
            let refuse = |e: ebur128::Error| AudioError::Unsupported {
                name: format!("a waveform of {rate} Hz"),
                reason: e.to_string(),
            };
            let mut meter = EbuR128::new(1, rate, Mode::I | Mode::TRUE_PEAK).map_err(refuse)?;
            meter.add_frames_f32(waveform.samples()).map_err(refuse)?;
            let loudness = meter.loudness_global().map_err(refuse)?;
            if !loudness.is_finite() {
                return Ok(waveform);
            }
            let true_peak_db = 20.0 * meter.true_peak(0).map_err(refuse)?.log10();
            (target_db - loudness).min(TRUE_PEAK_CEILING_DBTP - true_peak_db)
        }
    };
    if !gain_db.is_finite() {
        return Ok(waveform);
    }
    Ok(waveform.scaled(10_f64.powf(gain_db / 20.0) as f32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(n: usize, gain: f32) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * 0.1).sin() * gain).collect()
    }

    #[test]
    fn silence_around_speech_is_cut_to_the_margin() {
        let mut samples = vec![0.0; 8000];
        samples.extend(tone(16_000, 0.5));
        samples.extend(vec![0.0; 8000]);
        let trimmed = trim_silence(&Waveform::new(samples, 16_000), -40.0, 0.05);
        assert!((trimmed.samples().len() as i64 - 17_600).abs() <= 320, "{}", trimmed.samples().len());
    }

    #[test]
    fn loudness_of_silence_and_short_clips_is_left_alone() {
        for samples in [vec![0.0; 16_000], tone(1600, 0.3)] {
            let input = Waveform::new(samples, 16_000);
            let output = level_loudness(input.clone(), LoudnessKind::Lufs, -23.0).unwrap();
            assert_eq!(input, output);
        }
    }

    #[test]
    fn peak_levelling_reaches_its_target() {
        let output =
            level_loudness(Waveform::new(tone(16_000, 0.1), 16_000), LoudnessKind::Peak, -6.0).unwrap();
        assert!((20.0 * output.peak().log10() + 6.0).abs() < 0.01);
    }
}
