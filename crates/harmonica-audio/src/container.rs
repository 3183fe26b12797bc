//! What containers say about their own size, where the decoder does not look.

use symphonia::core::packet::Packet;

const NOT_FILLED: &str = "its chunks do not add up to its declared size";

/// What the chunks of a RIFF or AIFF file say against each other, or against the area that its header declares; `None` too
/// for other files and for streams of unknown length.
pub(crate) fn contradiction(bytes: &[u8]) -> Option<&'static str> {
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
        (self.trimmed_frames > Self::MAX_TRIMMED_FRAMES).then_some("its tag cuts off more than a coder adds")
    }
}

/// Bytes of ID3 tags around MPEG frames.
fn tag_bytes(bytes: &[u8]) -> usize {
    let head = match bytes {
        [b'I', b'D', b'3', _, _, _, a, b, c, d, ..] => {
            10 + [a, b, c, d].into_iter().fold(0, |size, byte| size << 7 | usize::from(byte & 0x7f))
        }
        _ => 0,
    };
    let has_tail = bytes.len() >= 128 && bytes[bytes.len() - 128..].starts_with(b"TAG");
    head + if has_tail { 128 } else { 0 }
}
