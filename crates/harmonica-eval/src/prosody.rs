//! How something is said: pitch, rate, pauses, and how far the pitch is from a natural reading's.
//!
//! In: a waveform, its text, a natural reading where there is one. Out: [`Prosody`].
//! Invariant: a figure that a waveform does not have (no voice, no text, nothing to compare with) is absent.

use crate::activity::Activity;
use crate::centred_frames::{N_MELS, centred_frames};
use crate::word_errors::words;
use harmonica_audio::{PitchTrack, Waveform, pitch_track};
use harmonica_config_schema::record::Prosody;

/// Pairs of frames beyond which nothing is aligned: an alignment remembers each pair.
const MAX_CELLS: usize = 1 << 26;

/// Characters that are spoken: of the normalized text, without spaces and punctuation.
pub(crate) fn n_characters(text: &str) -> usize {
    words(text).iter().map(|w| w.chars().count()).sum()
}

/// Measures how a waveform is said; with a natural reading of the same text also the distance of their pitch.
pub fn measure_prosody(waveform: &Waveform, text: &str, natural: Option<&Waveform>) -> Prosody {
    let track = pitch_track(waveform);
    let activity = Activity::of(waveform);
    let active_s = activity.active_s();
    if active_s == 0.0 {
        return Prosody::default();
    }
    let n_voiced = track.f0_hz.iter().flatten().count();
    let n_characters = n_characters(text);
    let pauses = activity.pauses();
    Prosody {
        f0_median_hz: track.median_hz(),
        f0_spread_semitones: track.spread_semitones(),
        voiced_ratio: Some((n_voiced as f64 * track.step_s / active_s).min(1.0)),
        active_s: Some(active_s),
        characters_per_s: (n_characters > 0).then(|| n_characters as f64 / active_s),
        n_pauses: Some(pauses.len() as f64),
        pauses_s: Some(Activity::seconds(pauses.iter().map(|(from, to)| to - from).sum())),
        f0_error_cents: natural.and_then(|natural| f0_error_cents(waveform, &track, natural)),
    }
}

/// Root mean square pitch difference in cents over aligned frames that are voiced in both.
fn f0_error_cents(waveform: &Waveform, track: &PitchTrack, natural: &Waveform) -> Option<f64> {
    let reference = pitch_track(natural);
    let path = align(&centred_frames(waveform, track.step_s), &centred_frames(natural, track.step_s))?;
    let pairs =
        path.into_iter().filter_map(|(i, j)| Some(((*track.f0_hz.get(i)?)?, (*reference.f0_hz.get(j)?)?)));
    let squares: Vec<f64> = pairs.map(|(a, b)| (1200.0 * (a / b).log2()).powi(2)).collect();
    (!squares.is_empty()).then(|| (squares.iter().sum::<f64>() / squares.len() as f64).sqrt())
}

/// Dynamic time warping (Sakoe & Chiba 1978) with unit steps: the pairs of frames on the cheapest path.
fn align(a: &[[f32; N_MELS]], b: &[[f32; N_MELS]]) -> Option<Vec<(usize, usize)>> {
    if a.is_empty() || b.is_empty() || a.len().saturating_mul(b.len()) > MAX_CELLS {
        return None;
    }
    let distance = |x: &[f32; N_MELS], y: &[f32; N_MELS]| -> f32 {
        x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum::<f32>().sqrt()
    };
    // Steps back: 0 both, 1 in `a` alone, 2 in `b` alone.
    let mut steps = vec![0_u8; a.len() * b.len()];
    let mut before = vec![f32::INFINITY; b.len()];
    for (i, x) in a.iter().enumerate() {
        let mut now = vec![f32::INFINITY; b.len()];
        for (j, y) in b.iter().enumerate() {
            let both = if i == 0 && j == 0 {
                0.0
            } else if j == 0 {
                f32::INFINITY
            } else {
                before[j - 1]
            };
            let left = if j == 0 { f32::INFINITY } else { now[j - 1] };
            let options = [(both, 0), (before[j], 1), (left, 2)];
            let (cost, step) =
                options.into_iter().fold((f32::INFINITY, 0), |best, o| if o.0 < best.0 { o } else { best });
            now[j] = cost + distance(x, y);
            steps[i * b.len() + j] = step;
        }
        before = now;
    }
    let (mut i, mut j) = (a.len() - 1, b.len() - 1);
    let mut path = vec![(i, j)];
    while (i, j) != (0, 0) {
        match steps[i * b.len() + j] {
            0 => (i, j) = (i.saturating_sub(1), j.saturating_sub(1)),
            1 => i = i.saturating_sub(1),
            _ => j = j.saturating_sub(1),
        }
        path.push((i, j));
    }
    path.reverse();
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Syllables of 0.2 s with a pitch of `hz` at time `t`, every second one brighter, said `stretch` times as long.
    fn reading(hz: impl Fn(f64) -> f64, stretch: f64) -> Waveform {
        let mut phase = 0.0;
        let samples = (0..(16_000.0 * 1.2 * stretch) as usize).map(|n| {
            let t = n as f64 / 16_000.0 / stretch;
            phase += hz(t) / 16_000.0;
            let formant = [3.0, 9.0, 5.0][(t / 0.2) as usize % 3];
            let partial = |k: f64| (std::f64::consts::TAU * k * phase).sin() / (1.0 + (k - formant).abs());
            let envelope = (std::f64::consts::PI * t / 0.2).sin().abs();
            (0.1 * envelope * (1..16).map(|k| partial(f64::from(k))).sum::<f64>()) as f32
        });
        Waveform::new(samples.collect(), 16_000)
    }

    #[test]
    fn pitch_differs_by_the_interval_between_two_readings_whatever_their_rate() {
        let natural = reading(|t| 150.0 - 20.0 * t, 1.0);
        let high = reading(|t| (150.0 - 20.0 * t) * 2_f64.powf(2.0 / 12.0), 1.2);
        let same = measure_prosody(&natural, "one two", Some(&natural)).f0_error_cents.unwrap();
        let other = measure_prosody(&high, "one two", Some(&natural)).f0_error_cents.unwrap();
        assert!(same < 1e-6 && (other - 200.0).abs() < 25.0, "{same} {other}");
    }

    #[test]
    fn rate_and_pauses_are_measured_in_sounding_time() {
        let reading = reading(|_| 120.0, 1.0);
        let mut samples = vec![0.0; 8_000];
        samples.extend(reading.samples());
        samples.extend(vec![0.0; 6_400]);
        samples.extend(reading.samples());
        samples.extend(vec![0.0; 8_000]);
        let prosody = measure_prosody(&Waveform::new(samples, 16_000), "Five, 6!", None);
        let once = measure_prosody(&reading, "five six", None);
        assert_eq!(prosody.n_pauses, Some(1.0));
        assert!((prosody.pauses_s.unwrap() - 0.4).abs() < 0.05, "{prosody:?}");
        assert!((once.active_s.unwrap() * 2.0 - prosody.active_s.unwrap()).abs() < 0.05, "{prosody:?}");
        assert!((prosody.characters_per_s.unwrap() * prosody.active_s.unwrap() - 7.0).abs() < 1e-9);
        assert!((prosody.f0_median_hz.unwrap() - 120.0).abs() < 1.0 && prosody.f0_error_cents.is_none());
    }

    #[test]
    fn what_a_waveform_does_not_have_is_absent() {
        let silence = Waveform::new(vec![0.0; 16_000], 16_000);
        assert_eq!(measure_prosody(&silence, "one", Some(&silence)), Prosody::default());
    }
}
