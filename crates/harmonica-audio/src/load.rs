//! Files to mono waveforms, by symphonia.
//!
//! Damage is never silent: a lost packet, a frame count that differs from the declared one, a FLAC checksum that
//! does not match and a parser's panic are all errors. Bounded by [`MAX_SAMPLES`] and
//! [`MAX_FILE_BYTES`].

use crate::container::{MpegTally, contradiction};
use crate::{AudioError, Waveform};
use std::io::{Cursor, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_AAC, CODEC_ID_OPUS};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::well_known::{
    FORMAT_ID_MP1, FORMAT_ID_MP2, FORMAT_ID_MP3, FORMAT_ID_OGG, FORMAT_ID_WAVE,
};
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream, ReadOnlySource};
use symphonia::core::meta::MetadataOptions;

/// Most samples of all channels that are read into memory (512 MiB): more than two hours at 16 kHz.
pub const MAX_SAMPLES: usize = 1 << 27;

/// Largest file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 1 << 30;

/// Reads a file as a mono waveform at its own rate; channels are averaged.
///
/// # Errors
/// A missing, unsupported, damaged or too long file; each names the file and what to do.
pub fn load(path: &Path) -> Result<Waveform, AudioError> {
    load_bytes(&read(path)?, &path.display().to_string())
}

/// The bytes of an audio file, undecoded.
///
/// # Errors
/// A file that is missing, too large, or none that ends.
pub fn read(path: &Path) -> Result<Vec<u8>, AudioError> {
    let read_error = |source| AudioError::Read { path: path.to_owned(), source };
    // Anything but a regular file (a FIFO, a device) could block for ever.
    let metadata = std::fs::metadata(path).map_err(read_error)?;
    if !metadata.is_file() {
        return Err(read_error(std::io::Error::new(ErrorKind::InvalidInput, "not a regular file")));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(AudioError::TooLarge {
            path: path.to_owned(),
            bytes: metadata.len(),
            max_bytes: MAX_FILE_BYTES,
        });
    }
    std::fs::read(path).map_err(read_error)
}

/// Decodes the bytes of an audio file; `name` stands for it in errors.
///
/// # Errors
/// As [`load`], without the file system's.
pub fn load_bytes(bytes: &[u8], name: &str) -> Result<Waveform, AudioError> {
    if let Some(reason) = contradiction(bytes) {
        return Err(damaged(name, reason));
    }
    let decoded = catch_unwind(AssertUnwindSafe(|| decode(bytes, name)))
        .unwrap_or_else(|_| Err(damaged(name, "the parser gave up on malformed data")))?;
    if let Some(reason) = decoded.damage() {
        return Err(damaged(name, reason));
    }
    let channels = decoded.channels;
    let mono = if channels == 1 {
        decoded.samples
    } else {
        decoded
            .samples
            .chunks_exact(channels)
            .map(|frame| frame.iter().sum::<f32>() / channels as f32)
            .collect()
    };
    Ok(Waveform::new(mono, decoded.rate_hz))
}

struct Decoded {
    samples: Vec<f32>,
    rate_hz: u32,
    channels: usize,
    declared_frames: Option<u64>,
    lost_packets: u64,
    early_end: bool,
    chained: bool,
    checksum_ok: Option<bool>,
    tolerance_frames: u64,
    is_wav: bool,
    mpeg_damage: Option<&'static str>,
}

impl Decoded {
    fn damage(&self) -> Option<&'static str> {
        let frames = (self.samples.len() / self.channels) as u64;
        if self.checksum_ok == Some(false) {
            return Some("its FLAC checksum does not match");
        }
        if self.lost_packets > 0 {
            return Some("packets cannot be decoded");
        }
        if self.mpeg_damage.is_some() {
            return self.mpeg_damage;
        }
        if self.chained {
            return Some("several streams are chained in it");
        }
        if let Some(declared) = self.declared_frames {
            if frames + self.tolerance_frames < declared {
                return Some("it ends before its declared length");
            }
            if frames > declared {
                return Some("it is longer than its declared length");
            }
        }
        // A WAV of unknown length (as a pipe writes it) always ends like a truncated one.
        if self.early_end && !(self.is_wav && self.declared_frames.is_none()) {
            return Some("it is truncated");
        }
        self.samples.iter().any(|s| !s.is_finite()).then_some("it holds samples that are not numbers")
    }
}

fn damaged(name: &str, reason: &str) -> AudioError {
    AudioError::Damaged { name: name.to_owned(), reason: reason.to_owned() }
}

fn open<'a>(bytes: &'a [u8], name: &str, seekable: bool) -> Result<Box<dyn FormatReader + 'a>, AudioError> {
    let cursor = Cursor::new(bytes);
    let source: Box<dyn MediaSource + 'a> =
        if seekable { Box::new(cursor) } else { Box::new(ReadOnlySource::new(cursor)) };
    let stream = MediaSourceStream::new(source, Default::default());
    let mut hint = Hint::new();
    if let Some(extension) = Path::new(name).extension().and_then(|e| e.to_str()) {
        hint.with_extension(extension);
    }
    symphonia::default::get_probe()
        .probe(&hint, stream, FormatOptions::default(), MetadataOptions::default())
        .map_err(|error| unsupported_or_damaged(name, &error))
}

fn unsupported_or_damaged(name: &str, error: &SymphoniaError) -> AudioError {
    match error {
        SymphoniaError::Unsupported(reason) => {
            AudioError::Unsupported { name: name.to_owned(), reason: (*reason).to_owned() }
        }
        other => damaged(name, &other.to_string()),
    }
}

fn decode(bytes: &[u8], name: &str) -> Result<Decoded, AudioError> {
    let too_long = |rate_hz: u32, channels: usize| {
        let max_s = MAX_SAMPLES as f64 / (f64::from(rate_hz.max(1)) * channels.max(1) as f64);
        AudioError::TooLong { name: name.to_owned(), max_s }
    };
    let mut format = open(bytes, name, true)?;
    let format_id = format.format_info().format;
    let is_mpeg = [FORMAT_ID_MP1, FORMAT_ID_MP2, FORMAT_ID_MP3].contains(&format_id);
    if is_mpeg {
        // On a seekable source the length of an untagged MP3 is a guess, and the tail beyond it is dropped.
        format = open(bytes, name, false)?;
    }
    let no_audio = || damaged(name, "it holds no audio track");
    let track = format.default_track(TrackType::Audio).ok_or_else(no_audio)?;
    let track_id = track.id;
    let params = track.codec_params.as_ref().and_then(|p| p.audio()).ok_or_else(no_audio)?.clone();
    if params.codec == CODEC_ID_OPUS {
        return Err(AudioError::Unsupported {
            name: name.to_owned(),
            reason: "Opus is not supported".into(),
        });
    }
    if let (Some(frames), Some(rate)) = (track.num_frames, params.sample_rate)
        && (MAX_SAMPLES as u64..i64::MAX as u64).contains(&frames)
    {
        return Err(too_long(rate, 1));
    }
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(&params, &AudioDecoderOptions::default().verify(true))
        .map_err(|error| unsupported_or_damaged(name, &error))?;
    let (mut samples, mut packet_samples) = (Vec::<f32>::new(), Vec::<f32>::new());
    let (mut rate_hz, mut channels, mut lost_packets) = (0_u32, 0_usize, 0_u64);
    let (mut early_end, mut chained) = (false, false);
    let mut tally = MpegTally::default();
    loop {
        let packet = match format.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            Err(SymphoniaError::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                early_end = true;
                break;
            }
            Err(SymphoniaError::ResetRequired) => {
                chained = true;
                break;
            }
            Err(error) => return Err(damaged(name, &error.to_string())),
        };
        if packet.track_id != track_id {
            continue;
        }
        tally.count(&packet);
        match decoder.decode(&packet) {
            Ok(buffer) => {
                if buffer.frames() == 0 {
                    continue;
                }
                let found = (buffer.spec().rate(), buffer.spec().channels().count());
                if rate_hz == 0 {
                    if !(4_000..=384_000).contains(&found.0) || !(1..=16).contains(&found.1) {
                        let reason =
                            format!("{} Hz with {} channels is not a plausible recording", found.0, found.1);
                        return Err(damaged(name, &reason));
                    }
                    (rate_hz, channels) = found;
                } else if found != (rate_hz, channels) {
                    return Err(damaged(name, "its rate or channel count changes midway"));
                }
                buffer.copy_to_vec_interleaved(&mut packet_samples);
                samples.extend_from_slice(&packet_samples);
                if samples.len() > MAX_SAMPLES {
                    return Err(too_long(rate_hz, channels));
                }
            }
            Err(SymphoniaError::DecodeError(_) | SymphoniaError::IoError(_)) => lost_packets += 1,
            Err(error) => return Err(damaged(name, &error.to_string())),
        }
    }
    if samples.is_empty() {
        return Err(damaged(name, "it holds no samples"));
    }
    let checksum_ok = decoder.finalize().verify_ok;
    // Read again: an Ogg stream declares its length on its last page, as an end time.
    let declared_frames = format.tracks().iter().find(|t| t.id == track_id).and_then(|track| {
        let frames = track.num_frames.filter(|frames| *frames <= i64::MAX as u64)?;
        if format_id == FORMAT_ID_OGG {
            let start = track.start_ts.get().saturating_add(i64::from(track.delay.unwrap_or(0))).max(0);
            frames.checked_sub(start as u64)
        } else {
            Some(frames)
        }
    });
    // AAC is coded in whole packets: the last one may reach beyond the end by almost its length (2048 with SBR).
    if params.codec == CODEC_ID_AAC
        && let Some(declared) = declared_frames.and_then(|n| usize::try_from(n).ok())
        && samples.len() < declared.saturating_add(2048).saturating_mul(channels)
    {
        samples.truncate(declared.saturating_mul(channels));
    }
    Ok(Decoded {
        samples,
        rate_hz,
        channels,
        declared_frames,
        lost_packets,
        early_end,
        chained,
        checksum_ok,
        tolerance_frames: if is_mpeg { 1152 } else { 0 },
        is_wav: format_id == FORMAT_ID_WAVE,
        mpeg_damage: is_mpeg.then(|| tally.damage(bytes)).flatten(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{save, wav_bytes};

    fn tone() -> Waveform {
        Waveform::new((0..16_000).map(|n| (n as f32 * 0.05).sin() * 0.5).collect(), 16_000)
    }

    #[test]
    fn sixteen_bit_wav_round_trips_to_half_a_step() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tone.wav");
        save(&path, &tone()).unwrap();
        let back = load(&path).unwrap();
        assert_eq!(back.sample_rate_hz(), 16_000);
        assert_eq!(back.samples().len(), 16_000);
        for (a, b) in tone().samples().iter().zip(back.samples()) {
            assert!((a - b).abs() <= 0.5 / 32768.0 + 1e-9);
        }
    }

    #[test]
    fn truncated_wav_is_refused() {
        let bytes = wav_bytes(&tone()).unwrap();
        let error = load_bytes(&bytes[..bytes.len() / 2], "half.wav").unwrap_err().to_string();
        assert!(error.contains("half.wav") && error.contains("damaged"), "{error}");
    }

    #[test]
    fn wav_whose_frames_are_not_as_long_as_its_samples_is_refused() {
        let mut bytes = wav_bytes(&tone()).unwrap();
        assert_eq!(bytes[32..36], [2, 0, 16, 0], "bytes a frame, bits a sample");
        for (at, value) in [(32, 0x42), (34, 24), (22, 2)] {
            let right = std::mem::replace(&mut bytes[at], value);
            let error = load_bytes(&bytes, "odd.wav").unwrap_err().to_string();
            assert!(error.contains("not as long as its samples"), "{error}");
            bytes[at] = right;
        }
        load_bytes(&bytes, "right.wav").unwrap();
        // The header of a stream of unknown length is held to the same.
        bytes[4..8].fill(0xff);
        load_bytes(&bytes, "streamed.wav").unwrap();
        bytes[32] = 0x42;
        load_bytes(&bytes, "odd.wav").unwrap_err();
    }

    #[test]
    fn missing_file_and_directory_are_named() {
        for path in ["no/such.wav", "/"] {
            let error = load(Path::new(path)).unwrap_err().to_string();
            assert!(error.contains(path), "{error}");
        }
        let error =
            load_bytes(b"this is not audio at all, not even close to it", "x.txt").unwrap_err().to_string();
        assert!(error.contains("x.txt"), "{error}");
    }
}
