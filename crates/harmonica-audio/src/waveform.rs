//! A mono signal and its rate.

/// Mono samples in -1..1 at a known rate. Invariant: every sample is finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Waveform {
    samples: Vec<f32>,
    sample_rate_hz: u32,
}

impl Waveform {
    /// Wraps samples; non-finite ones become silence, so that no later stage has to ask.
    pub fn new(mut samples: Vec<f32>, sample_rate_hz: u32) -> Self {
        for sample in &mut samples {
            if !sample.is_finite() {
                *sample = 0.0;
            }
        }
        Self { samples, sample_rate_hz }
    }

    /// The samples.
    pub fn samples(&self) -> &[f32] {
        &self.samples
    }

    /// Samples a second.
    pub fn sample_rate_hz(&self) -> u32 {
        self.sample_rate_hz
    }

    /// Length in seconds.
    pub fn duration_s(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.sample_rate_hz)
    }

    /// Samples `start..end`, clamped to the signal.
    pub fn slice(&self, start: usize, end: usize) -> Self {
        let end = end.min(self.samples.len());
        Self { samples: self.samples[start.min(end)..end].to_vec(), sample_rate_hz: self.sample_rate_hz }
    }

    /// Highest absolute sample.
    pub fn peak(&self) -> f32 {
        self.samples.iter().fold(0.0, |peak, s| peak.max(s.abs()))
    }

    /// Every sample times `gain`.
    pub fn scaled(mut self, gain: f32) -> Self {
        for sample in &mut self.samples {
            *sample *= gain;
        }
        self
    }
}
