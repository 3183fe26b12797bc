//! `load_bytes`: accepted audio is finite, plausible, as long as its own header says, and survives being written.
#![no_main]

use harmonica_audio::{load_bytes, wav_bytes};
use libfuzzer_sys::fuzz_target;
use std::sync::Once;

/// The decoder's panics are contained by `load_bytes` and must not end the run; uncontained ones still do, after their words.
fn contain_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            if std::env::var_os("FUZZ_SHOW_PANICS").is_some() {
                eprintln!("{panic}");
            }
        }));
    });
}

/// Frames that a file's own header declares, read without the decoder; `None` where this reader is not sure.
fn declared_frames(bytes: &[u8]) -> Option<u64> {
    let chunk = |id: &[u8], big_endian: bool| -> Option<&[u8]> {
        let mut at = 12;
        loop {
            let size: [u8; 4] = bytes.get(at + 4..at + 8)?.try_into().ok()?;
            let size = if big_endian { u32::from_be_bytes(size) } else { u32::from_le_bytes(size) } as usize;
            if bytes.get(at..at + 4)? == id {
                return bytes.get(at + 8..at + 8 + size);
            }
            at += 8 + size + size % 2;
        }
    };
    match (bytes.get(..4)?, bytes.get(8..12)?) {
        (b"RIFF", b"WAVE") => {
            let format = chunk(b"fmt ", false)?;
            let is_pcm = [[1, 0], [3, 0]].iter().any(|tag| format.starts_with(tag));
            let frame_bytes = u64::from(u16::from_le_bytes(format.get(12..14)?.try_into().ok()?));
            (is_pcm && frame_bytes > 0).then_some(chunk(b"data", false)?.len() as u64 / frame_bytes)
        }
        (b"FORM", b"AIFF") => {
            Some(u64::from(u32::from_be_bytes(chunk(b"COMM", true)?.get(2..6)?.try_into().ok()?)))
        }
        (b"fLaC", _) if bytes.get(4)? & 0x7f == 0 => {
            let total: [u8; 8] = bytes.get(18..26)?.try_into().ok()?;
            Some(u64::from_be_bytes(total) & 0xf_ffff_ffff).filter(|frames| *frames > 0)
        }
        _ => None,
    }
}

fuzz_target!(|data: &[u8]| {
    contain_panics();
    let Ok(waveform) = load_bytes(data, "input") else { return };
    let n = waveform.samples().len();
    assert!(n > 0 && waveform.samples().iter().all(|sample| sample.is_finite()));
    assert!((4_000..=384_000).contains(&waveform.sample_rate_hz()));
    if let Some(declared) = declared_frames(data) {
        assert_eq!(n as u64, declared, "accepted with another length than declared");
    }
    if n < 100_000 {
        let written = wav_bytes(&waveform).expect("a short waveform fits a WAV file");
        let back = load_bytes(&written, "written").expect("what was written is read");
        assert_eq!((back.samples().len(), back.sample_rate_hz()), (n, waveform.sample_rate_hz()));
    }
});
