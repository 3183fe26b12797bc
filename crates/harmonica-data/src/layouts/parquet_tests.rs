//! Tables that pyarrow wrote (`tools/golden_parquet.py`), and tables that were made to do harm.

use super::*;
use harmonica_config_schema::{CorpusLayout, RandomStream};
use parquet::basic::Encoding;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::get_column_reader;
use parquet::data_type::ByteArrayType;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;
use std::cell::Cell as Counter;
use std::collections::BTreeMap;
use std::sync::Arc;

thread_local! {
    /// Pages that this thread has decompressed.
    pub(super) static PAGES: Counter<usize> = const { Counter::new(0) };
}

/// A table of audio, texts and optionally speakers, all rows in one group and its audio in one page.
fn table(path: &Path, audio: &[Vec<u8>], texts: &[&str], speakers: Option<&[Option<&str>]>) {
    let speaker = speakers.map_or("", |_| "optional binary speaker_id (UTF8);");
    let schema = format!(
        "message m {{ required group audio {{ required binary bytes; }} required binary text (UTF8); {speaker} }}"
    );
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let audio_column = ColumnPath::new(vec!["audio".into(), "bytes".into()]);
    let properties = WriterProperties::builder()
        .set_data_page_size_limit(1 << 30)
        .set_column_dictionary_enabled(audio_column, false)
        .build();
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut put = |values: Vec<ByteArray>, levels: Option<&[i16]>| {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&values, levels, None).unwrap();
        column.close().unwrap();
    };
    put(audio.iter().map(|bytes| bytes.clone().into()).collect(), None);
    put(texts.iter().map(|text| ByteArray::from(*text)).collect(), None);
    if let Some(speakers) = speakers {
        let levels: Vec<i16> = speakers.iter().map(|speaker| speaker.is_some().into()).collect();
        put(speakers.iter().flatten().map(|speaker| ByteArray::from(*speaker)).collect(), Some(&levels));
    }
    group.close().unwrap();
    writer.close().unwrap();
}

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
    let manifest = Manifest::read(dir.path(), CorpusLayout::Parquet, false).unwrap();
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
        ("validated-00000.parquet", None),
        ("validated/train-0.parquet", Some(Split::Train)),
    ] {
        assert_eq!(split_of(Path::new(name)), split, "{name}");
    }
}

#[test]
fn a_corpus_without_tables_and_a_table_without_audio_say_what_is_missing() {
    let error = Manifest::read(corpus(&[]).path(), CorpusLayout::Parquet, false).unwrap_err().to_string();
    assert!(error.contains("no *.parquet"), "{error}");
    let mut renamed = GOLDEN.to_vec();
    // The names of columns stand in the footer.
    for at in 0..renamed.len() - 5 {
        if &renamed[at..at + 5] == b"bytes" {
            renamed[at..at + 5].copy_from_slice(b"bites");
        }
    }
    let dir = corpus(&[("a.parquet", &renamed)]);
    let error = Manifest::read(dir.path(), CorpusLayout::Parquet, false).unwrap_err().to_string();
    for part in ["audio.bytes", "a.parquet", "rename its columns"] {
        assert!(error.contains(part), "{error}");
    }
    assert!(!error.contains("download it again"), "{error}");
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
        match Manifest::read(dir.path(), CorpusLayout::Parquet, false) {
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
    let manifest = Manifest::read(dir.path(), CorpusLayout::Parquet, false).unwrap();
    assert_eq!(manifest.skipped[0].reason, "outside_corpus");
    assert!(manifest.skipped[0].detail.contains("data.follow_links_outside = true"));
    assert!(manifest.utterances.iter().all(|u| u.audio == Path::new("train.parquet")));
    let manifest = Manifest::read(dir.path(), CorpusLayout::Parquet, true).unwrap();
    let linked = manifest.utterances.iter().find(|u| u.audio == Path::new("a.parquet")).unwrap();
    assert!(manifest.skipped.iter().all(|row| row.reason != "outside_corpus"));
    assert!(manifest.waveform(linked, true).is_ok() && manifest.waveform(linked, false).is_err());
    let fifo = dir.path().join("pipe.parquet");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let error = Manifest::read(dir.path(), CorpusLayout::Parquet, false).unwrap_err().to_string();
    assert!(error.contains("pipe.parquet") && error.contains("no regular file"), "{error}");
}

#[test]
fn a_dictionary_that_names_one_text_for_many_rows_is_refused_before_it_fills_the_memory() {
    let dir = corpus(&[]);
    let path = dir.path().join("bomb.parquet");
    let text = "a".repeat(MAX_TEXT_BYTES);
    let n = (SMALL_TABLE_TEXTS as usize / MAX_TEXT_BYTES) + 1;
    for (n, refused) in [(8, false), (n, true)] {
        table(&path, &vec![vec![0; 8]; n], &vec![text.as_str(); n], None);
        assert!(std::fs::metadata(&path).unwrap().len() < 1 << 20);
        match Manifest::read(dir.path(), CorpusLayout::Parquet, false) {
            Ok(manifest) => assert!(!refused && manifest.utterances.len() == n),
            Err(error) => {
                let error = error.to_string();
                for part in ["bomb.parquet", "256 MiB", "leave it out"] {
                    assert!(refused && error.contains(part), "{error}");
                }
            }
        }
    }
}

/// A column of one dictionary that claims more than it holds.
struct Claiming(u32);

impl Iterator for Claiming {
    type Item = parquet::errors::Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Claiming {
    fn get_next_page(&mut self) -> parquet::errors::Result<Option<Page>> {
        let buf = vec![0_u8; 16].into();
        Ok(Some(Page::DictionaryPage {
            buf,
            num_values: self.0,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        }))
    }

    fn peek_next_page(&mut self) -> parquet::errors::Result<Option<PageMetadata>> {
        Ok(None)
    }

    fn skip_next_page(&mut self) -> parquet::errors::Result<()> {
        Ok(())
    }
}

#[test]
fn a_dictionary_that_claims_more_values_than_its_bytes_hold_never_reaches_the_decoder() {
    let dir = corpus(&[("t.parquet", GOLDEN)]);
    let reader = open(&dir.path().join("t.parquet")).unwrap();
    let text = column(&reader, &TEXT).ok().flatten().unwrap();
    let descriptor = reader.metadata().file_metadata().schema_descr().column(text);
    let mut believable = pages::Believable(Box::new(Claiming(4)));
    assert!(believable.get_next_page().unwrap().is_some());
    let claiming = pages::Believable(Box::new(Claiming(i32::MAX as u32)));
    let ColumnReader::ByteArrayColumnReader(mut column) = get_column_reader(descriptor, Box::new(claiming))
    else {
        panic!("texts are bytes")
    };
    let mut levels = Vec::new();
    let error = column.read_records(1, Some(&mut levels), None, &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("2147483647 values in 16 bytes"), "{error}");
}

#[test]
fn rows_that_are_read_on_cost_no_page_again_and_a_changed_table_is_read_anew() {
    let dir = corpus(&[]);
    let path = dir.path().join("t.parquet");
    let audio = |seed: u8| (0..50).map(|i| vec![i + seed; 100 + usize::from(i)]).collect::<Vec<_>>();
    table(&path, &audio(0), &["text"; 50], None);
    let pages = |rows: &[u64], audio: &[Vec<u8>]| {
        let before = PAGES.get();
        for row in rows {
            assert_eq!(embedded(&path, *row).unwrap(), audio[*row as usize], "row {row}");
        }
        PAGES.get() - before
    };
    let all: Vec<u64> = (0..50).collect();
    assert_eq!(pages(&all, &audio(0)), 1);
    assert_eq!(pages(&[0, 7, 8, 31], &audio(0)), 1);
    assert_eq!(pages(&[30, 31, 30], &audio(0)), 2, "backwards is from the beginning");
    let mut longer = audio(100);
    longer[49].push(0);
    table(&path, &longer, &["text"; 50], None);
    assert_eq!(pages(&[32, 49], &longer), 1);
}

#[test]
fn a_null_among_speakers_is_nobody_and_a_table_without_speakers_is_of_one() {
    let dir = corpus(&[]);
    let path = dir.path().join("t.parquet");
    let audio = vec![vec![0; 8]; 3];
    table(&path, &audio, &["a", "b", "c"], Some(&[Some("ann"), None, Some("bob")]));
    let manifest = Manifest::read(dir.path(), CorpusLayout::Parquet, false).unwrap();
    let speakers: Vec<&str> = manifest.utterances.iter().map(|u| u.speaker.as_str()).collect();
    assert_eq!((speakers, manifest.skipped[0].reason), (vec!["ann", "bob"], "missing_speaker"));
    table(&path, &audio, &["a", "b", "c"], None);
    let manifest = Manifest::read(dir.path(), CorpusLayout::Parquet, false).unwrap();
    assert!(manifest.utterances.len() == 3 && manifest.utterances.iter().all(|u| u.speaker == "speaker"));
}
