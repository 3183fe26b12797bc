//! Event files as TensorBoard reads them.
//!
//! In: scalars, histograms, sounds and pictures with their update. Out: records of length, checksum, protocol buffer, checksum (the
//! TFRecord framing; checksums are CRC-32C, masked), appended as they come. Only the fields that TensorBoard needs are written, by hand:
//! a protocol buffer is a list of (field number, kind, value). Invariant: a file that was cut off is whole up to its last
//! record.

use harmonica_storage::{StorageError, append, make_directory};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// CRC-32C (Castagnoli) of every byte value, bits reflected.
const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes
        .iter()
        .fold(!0, |crc: u32, byte| (crc >> 8) ^ CRC_TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize])
}

/// A checksum that does not become trivial where checksums of checksums are taken.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// A protocol buffer in the making.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u64, wire_type: u64) {
        self.varint(field << 3 | wire_type);
    }

    fn integer(mut self, field: u64, value: u64) -> Self {
        self.key(field, 0);
        self.varint(value);
        self
    }

    fn double(mut self, field: u64, value: f64) -> Self {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn float(mut self, field: u64, value: f32) -> Self {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    fn message(self, field: u64, value: Self) -> Self {
        self.bytes(field, &value.0)
    }

    fn doubles(self, field: u64, values: &[f64]) -> Self {
        let packed: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.bytes(field, &packed)
    }
}

/// How many bars a histogram has.
const N_BARS: usize = 40;

/// Values as a histogram of equal bars.
fn histogram(values: &[f32]) -> Message {
    let finite = || values.iter().map(|v| f64::from(*v)).filter(|v| v.is_finite());
    let lowest = finite().fold(f64::INFINITY, f64::min);
    let highest = finite().fold(f64::NEG_INFINITY, f64::max);
    let width = ((highest - lowest) / N_BARS as f64).max(f64::MIN_POSITIVE);
    let mut bars = [0.0; N_BARS];
    finite().for_each(|v| bars[(((v - lowest) / width) as usize).min(N_BARS - 1)] += 1.0);
    let limits: Vec<f64> = (1..=N_BARS).map(|i| lowest + width * i as f64).collect();
    Message::default()
        .double(1, lowest)
        .double(2, highest)
        .double(3, finite().count() as f64)
        .double(4, finite().sum())
        .double(5, finite().map(|v| v * v).sum())
        .doubles(6, &limits)
        .doubles(7, &bars)
}

/// One event file, open for appending.
#[derive(Debug)]
pub(crate) struct EventFile {
    path: PathBuf,
}

/// What stands in one event, all of one update.
#[derive(Default)]
pub(crate) struct Summary {
    values: Message,
}

impl Summary {
    fn value(&mut self, tag: &str, fill: impl FnOnce(Message) -> Message) {
        let value = fill(Message::default().bytes(1, tag.as_bytes()));
        self.values = std::mem::take(&mut self.values).message(1, value);
    }

    pub(crate) fn scalar(&mut self, tag: &str, value: f64) {
        self.value(tag, |message| message.float(2, value as f32));
    }

    pub(crate) fn histogram(&mut self, tag: &str, values: &[f32]) {
        if values.iter().any(|v| v.is_finite()) {
            self.value(tag, |message| message.message(5, histogram(values)));
        }
    }

    /// A waveform in one channel, as the bytes of a WAV file.
    pub(crate) fn sound(&mut self, tag: &str, wav: &[u8], sample_rate_hz: u32, n_samples: usize) {
        let audio = Message::default()
            .float(1, sample_rate_hz as f32)
            .integer(2, 1)
            .integer(3, n_samples as u64)
            .bytes(4, wav)
            .bytes(5, b"audio/wav");
        self.value(tag, |message| message.message(6, audio));
    }

    /// A picture in shades of grey, as the bytes of its file.
    pub(crate) fn picture(&mut self, tag: &str, file: &[u8], width: usize, height: usize) {
        let image = Message::default()
            .integer(1, height as u64)
            .integer(2, width as u64)
            .integer(3, 1)
            .bytes(4, file);
        self.value(tag, |message| message.message(4, image));
    }
}

impl EventFile {
    /// A new file in a directory, which is made if it is missing; events from `from_update` on take the place of those that
    /// earlier files hold.
    pub(crate) fn create(dir: &Path, from_update: u64) -> Result<Self, StorageError> {
        make_directory(dir)?;
        let name = format!("events.out.tfevents.{:.0}.{}", now_s() * 1e6, std::process::id());
        let file = Self { path: dir.join(name) };
        file.event(0, Message::default().bytes(3, b"brain.Event:2"))?;
        let start = Message::default().message(7, Message::default().integer(1, 1));
        file.event(from_update, start)?;
        Ok(file)
    }

    pub(crate) fn write(&self, update: u64, summary: Summary) -> Result<(), StorageError> {
        self.event(update, Message::default().message(5, summary.values))
    }

    fn event(&self, update: u64, what: Message) -> Result<(), StorageError> {
        let mut event = Message::default().double(1, now_s()).integer(2, update);
        event.0.extend(what.0);
        let length = (event.0.len() as u64).to_le_bytes();
        let mut record = length.to_vec();
        record.extend(masked(crc32c(&length)).to_le_bytes());
        record.extend(&event.0);
        record.extend(masked(crc32c(&event.0)).to_le_bytes());
        append(&self.path, &record)
    }
}

fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720, appendix B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn records_are_framed_with_their_length() {
        let dir = tempfile::tempdir().unwrap();
        let file = EventFile::create(dir.path(), 0).unwrap();
        let mut summary = Summary::default();
        summary.scalar("loss", 2.5);
        summary.histogram("weights", &[1.0, 2.0, 4.0]);
        file.write(7, summary).unwrap();
        let bytes = std::fs::read(&file.path).unwrap();
        let (mut at, mut n) = (0, 0);
        while at < bytes.len() {
            let length: [u8; 8] = bytes[at..at + 8].try_into().unwrap();
            let stored = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            assert_eq!(stored(at + 8), masked(crc32c(&length)));
            let end = at + 12 + u64::from_le_bytes(length) as usize;
            assert_eq!(stored(end), masked(crc32c(&bytes[at + 12..end])));
            (at, n) = (end + 4, n + 1);
        }
        assert_eq!((at, n), (bytes.len(), 3));
    }
}
