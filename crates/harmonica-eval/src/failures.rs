//! Failures that a listener notices at once, with units.

use harmonica_audio::{MelFilterbank, Stft, Waveform, measure, mel_spectrogram};

/// Quieter than this, in dBFS, is silence.
const SILENCE_DB: f64 = -50.0;
/// Share of samples in clipped runs above which a listener hears it.
const CLIPPED_SHARE: f64 = 0.001;
/// Mean spectral flatness of loud frames (0 tone, 1 white noise) above which it is noise.
const NOISE_FLATNESS: f32 = 0.45;
/// Similarity of a stretch to the stretch before it that counts as a repeat.
const LOOP_SIMILARITY: f32 = 0.97;
/// Shortest loop, in seconds.
const LOOP_S: f64 = 0.2;

/// A failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureKind {
    /// Nothing to hear.
    Silence,
    /// Samples cut at full scale.
    Clipping,
    /// The same stretch three times in a row.
    Looping,
    /// Hiss instead of speech.
    Noise,
}

impl FailureKind {
    /// Name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Clipping => "clipping",
            Self::Looping => "looping",
            Self::Noise => "noise",
        }
    }
}

/// All failures of a waveform.
pub fn detect_failures(waveform: &Waveform) -> Vec<FailureKind> {
    let stats = measure(waveform);
    if waveform.samples().is_empty() || stats.rms_db < SILENCE_DB {
        return vec![FailureKind::Silence];
    }
    let mut failures = Vec::new();
    if stats.clipped_share > CLIPPED_SHARE {
        failures.push(FailureKind::Clipping);
    }
    if loops(waveform) {
        failures.push(FailureKind::Looping);
    }
    if flatness(waveform) > NOISE_FLATNESS {
        failures.push(FailureKind::Noise);
    }
    failures
}

/// Mean spectral flatness of the frames that are at most 30 dB under the loudest.
fn flatness(waveform: &Waveform) -> f32 {
    let stft = Stft::new(512, 512, 256);
    let frames = stft.n_frames(waveform.samples().len());
    let spectrum = stft.analyse(waveform.samples(), 0, frames);
    let rows: Vec<(f32, f32)> = spectrum
        .chunks_exact(stft.n_bins())
        .map(|row| {
            let powers: Vec<f32> = row[1..].iter().map(|c| c.norm_sqr() + 1e-12).collect();
            let mean = powers.iter().sum::<f32>() / powers.len() as f32;
            let log_mean = powers.iter().map(|p| p.ln()).sum::<f32>() / powers.len() as f32;
            (mean, log_mean.exp() / mean)
        })
        .collect();
    let loudest = rows.iter().fold(0.0_f32, |a, r| a.max(r.0));
    let loud: Vec<f32> = rows.iter().filter(|r| r.0 > loudest * 1e-3).map(|r| r.1).collect();
    loud.iter().sum::<f32>() / loud.len().max(1) as f32
}

/// Whether some stretch of at least [`LOOP_S`] is followed by itself twice: phrases, not pitch periods.
fn loops(waveform: &Waveform) -> bool {
    let rate = waveform.sample_rate_hz();
    let step = (rate / 50) as usize;
    let fft = (2 * step).next_power_of_two();
    let stft = Stft::new(fft, 2 * step, step);
    let filters = MelFilterbank::new(24, stft.n_bins(), rate, 60.0, f64::from(rate) * 0.45);
    let mel = mel_spectrogram(waveform, &stft, &filters);
    let n = mel.n_frames();
    let frame = |t: usize| &mel.values[t * 24..(t + 1) * 24];
    let first_lag = (LOOP_S * 50.0) as usize;
    (first_lag..=n / 3).any(|lag| {
        // Correlation of two neighbouring stretches of 2 x lag frames: three repeats in a row.
        (0..=n - 3 * lag).step_by((lag / 4).max(1)).any(|start| {
            let span = 2 * lag;
            let values = |offset: usize| (start + offset..start + offset + span).flat_map(frame).copied();
            correlation(values(0), values(lag)) > LOOP_SIMILARITY
        })
    })
}

/// Pearson correlation; 0 where one side hardly varies (a held vowel is no loop).
fn correlation(a: impl Iterator<Item = f32> + Clone, b: impl Iterator<Item = f32> + Clone) -> f32 {
    let n = a.clone().count().max(1) as f32;
    let mean = |x: f32| x / n;
    let (ma, mb) = (mean(a.clone().sum()), mean(b.clone().sum()));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.zip(b) {
        ab += (x - ma) * (y - mb);
        aa += (x - ma).powi(2);
        bb += (y - mb).powi(2);
    }
    if aa / n < 0.5 || bb / n < 0.5 { 0.0 } else { ab / (aa * bb).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize, gain: f32, seed: u64) -> Vec<f32> {
        let mut state = seed;
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((state >> 33) as f32 / (1_u64 << 30) as f32 - 1.0) * gain
            })
            .collect()
    }

    /// Syllables of changing pitch and length.
    fn speech(n_syllables: usize, seed: u64) -> Vec<f32> {
        let draws = noise(n_syllables * 3, 1.0, seed);
        let mut out = Vec::new();
        for d in draws.chunks_exact(3) {
            let (pitch, length) = (150.0 + 60.0 * d[0], 2400.0 + 1200.0 * d[1]);
            let formant = 8.0 + 6.0 * d[2];
            out.extend((0..length as usize).map(|i| {
                let t = i as f32 / 16_000.0;
                let envelope = (std::f32::consts::PI * i as f32 / length).sin();
                let buzz = |k: i32| {
                    (std::f32::consts::TAU * pitch * k as f32 * t).sin() / (1.0 + (k as f32 - formant).abs())
                };
                (1..24).map(buzz).sum::<f32>() * 0.15 * envelope
            }));
        }
        out
    }

    #[test]
    fn planted_failures_are_found_and_clean_speech_is_not() {
        let kinds = |samples: Vec<f32>| detect_failures(&Waveform::new(samples, 16_000));
        for seed in 1..20 {
            assert_eq!(kinds(speech(12, seed)), [], "clean {seed}");
            assert_eq!(kinds(speech(2, seed).repeat(5)), [FailureKind::Looping], "loop {seed}");
            assert_eq!(kinds(noise(24_000, 0.2, seed)), [FailureKind::Noise], "noise {seed}");
            let clipped = speech(12, seed).into_iter().map(|s| (s * 12.0).clamp(-1.0, 1.0)).collect();
            assert!(kinds(clipped).contains(&FailureKind::Clipping), "clipped {seed}");
        }
        assert_eq!(kinds(vec![0.0; 16_000]), [FailureKind::Silence]);
        assert_eq!(kinds(Vec::new()), [FailureKind::Silence]);
    }
}
