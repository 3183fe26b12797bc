//! Waveforms to 16-bit WAV.

use crate::{AudioError, Waveform};
use harmonica_storage::publish;
use std::io::Cursor;
use std::path::Path;

/// The waveform as the bytes of a 16-bit WAV file; samples beyond full scale are clamped.
///
/// # Errors
/// More samples than a WAV file can hold.
pub fn wav_bytes(waveform: &Waveform) -> Result<Vec<u8>, AudioError> {
    encode(waveform).map_err(|source| AudioError::Encode { duration_s: waveform.duration_s(), source })
}

/// Writes a 16-bit WAV file, beside and renamed, so that no reader ever sees half of it.
///
/// # Errors
/// A directory that is missing or cannot be written to.
pub fn save(path: &Path, waveform: &Waveform) -> Result<(), AudioError> {
    Ok(publish(path, &wav_bytes(waveform)?)?)
}

fn encode(waveform: &Waveform) -> Result<Vec<u8>, hound::Error> {
    if waveform.samples().len() as u64 * 2 > u64::from(u32::MAX) - 64 {
        return Err(hound::Error::TooWide);
    }
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: waveform.sample_rate_hz(),
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut bytes = Cursor::new(Vec::with_capacity(waveform.samples().len() * 2 + 64));
    let mut writer = hound::WavWriter::new(&mut bytes, spec)?;
    for &sample in waveform.samples() {
        writer.write_sample((sample * 32768.0).round().clamp(-32768.0, 32767.0) as i16)?;
    }
    writer.finalize()?;
    Ok(bytes.into_inner())
}
