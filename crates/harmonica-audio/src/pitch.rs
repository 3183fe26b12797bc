//! Fundamental frequency of speech. In: a [`Waveform`]; out: a [`PitchTrack`], one frame every 10 ms.
//!
//! YIN (de Cheveigné & Kawahara 2002, J. Acoust. Soc. Am. 111:1917): the cumulative mean normalized difference gives each frame
//! its candidate periods; the path through the candidates is the cheapest one under costs for octave jumps and for changes of
//! voicing, as in Boersma 1993 (Proc. IFA 17:97), so that a single frame never jumps an octave by itself.
//! Invariant: a frame is voiced, with a frequency between [`MIN_F0_HZ`] and [`MAX_F0_HZ`], or it is absent, never 0 Hz.

use crate::Waveform;

/// Lowest fundamental frequency that is searched, in Hz.
pub const MIN_F0_HZ: f64 = 60.0;
/// Highest fundamental frequency that is searched, in Hz.
pub const MAX_F0_HZ: f64 = 500.0;

/// Time between frames, in seconds.
const STEP_S: f64 = 0.01;
/// Stretch over which two periods are compared, in seconds.
const WINDOW_S: f64 = 0.02;
/// Share of aperiodic power that calling a frame unvoiced costs as much as.
const UNVOICED_COST: f64 = 0.30;
/// Frames whose level is so far below the loudest are unvoiced, in dB.
const FLOOR_DB: f64 = -35.0;
/// Cost of a jump by one octave between frames.
const OCTAVE_JUMP_COST: f64 = 0.8;
/// Cost of a change between voiced and unvoiced.
const VOICING_COST: f64 = 0.12;
/// Cost of a period for each octave that it is longer than the shortest one: multiples of the period fit as well as it does.
const OCTAVE_COST: f64 = 0.03;
/// Candidate periods a frame.
const N_CANDIDATES: usize = 6;

/// Fundamental frequency and periodicity over time.
#[derive(Debug, Clone, PartialEq)]
pub struct PitchTrack {
    /// Time between frames, in seconds; frame `t` is centred on `(t + 1/2) * step_s`.
    pub step_s: f64,
    /// Fundamental frequency of each frame in Hz; absent where it is unvoiced.
    pub f0_hz: Vec<Option<f64>>,
    /// Share of each frame's power that no period explains, 0 (periodic) to about 1 (noise).
    pub aperiodicity: Vec<f64>,
    /// Mean square of each frame's samples.
    pub power: Vec<f64>,
}

impl PitchTrack {
    /// Median of the voiced frames, in Hz; absent without one.
    pub fn median_hz(&self) -> Option<f64> {
        let mut voiced: Vec<f64> = self.f0_hz.iter().copied().flatten().collect();
        voiced.sort_by(f64::total_cmp);
        let middle = voiced.len() / 2;
        match voiced.len() {
            0 => None,
            n if n % 2 == 1 => Some(voiced[middle]),
            _ => Some((voiced[middle - 1] + voiced[middle]) / 2.0),
        }
    }

    /// Standard deviation of the voiced frames in semitones; absent with fewer than two.
    pub fn spread_semitones(&self) -> Option<f64> {
        let tones: Vec<f64> = self.f0_hz.iter().flatten().map(|hz| 12.0 * hz.log2()).collect();
        if tones.len() < 2 {
            return None;
        }
        let mean = tones.iter().sum::<f64>() / tones.len() as f64;
        Some((tones.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / tones.len() as f64).sqrt())
    }

    /// Share of the power that no period explains, over all frames weighted by their power; absent in digital silence.
    pub fn aperiodic_share(&self) -> Option<f64> {
        let total: f64 = self.power.iter().sum();
        let aperiodic: f64 = self.power.iter().zip(&self.aperiodicity).map(|(p, a)| p * a.min(1.0)).sum();
        (total > 0.0).then(|| aperiodic / total)
    }
}

/// One period that a frame may have.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    hz: f64,
    cost: f64,
}

/// Tracks the fundamental frequency of a waveform.
pub fn pitch_track(waveform: &Waveform) -> PitchTrack {
    let rate = f64::from(waveform.sample_rate_hz());
    let samples = waveform.samples();
    let n_frames = if rate > 0.0 { (waveform.duration_s() / STEP_S) as usize } else { 0 };
    let (shortest, longest) = ((rate / MAX_F0_HZ) as usize, (rate / MIN_F0_HZ).ceil() as usize);
    let window = (WINDOW_S * rate) as usize;
    let mut track = PitchTrack {
        step_s: STEP_S,
        f0_hz: vec![None; n_frames],
        aperiodicity: vec![1.0; n_frames],
        power: vec![0.0; n_frames],
    };
    if shortest < 2 || window == 0 {
        return track;
    }
    let mut candidates: Vec<Vec<Candidate>> = Vec::with_capacity(n_frames);
    let mut stretch = vec![0.0_f32; window + longest + 2];
    for frame in 0..n_frames {
        let first = ((frame as f64 + 0.5) * STEP_S * rate) as isize - (stretch.len() / 2) as isize;
        for (i, s) in stretch.iter_mut().enumerate() {
            let at = first + i as isize;
            *s = if at >= 0 { samples.get(at as usize).copied().unwrap_or(0.0) } else { 0.0 };
        }
        let difference = normalized_difference(&stretch, window, longest + 1);
        track.power[frame] =
            stretch.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / stretch.len() as f64;
        let found = dips(&difference, shortest, longest, rate);
        track.aperiodicity[frame] = found.iter().map(|c| c.cost).fold(1.0, f64::min);
        candidates.push(found);
    }
    let loudest = track.power.iter().copied().fold(0.0, f64::max);
    let floor = loudest * 10_f64.powf(FLOOR_DB / 10.0);
    for (found, power) in candidates.iter_mut().zip(&track.power) {
        if *power <= floor.max(1e-12) {
            found.clear();
        }
    }
    track.f0_hz = cheapest_path(&candidates);
    track
}

/// The cumulative mean normalized difference for lags `0..=longest` (YIN, equation 8).
fn normalized_difference(stretch: &[f32], window: usize, longest: usize) -> Vec<f64> {
    let mut out = vec![1.0; longest + 1];
    let mut sum = 0.0;
    for (lag, value) in out.iter_mut().enumerate().skip(1) {
        // Both windows together lie around the middle of the stretch, whatever the lag.
        let first = (stretch.len() - window - lag) / 2;
        let a = &stretch[first..first + window];
        let b = &stretch[first + lag..first + lag + window];
        let difference = f64::from(a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>());
        sum += difference;
        *value = if sum > 0.0 { difference * lag as f64 / sum } else { 1.0 };
    }
    out
}

/// Dips of the difference as candidates, refined by parabolas; the deepest ones.
fn dips(difference: &[f64], shortest: usize, longest: usize, rate: f64) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = (shortest.max(1)..=longest.min(difference.len().saturating_sub(2)))
        .filter(|&lag| difference[lag] < difference[lag - 1] && difference[lag] <= difference[lag + 1])
        .map(|lag| {
            let (a, b, c) = (difference[lag - 1], difference[lag], difference[lag + 1]);
            let bend = a - 2.0 * b + c;
            let shift = if bend > 0.0 { (0.5 * (a - c) / bend).clamp(-0.5, 0.5) } else { 0.0 };
            Candidate { hz: rate / (lag as f64 + shift), cost: (b - 0.25 * (a - c) * shift).max(0.0) }
        })
        .filter(|c| (MIN_F0_HZ..=MAX_F0_HZ).contains(&c.hz))
        .collect();
    found.sort_by(|a, b| a.cost.total_cmp(&b.cost));
    found.truncate(N_CANDIDATES);
    found
}

/// The path of least cost through all frames (Viterbi); state 0 is unvoiced.
fn cheapest_path(candidates: &[Vec<Candidate>]) -> Vec<Option<f64>> {
    let states = |found: &[Candidate]| -> Vec<(Option<f64>, f64)> {
        let voiced = found.iter().map(|c| (Some(c.hz), c.cost + OCTAVE_COST * (MAX_F0_HZ / c.hz).log2()));
        std::iter::once((None, UNVOICED_COST)).chain(voiced).collect()
    };
    let step = |from: Option<f64>, to: Option<f64>| match (from, to) {
        (Some(a), Some(b)) => OCTAVE_JUMP_COST * (a / b).log2().abs(),
        (None, None) => 0.0,
        _ => VOICING_COST,
    };
    let mut before: Vec<(Option<f64>, f64)> = Vec::new();
    let mut choices: Vec<Vec<usize>> = Vec::with_capacity(candidates.len());
    for found in candidates {
        let mut now = states(found);
        let mut choice = vec![0; now.len()];
        for ((hz, cost), chosen) in now.iter_mut().zip(&mut choice) {
            let best = before.iter().enumerate().map(|(i, (from, sum))| (i, sum + step(*from, *hz)));
            if let Some((i, sum)) = best.min_by(|a, b| a.1.total_cmp(&b.1)) {
                (*chosen, *cost) = (i, *cost + sum);
            }
        }
        choices.push(choice);
        before = now;
    }
    let last = before.iter().enumerate().min_by(|a, b| a.1.1.total_cmp(&b.1.1)).map_or(0, |(i, _)| i);
    let mut state = last;
    let mut path = vec![None; candidates.len()];
    for (t, choice) in choices.iter().enumerate().rev() {
        path[t] = state.checked_sub(1).and_then(|i| candidates[t].get(i)).map(|c| c.hz);
        state = choice.get(state).copied().unwrap_or(0);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// A buzz whose pitch glides by an octave.
    fn glide(rate: u32, from_hz: f64) -> (Waveform, impl Fn(f64) -> f64) {
        let hz = move |t: f64| from_hz * 2_f64.powf(t);
        let mut phase = 0.0;
        let samples = (0..rate)
            .map(|n| {
                phase += hz(f64::from(n) / f64::from(rate)) / f64::from(rate);
                let partial = |k: f64| (std::f64::consts::TAU * k * phase).sin() / k;
                (0.2 * (1..8).map(|k| partial(f64::from(k))).sum::<f64>()) as f32
            })
            .collect();
        (Waveform::new(samples, rate), hz)
    }

    #[test]
    fn a_glide_is_followed_at_every_rate() {
        for (rate, from_hz) in [(16_000, 80.0), (24_000, 120.0), (44_100, 200.0), (8_000, 100.0)] {
            let (waveform, hz) = glide(rate, from_hz);
            let track = pitch_track(&waveform);
            assert_eq!(track.f0_hz.len(), 100);
            for (t, found) in track.f0_hz.iter().enumerate().skip(3).take(94) {
                let cents = 1200.0 * (found.unwrap() / hz((t as f64 + 0.5) * track.step_s)).log2();
                assert!(cents.abs() < 15.0, "{rate} Hz, frame {t}: {cents} cents");
            }
        }
    }

    #[test]
    fn noise_silence_and_short_waveforms_have_no_pitch() {
        let mut state = 1_u64;
        let noise = (0..16_000).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f32 / (1_u64 << 31) as f32 - 0.5
        });
        let track = pitch_track(&Waveform::new(noise.collect(), 16_000));
        assert!(track.f0_hz.iter().flatten().count() <= 2, "{:?}", track.median_hz());
        assert!(track.aperiodic_share().unwrap() > 0.6);
        for samples in [vec![0.0; 16_000], vec![0.5; 16_000], vec![], vec![1.0; 3]] {
            let track = pitch_track(&Waveform::new(samples, 16_000));
            assert_eq!((track.median_hz(), track.spread_semitones()), (None, None));
        }
        assert_eq!(pitch_track(&Waveform::new(vec![0.1; 4], 0)).f0_hz.len(), 0);
    }

    /// Praat's tracker on nine utterances of three voices (`tools/golden_pitch.py`).
    #[test]
    fn pitch_agrees_with_an_independent_tracker() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../tests/golden/pitch.json")).unwrap();
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo-corpus");
        let mut all = Vec::new();
        for row in golden["utterances"].as_array().unwrap() {
            let whole = crate::load(&corpus.join(row["stream"].as_str().unwrap())).unwrap();
            let first = row["first_sample"].as_u64().unwrap() as usize;
            let waveform = whole.slice(first, first + row["n_samples"].as_u64().unwrap() as usize);
            let track = pitch_track(&waveform);
            let expected: Vec<Option<f64>> = serde_json::from_value(row["f0_hz"].clone()).unwrap();
            assert_eq!(track.f0_hz.len(), expected.len(), "{}", row["id"]);
            let mut cents: Vec<f64> = Vec::new();
            let (mut same, mut voiced) = (0, 0);
            for (found, wanted) in track.f0_hz.iter().zip(&expected) {
                same += usize::from(found.is_some() == wanted.is_some());
                voiced += usize::from(wanted.is_some());
                if let (Some(found), Some(wanted)) = (found, wanted) {
                    cents.push(1200.0 * (found / wanted).log2().abs());
                }
            }
            cents.sort_by(f64::total_cmp);
            let median = cents[cents.len() / 2];
            let gross = cents.iter().filter(|c| **c > 600.0).count();
            println!(
                "{} median {median:.1} cents, {} common of {voiced} voiced, voicing equal {same} of {}, {gross} octave errors",
                row["id"],
                cents.len(),
                expected.len()
            );
            assert!(median <= 20.0, "{}: {median} cents", row["id"]);
            assert!(cents.len() * 10 >= voiced * 8, "{}: {} of {voiced} voiced", row["id"], cents.len());
            assert!(gross * 50 <= cents.len(), "{}: {gross} octave errors", row["id"]);
            all.extend(cents);
        }
        all.sort_by(f64::total_cmp);
        println!("all: median {:.2} cents over {} frames", all[all.len() / 2], all.len());
        assert!(all[all.len() / 2] <= 20.0 && all.len() > 500);
    }
}
