//! Tables that pyarrow wrote (`tools/golden_parquet.py`), and tables that were made to do harm.

use super::*;
use harmonica_config_schema::{CorpusLayout, RandomStream};
use std::collections::BTreeMap;

const GOLDEN: &[u8] = include_bytes!("golden.parquet");

fn corpus(tables: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in tables {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    dir
}

#[test]
fn a_table_of_pyarrow_is_read_with_its_holes_and_every_row_has_its_own_audio() {
    let dir = corpus(&[("data/train-00000-of-00001.parquet", GOLDEN)]);
    let manifest = Manifest::read(dir.path(), CorpusLayout::Parquet).unwrap();
    let ids: Vec<&str> = manifest.utterances.iter().map(|u| u.id.as_str()).collect();
    assert_eq!(ids, ["clips_u0", "clips_u1", "clips_u2", "clips_u5", "clips_u7", "clips_u8"]);
    let skipped: BTreeMap<&str, &str> =
        manifest.skipped.iter().map(|row| (row.reason, row.id.as_str())).collect();
    let table = "data_train-00000-of-00001";
    let wanted = [
        ("missing_text", format!("{table}-3")),
        ("empty_text", format!("{table}-4")),
        ("duplicate_id", "clips_u0".to_owned()),
    ];
    assert_eq!(skipped, wanted.iter().map(|(reason, id)| (*reason, id.as_str())).collect());
    assert_eq!(manifest.skipped.len() + manifest.utterances.len(), 9);
    for utterance in &manifest.utterances {
        let row = utterance.row.unwrap();
        assert_eq!(
            (utterance.text.as_str(), utterance.split),
            (format!("text {row}").as_str(), Some(Split::Train))
        );
        assert_eq!(utterance.speaker, (100 + row % 2).to_string());
        if row == 5 {
            let error = manifest.waveform(utterance, false).unwrap_err().to_string();
            assert!(error.contains("row 5 holds no audio") && error.contains(".parquet"), "{error}");
            continue;
        }
        let waveform = manifest.waveform(utterance, false).unwrap();
        assert_eq!((waveform.sample_rate_hz(), waveform.samples().len()), (8000, 200));
        assert_eq!(waveform.samples()[7], (row + 1) as f32 / 32768.0, "row {row}");
    }
    assert!(embedded(&dir.path().join("data/train-00000-of-00001.parquet"), 9).is_err());
}

#[test]
fn splits_follow_the_names_of_tables_and_directories() {
    for (name, split) in [
        ("train-00000-of-00004.parquet", Some(Split::Train)),
        ("data/validation-00000.parquet", Some(Split::Valid)),
        ("default/test/0000.parquet", Some(Split::Test)),
        ("clean/dev.clean/0000.parquet", Some(Split::Valid)),
        ("0000.parquet", None),
    ] {
        assert_eq!(split_of(Path::new(name)), split, "{name}");
    }
}

#[test]
fn a_corpus_without_tables_and_a_table_without_audio_say_what_is_missing() {
    let error = Manifest::read(corpus(&[]).path(), CorpusLayout::Parquet).unwrap_err().to_string();
    assert!(error.contains("no *.parquet"), "{error}");
    let mut renamed = GOLDEN.to_vec();
    // The names of columns stand in the footer.
    for at in 0..renamed.len() - 5 {
        if &renamed[at..at + 5] == b"bytes" {
            renamed[at..at + 5].copy_from_slice(b"bites");
        }
    }
    let dir = corpus(&[("a.parquet", &renamed)]);
    let error = Manifest::read(dir.path(), CorpusLayout::Parquet).unwrap_err().to_string();
    assert!(error.contains("audio.bytes") && error.contains("a.parquet"), "{error}");
}

#[test]
fn hostile_tables_are_errors_that_name_them_or_rows_and_never_a_panic() {
    let dir = corpus(&[]);
    let path = dir.path().join("t.parquet");
    let n = std::env::var("HARMONICA_N_DAMAGED").map_or(400, |n| n.parse().unwrap());
    let mut refused = 0;
    for i in 0..n {
        let mut draw = RandomStream::new(3, "table", &[i]);
        let mut bytes = GOLDEN.to_vec();
        match i % 3 {
            0 => bytes.truncate(draw.below(GOLDEN.len())),
            1 => {
                let at = draw.below(bytes.len());
                bytes[at] ^= 1 << draw.below(8);
            }
            // The footer, where lengths and places stand.
            _ => {
                let at = bytes.len() - 1 - draw.below(2000);
                bytes[at] = draw.below(256) as u8;
            }
        }
        std::fs::write(&path, bytes).unwrap();
        match Manifest::read(dir.path(), CorpusLayout::Parquet) {
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains("t.parquet"), "{error}");
            }
            Ok(manifest) => {
                assert!(manifest.utterances.len() + manifest.skipped.len() <= GOLDEN.len());
                for utterance in &manifest.utterances {
                    if let Err(error) = manifest.waveform(utterance, false) {
                        assert!(error.to_string().contains("t.parquet"), "{error}");
                    }
                }
            }
        }
    }
    assert!(refused > n / 3, "{refused} of {n}");
}

#[cfg(unix)]
#[test]
fn hostile_links_and_pipes_among_tables_are_neither_followed_nor_waited_for() {
    let outside = corpus(&[("secret.parquet", GOLDEN)]);
    let dir = corpus(&[("train.parquet", GOLDEN)]);
    std::os::unix::fs::symlink(outside.path().join("secret.parquet"), dir.path().join("a.parquet")).unwrap();
    std::os::unix::fs::symlink(outside.path(), dir.path().join("folder")).unwrap();
    let manifest = Manifest::read(dir.path(), CorpusLayout::Parquet).unwrap();
    assert_eq!(manifest.skipped[0].reason, "outside_corpus");
    assert!(manifest.utterances.iter().all(|u| u.audio == Path::new("train.parquet")));
    let fifo = dir.path().join("pipe.parquet");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let error = Manifest::read(dir.path(), CorpusLayout::Parquet).unwrap_err().to_string();
    assert!(error.contains("pipe.parquet") && error.contains("no regular file"), "{error}");
}
