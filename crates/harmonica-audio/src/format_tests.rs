//! Every format on the list is read in full; damage is found.
//!
//! Damage is drawn from the house's random stream: `HARMONICA_MUTATIONS` sets how many damaged files a format gets.

use crate::{AudioError, load_bytes};
use harmonica_config_schema::RandomStream;
use std::time::{Duration, Instant};

/// Name, bytes, and by how many frames the coder may pad or trim.
const FORMATS: [(&str, &[u8], usize); 8] = [
    ("five.wav", include_bytes!("../fixtures/five.wav"), 0),
    ("five.flac", include_bytes!("../fixtures/five.flac"), 0),
    ("five.aiff", include_bytes!("../fixtures/five.aiff"), 0),
    ("five.caf", include_bytes!("../fixtures/five.caf"), 0),
    ("five-alac.m4a", include_bytes!("../fixtures/five-alac.m4a"), 0),
    ("five-aac.m4a", include_bytes!("../fixtures/five-aac.m4a"), 2048),
    ("five.ogg", include_bytes!("../fixtures/five.ogg"), 0),
    ("five.mp3", include_bytes!("../fixtures/five.mp3"), 2400),
];
const N_SAMPLES: usize = 6400;

#[test]
fn every_format_is_read_in_full() {
    let truth = load_bytes(FORMATS[0].1, FORMATS[0].0).unwrap();
    assert_eq!((truth.samples().len(), truth.sample_rate_hz()), (N_SAMPLES, 16_000));
    for (name, bytes, padding) in FORMATS {
        let heard = load_bytes(bytes, name).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(heard.sample_rate_hz(), 16_000, "{name}");
        let n = heard.samples().len();
        assert!(n.abs_diff(N_SAMPLES) <= padding, "{name}: {n} samples");
        if ["five.flac", "five.aiff", "five.caf", "five-alac.m4a"].contains(&name) {
            assert_eq!(heard.samples(), truth.samples(), "{name} is lossless");
        } else {
            // A lossy coder may delay: the best match over delays must carry the same energy.
            let power = |v: &[f32]| v.iter().map(|s| f64::from(s * s)).sum::<f64>();
            let ratio = power(heard.samples()) / power(truth.samples());
            assert!((0.7..1.3).contains(&ratio), "{name}: power ratio {ratio}");
        }
    }
}

#[test]
fn opus_is_refused_by_name() {
    let error = load_bytes(include_bytes!("../fixtures/five.opus"), "five.opus").unwrap_err();
    assert!(matches!(error, AudioError::Unsupported { .. }), "{error}");
    let words = error.to_string();
    assert!(words.contains("five.opus") && words.contains("Opus") && words.contains("WAV"), "{words}");
}

#[test]
fn damaged_files_never_abort_hang_or_come_back_short() {
    let n_mutations: u64 =
        std::env::var("HARMONICA_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(625);
    for (kind, (name, bytes, padding)) in FORMATS.into_iter().enumerate() {
        let whole = load_bytes(bytes, name).unwrap().samples().len();
        let mut found = 0;
        for number in 0..n_mutations {
            let damaged = damage(bytes, RandomStream::new(5, "audio damage", &[kind as u64, number]));
            let started = Instant::now();
            let heard = load_bytes(&damaged, name);
            assert!(started.elapsed() < Duration::from_secs(5), "{name} {number} hangs");
            match heard {
                Ok(waveform) => {
                    let n = waveform.samples().len();
                    assert!(n + padding >= whole, "{name} {number}: {n} of {whole} samples were accepted");
                }
                Err(error) => {
                    found += 1;
                    assert!(error.to_string().contains(name), "{error}");
                }
            }
        }
        assert!(found > 0, "{name}: no damage was found");
    }
}

/// A reader that believes the table of durations would end after the first of two packets.
#[test]
fn an_mp4_whose_tables_have_not_the_same_number_of_packets_is_refused() {
    for name in ["five-alac.m4a", "five-aac.m4a"] {
        let (_, bytes, _) = FORMATS.into_iter().find(|(n, ..)| *n == name).unwrap();
        let mut short = bytes.to_vec();
        let table = short.windows(4).rposition(|name| name == b"stts").unwrap();
        let runs = u32::from_be_bytes(short[table + 8..table + 12].try_into().unwrap()) as usize;
        let last_count = table + 12 + 8 * (runs - 1);
        short[last_count..last_count + 4].fill(0);
        let error = load_bytes(&short, name).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("tables of durations and of sizes"), "{error}");
    }
}

/// What a tag holds is not played: one that claims more than it has would take frames with it.
#[test]
fn an_mp3_whose_tag_claims_frames_is_refused() {
    let (name, bytes, _) = FORMATS[7];
    let mut short = bytes.to_vec();
    assert!(short.starts_with(b"ID3"));
    short[8] |= 8;
    let error = load_bytes(&short, name).unwrap_err().to_string();
    assert!(error.contains(name) && error.contains("its tag ends in the midst of sound"), "{error}");
}

/// Headers that claim hours, sizes that nothing stands behind, and a file beyond what is read: refused at once.
#[test]
fn bombs_are_refused_before_they_cost_anything() {
    let wav_of = |data_bytes: u32| {
        let mut wav = FORMATS[0].1[..44].to_vec();
        wav[4..8].copy_from_slice(&(data_bytes.saturating_add(36)).to_le_bytes());
        wav[40..44].copy_from_slice(&data_bytes.to_le_bytes());
        wav
    };
    // The 36 bits of the number of samples stand in the bytes 21 to 25 of a FLAC file.
    let mut ten_hours = FORMATS[1].1.to_vec();
    let n_samples = 10 * 3600 * 16_000_u32;
    ten_hours[22..26].copy_from_slice(&n_samples.to_be_bytes());
    for (name, bytes) in [
        ("two-gigabytes.wav", wav_of(0x7fff_ff00)),
        ("four.wav", wav_of(u32::MAX - 36)),
        ("hours.flac", ten_hours),
    ] {
        let started = Instant::now();
        let error = load_bytes(&bytes, name).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
        assert!(started.elapsed() < Duration::from_secs(1), "{name}");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sparse.wav");
    std::fs::File::create(&path).unwrap().set_len(crate::MAX_FILE_BYTES + 1).unwrap();
    let started = Instant::now();
    let error = crate::load(&path).unwrap_err().to_string();
    assert!(error.contains("sparse.wav") && error.contains("cut it into utterances"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(1));
}

/// Flips one to eight bytes, or cuts the end off.
fn damage(bytes: &[u8], mut stream: RandomStream) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    if stream.below(4) == 0 {
        damaged.truncate(stream.below(bytes.len()));
        return damaged;
    }
    for _ in 0..=stream.below(8) {
        let at = stream.below(damaged.len());
        damaged[at] ^= 1 << stream.below(8);
    }
    damaged
}
