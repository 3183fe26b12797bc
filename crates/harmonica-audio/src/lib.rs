//! Sound in, sound out, and how good it is.
//!
//! In: audio files of any rate and channel count, or samples. Out: mono [`Waveform`]s, 16-bit WAV files,
//! [`MelSpectrum`] frames, [`PitchTrack`]s and [`QualityStats`].
//! Invariant: a file that decodes short, damaged or with non-finite samples is an error, never a shorter waveform.

mod condition;
mod container;
mod error;
#[cfg(test)]
mod format_tests;
mod load;
mod mel;
mod pitch;
mod quality;
mod resample;
mod save;
mod stft;
mod waveform;

pub use condition::{condition, level_loudness, trim_silence};
pub use error::AudioError;
pub use load::{MAX_FILE_BYTES, MAX_SAMPLES, load, load_bytes, read};
pub use mel::{MEL_FLOOR, MelFilterbank, MelSpectrum, mel_spectrogram};
pub use pitch::{MAX_F0_HZ, MIN_F0_HZ, PitchTrack, pitch_track};
pub use quality::{QualityStats, measure};
pub use realfft::num_complex::Complex;
pub use resample::resample;
pub use save::{save, wav_bytes};
pub use stft::Stft;
pub use waveform::Waveform;
