//! The bytes of one shard: the codes of some utterances and a table of what was found out about each of them.
//!
//! In: [`ShardRow`]s and codes; out: codes (u16, little endian), the table as JSON, its length, a BLAKE3 hash of all that and a mark.
//! Codes stand first, so that they are where the table says without reading it. Invariant: a shard is a function of its rows,
//! their audio and the settings; neither who made it nor what was made before shows in it.

use harmonica_audio::QualityStats;
use harmonica_config_schema::Fingerprint;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const MARK: &[u8; 8] = b"HSHARD01";
const HASH_BYTES: usize = blake3::OUT_LEN;
const LENGTH_BYTES: usize = 8;
const TRAILER_BYTES: usize = LENGTH_BYTES + HASH_BYTES + MARK.len();

/// What is known about one row of a manifest before anything is judged against the rest of the corpus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShardRow {
    /// Utterance.
    pub(crate) id: String,
    /// Hash of the audio that it was read from; absent where nothing could be read.
    pub(crate) source: Option<Fingerprint>,
    /// Its figures; absent where the audio could not be read.
    pub(crate) stats: Option<QualityStats>,
    /// Why it cannot be used whatever the thresholds, as a short name and in words.
    pub(crate) fault: Option<(String, String)>,
    /// First code of the shard that is its own.
    pub(crate) first_code: usize,
    /// Codec frames; 0 where it was not encoded.
    pub(crate) n_frames: usize,
    /// Samples at the codec's rate.
    pub(crate) n_samples: usize,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// Everything but the rows that decides the codes.
    settings: Fingerprint,
    n_codebooks: usize,
    rows: Vec<ShardRow>,
}

/// A shard that was read back.
#[derive(Debug)]
pub(crate) struct Shard {
    /// Everything but the rows that decided its codes.
    pub(crate) settings: Fingerprint,
    n_codebooks: usize,
    /// Its rows, in corpus order.
    pub(crate) rows: Vec<ShardRow>,
}

/// The bytes of a shard.
///
/// # Errors
/// A figure that JSON cannot spell.
pub(crate) fn shard_bytes(
    settings: &Fingerprint,
    n_codebooks: usize,
    rows: Vec<ShardRow>,
    codes: &[u16],
) -> Result<Vec<u8>, serde_json::Error> {
    let table = serde_json::to_vec(&Table { settings: settings.clone(), n_codebooks, rows })?;
    let mut bytes: Vec<u8> = Vec::with_capacity(2 * codes.len() + table.len() + TRAILER_BYTES);
    bytes.extend(codes.iter().flat_map(|code| code.to_le_bytes()));
    bytes.extend(&table);
    bytes.extend((table.len() as u64).to_le_bytes());
    let hash = blake3::hash(&bytes);
    bytes.extend(hash.as_bytes());
    bytes.extend(MARK);
    Ok(bytes)
}

/// How many codes the bytes of a shard begin with; `None` for bytes that are no shard.
pub(crate) fn n_codes(bytes: &[u8]) -> Option<usize> {
    Some(table_range(bytes)?.start / 2)
}

fn table_range(bytes: &[u8]) -> Option<std::ops::Range<usize>> {
    let end = bytes.len().checked_sub(TRAILER_BYTES)?;
    let length: [u8; LENGTH_BYTES] = bytes[end..end + LENGTH_BYTES].try_into().ok()?;
    let start = end.checked_sub(usize::try_from(u64::from_le_bytes(length)).ok()?)?;
    (bytes.ends_with(MARK) && start % 2 == 0).then_some(start..end)
}

impl Shard {
    /// Reads the table of a shard whose hash is right; `None` for anything else.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let table = table_range(bytes)?;
        let hashed = table.end + LENGTH_BYTES;
        if blake3::hash(&bytes[..hashed]).as_bytes() != &bytes[hashed..hashed + HASH_BYTES] {
            return None;
        }
        let n_codes = table.start / 2;
        let Table { settings, n_codebooks, rows } = serde_json::from_slice(&bytes[table]).ok()?;
        let fits = |row: &ShardRow| {
            let codes = row.n_frames.checked_mul(n_codebooks);
            codes.and_then(|n| n.checked_add(row.first_code)).is_some_and(|end| end <= n_codes)
        };
        rows.iter().all(fits).then_some(Self { settings, n_codebooks, rows })
    }

    /// The codes of a row, of the bytes that this shard was parsed from.
    pub(crate) fn codes(&self, bytes: &[u8], row: usize) -> Vec<u16> {
        let row = &self.rows[row];
        codes(bytes, row.first_code, row.n_frames * self.n_codebooks)
    }

    /// Rows by the audio that they were read from.
    pub(crate) fn by_source(&self) -> BTreeMap<&Fingerprint, usize> {
        self.rows.iter().enumerate().filter_map(|(i, row)| Some((row.source.as_ref()?, i))).collect()
    }
}

/// Some codes of a shard's bytes.
pub(crate) fn codes(bytes: &[u8], first: usize, n: usize) -> Vec<u16> {
    bytes[2 * first..2 * (first + n)]
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| u16::from_le_bytes(*pair))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let row = |id: &str, first_code, n_frames| ShardRow {
            id: id.into(),
            source: Some(Fingerprint::of(&id)),
            stats: None,
            fault: None,
            first_code,
            n_frames,
            n_samples: 640 * n_frames,
        };
        shard_bytes(
            &Fingerprint::of(&"settings"),
            2,
            vec![row("u", 0, 1), row("v", 2, 2)],
            &[1, 2, 3, 4, 5, 6],
        )
        .unwrap()
    }

    #[test]
    fn a_shard_reads_back_as_it_was_written() {
        let bytes = sample();
        let shard = Shard::parse(&bytes).unwrap();
        assert_eq!((shard.codes(&bytes, 0), shard.codes(&bytes, 1)), (vec![1, 2], vec![3, 4, 5, 6]));
        assert_eq!(n_codes(&bytes), Some(6));
        assert_eq!(shard.by_source()[&Fingerprint::of(&"v")], 1);
    }

    #[test]
    fn no_flipped_bit_and_no_lost_end_is_read_as_a_shard() {
        let bytes = sample();
        for i in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[i] ^= 1 << (i % 8);
            assert!(Shard::parse(&changed).is_none(), "byte {i}");
            assert!(Shard::parse(&bytes[..i]).is_none(), "cut at {i}");
        }
    }
}
