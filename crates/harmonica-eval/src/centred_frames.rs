//! Frames of speech in which neither level nor colour of the voice count: what is said, not who says it through which microphone.

use harmonica_audio::{MelFilterbank, Stft, Waveform, mel_spectrogram};

/// Mel bands of a frame.
pub(crate) const N_MELS: usize = 24;

/// Log-mel frames every `step_s` seconds, each two and a half steps long, each band without its mean over time.
pub(crate) fn centred_frames(waveform: &Waveform, step_s: f64) -> Vec<[f32; N_MELS]> {
    let rate = waveform.sample_rate_hz();
    let step = ((step_s * f64::from(rate)) as usize).max(1);
    let window = step * 5 / 2;
    let stft = Stft::new(window.next_power_of_two(), window, step);
    let filters = MelFilterbank::new(N_MELS, stft.n_bins(), rate, 60.0, f64::from(rate.min(16_000)) * 0.45);
    let mel = mel_spectrogram(waveform, &stft, &filters);
    let mut frames: Vec<[f32; N_MELS]> = mel.values.as_chunks().0.to_vec();
    for band in 0..N_MELS {
        let mean = frames.iter().map(|f| f[band]).sum::<f32>() / frames.len().max(1) as f32;
        frames.iter_mut().for_each(|f| f[band] -= mean);
    }
    frames
}
