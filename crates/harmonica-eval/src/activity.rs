//! When something sounds. In: a waveform; out: levels every 10 ms and which of them are above the floor of silence.
//! Invariant: a waveform without any sound has no active frame.

use harmonica_audio::Waveform;

/// Frames a second.
const FRAMES_PER_S: f64 = 100.0;
/// A frame so far below the loud ones (95th percentile) is silent, in dB.
const FLOOR_DB: f64 = -35.0;
/// A frame below this level is silent whatever the others are, in dBFS.
pub(crate) const SILENCE_DBFS: f64 = -50.0;
/// Shortest silence between sounds that is a pause and no closure of a stop consonant, in seconds.
const PAUSE_S: f64 = 0.15;

/// Levels and activity over time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Activity {
    /// Level of each 10 ms, in dBFS, at least -120.
    pub levels_db: Vec<f64>,
    /// Level of the loud frames (95th percentile), in dBFS.
    pub loud_db: f64,
    /// Which frames sound.
    pub active: Vec<bool>,
}

impl Activity {
    pub(crate) fn of(waveform: &Waveform) -> Self {
        let frame = ((f64::from(waveform.sample_rate_hz()) / FRAMES_PER_S) as usize).max(1);
        let level = |c: &[f32]| {
            let power = c.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / c.len() as f64;
            (10.0 * power.log10()).max(-120.0)
        };
        let levels_db: Vec<f64> = waveform.samples().chunks_exact(frame).map(level).collect();
        let mut sorted = levels_db.clone();
        sorted.sort_by(f64::total_cmp);
        let loud_db = sorted.get(sorted.len() * 95 / 100).copied().unwrap_or(-120.0);
        let floor = (loud_db + FLOOR_DB).max(SILENCE_DBFS);
        let active = levels_db.iter().map(|l| *l > floor).collect();
        Self { levels_db, loud_db, active }
    }

    /// Seconds at the beginning of a frame.
    pub(crate) fn seconds(frames: usize) -> f64 {
        frames as f64 / FRAMES_PER_S
    }

    /// Time that sounds, in seconds.
    pub(crate) fn active_s(&self) -> f64 {
        Self::seconds(self.active.iter().filter(|a| **a).count())
    }

    /// Runs of silence from and to which frame, also at both ends.
    pub(crate) fn silences(&self) -> Vec<(usize, usize)> {
        let mut runs = Vec::new();
        let mut start = None;
        for (t, active) in self.active.iter().copied().chain([true]).enumerate() {
            match (active, start) {
                (false, None) => start = Some(t),
                (true, Some(from)) => {
                    runs.push((from, t));
                    start = None;
                }
                _ => {}
            }
        }
        runs
    }

    /// Silences between the first and the last sound that are long enough to be heard as pauses.
    pub(crate) fn pauses(&self) -> Vec<(usize, usize)> {
        let inner = |(from, to): &(usize, usize)| *from > 0 && *to < self.active.len();
        let long = |(from, to): &(usize, usize)| Self::seconds(to - from) >= PAUSE_S;
        self.silences().into_iter().filter(inner).filter(long).collect()
    }
}
