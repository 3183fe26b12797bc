//! What containers say about their own size, where the decoder does not look.

use symphonia::core::packet::Packet;

const NOT_FILLED: &str = "its chunks do not add up to its declared size";

/// What the chunks of a RIFF or AIFF file say against each other, or against the area that its header declares, and the tables of an MP4
/// file against each other; `None` too for other files and for streams of unknown length.
pub(crate) fn contradiction(bytes: &[u8]) -> Option<&'static str> {
    if bytes.get(4..8) == Some(b"ftyp") {
        return mp4_contradiction(bytes);
    }
    let number = |at: usize, big_endian: bool| -> Option<usize> {
        let word: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(if big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) } as usize)
    };
    let big_endian = match bytes.get(..4)? {
        b"RIFF" => false,
        b"FORM" => true,
        _ => return None,
    };
    let unknown = [0, u32::MAX as usize];
    let declared = number(4, big_endian)?;
    let end = (!unknown.contains(&declared)).then_some(8 + declared);
    let mut at = 12;
    // AIFF says twice how much sound it holds: in frames and in bytes.
    let (mut sound_bytes, mut frame_bytes) = (None, None);
    while end.is_none_or(|end| at + 8 <= end) {
        let Some(size) = number(at + 4, big_endian) else { return end.map(|_| NOT_FILLED) };
        if bytes.get(at..at + 4) == Some(b"data") && unknown.contains(&size) {
            return None;
        }
        match bytes.get(at..at + 4) {
            Some(b"fmt ") if bytes.get(8..12) == Some(b"WAVE") => {
                let half = |at: usize| number(at, false).map(|word| word & 0xffff);
                let (tag, channels) = (half(at + 8)?, half(at + 10)?);
                let (frame_bytes, bits) = (half(at + 20)?, half(at + 22)?);
                // Other codings pack samples as they like.
                let is_plain = [1, 3, 0xfffe].contains(&tag);
                if is_plain && frame_bytes != channels * bits.div_ceil(8) {
                    return Some("its frames are not as long as its samples");
                }
            }
            Some(b"COMM") if bytes.get(8..12) == Some(b"AIFF") => {
                let half = |at: usize| number(at, true).map(|word| word >> 16);
                let (channels, frames, bits) = (half(at + 8)?, number(at + 10, true)?, half(at + 14)?);
                frame_bytes = frames.checked_mul(channels * bits.div_ceil(8));
            }
            Some(b"SSND") => sound_bytes = size.checked_sub(8 + number(at + 8, true)?),
            _ => {}
        }
        // Chunks begin at even offsets; the last one may lack its padding.
        at += 8 + size + size % 2;
    }
    let end = end?;
    let agrees = frame_bytes.is_none() || frame_bytes == sound_bytes;
    (!agrees || (at != end && at != end + 1)).then_some(NOT_FILLED)
}

/// Whether a track of an MP4 file has another number of packets in its table of durations than in that of sizes (ISO 14496-12, 8.6.1.2 and
/// 8.7.3): its reader ends with the shorter one.
fn mp4_contradiction(bytes: &[u8]) -> Option<&'static str> {
    let number = |bytes: &[u8], at: usize| -> Option<u64> {
        Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?).into())
    };
    let path = [b"trak", b"mdia", b"minf", b"stbl"];
    let tables = path.into_iter().fold(inner(bytes, b"moov"), |boxes, name| {
        boxes.into_iter().flat_map(|content| inner(content, name)).collect()
    });
    let disagree = tables.into_iter().any(|tables| {
        let (Some(durations), Some(sizes)) =
            (inner(tables, b"stts").first().copied(), inner(tables, b"stsz").first().copied())
        else {
            return false;
        };
        // Runs of a count and a duration, after version and number of runs.
        let runs = durations.get(8..).unwrap_or_default().chunks_exact(8);
        let n_durations: u64 = runs.filter_map(|run| number(run, 0)).sum();
        number(sizes, 8) != Some(n_durations)
    });
    disagree.then_some("its tables of durations and of sizes have not the same number of packets")
}

/// Contents of the boxes of one name in an MP4 file or in one of its boxes, up to the first one that does not fit.
fn inner<'a>(mut rest: &'a [u8], wanted: &[u8; 4]) -> Vec<&'a [u8]> {
    let next = move || {
        let (size, name) = (rest.get(..4)?, rest.get(4..8)?);
        let (head, size) = match u32::from_be_bytes(size.try_into().ok()?) {
            0 => (8, rest.len()),
            1 => (16, usize::try_from(u64::from_be_bytes(rest.get(8..16)?.try_into().ok()?)).ok()?),
            size => (8, size as usize),
        };
        let content = rest.get(head..size)?;
        rest = &rest[size..];
        Some((name, content))
    };
    std::iter::from_fn(next).filter(|(name, _)| name == wanted).map(|(_, content)| content).collect()
}

/// What the packets of an MPEG stream add up to: its decoder searches for the next frame without a word.
#[derive(Debug, Default)]
pub(crate) struct MpegTally {
    bytes: usize,
    longest_packet: usize,
    trimmed_frames: u64,
}

impl MpegTally {
    /// Two frames of delay and one of padding are what coders add.
    const MAX_TRIMMED_FRAMES: u64 = 3 * 1152;

    pub(crate) fn count(&mut self, packet: &Packet) {
        self.bytes += packet.data.len();
        self.longest_packet = self.longest_packet.max(packet.data.len());
        self.trimmed_frames += packet.trim_start.get() + packet.trim_end.get();
    }

    /// What is wrong with the `file` whose packets were counted.
    pub(crate) fn damage(&self, file: &[u8]) -> Option<&'static str> {
        // The tag frame and a last frame that was cut are no packets; anything more was skipped in search of a frame.
        if self.bytes + tag_bytes(file) + 2 * self.longest_packet < file.len() {
            return Some("parts of it are no audio frames");
        }
        if swallows_sound(file) {
            return Some("its tag ends in the midst of sound");
        }
        (self.trimmed_frames > Self::MAX_TRIMMED_FRAMES).then_some("its tag cuts off more than a coder adds")
    }
}

/// Bytes of the ID3 tag before MPEG frames.
fn head_bytes(bytes: &[u8]) -> usize {
    match bytes {
        [b'I', b'D', b'3', _, _, _, a, b, c, d, ..] => {
            10 + [a, b, c, d].into_iter().fold(0, |size, byte| size << 7 | usize::from(byte & 0x7f))
        }
        _ => 0,
    }
}

/// Bytes of ID3 tags around MPEG frames.
fn tag_bytes(bytes: &[u8]) -> usize {
    let has_tail = bytes.len() >= 128 && bytes[bytes.len() - 128..].starts_with(b"TAG");
    head_bytes(bytes) + if has_tail { 128 } else { 0 }
}

/// Whether an ID3 tag is followed by anything but a frame or another tag, with zeros between them at most.
fn swallows_sound(bytes: &[u8]) -> bool {
    let after = bytes.get(head_bytes(bytes)..).unwrap_or_default();
    let sound = &after[after.iter().take_while(|byte| **byte == 0).count()..];
    let is_frame = matches!(sound, [0xff, second, ..] if second & 0xe0 == 0xe0);
    bytes.starts_with(b"ID3") && !is_frame && !sound.starts_with(b"ID3") && !sound.starts_with(b"APETAGEX")
}
