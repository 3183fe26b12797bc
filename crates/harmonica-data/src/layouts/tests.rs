//! Trees of every layout with the known holes planted, and manifests that were made to do harm.

use crate::{DataError, Manifest, Split};
use harmonica_config_schema::CorpusLayout;
use std::collections::BTreeMap;
use std::path::Path;

/// Files by path and content, in a directory of their own.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = dir.path().join("corpus").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    dir
}

fn read(dir: &tempfile::TempDir, layout: CorpusLayout) -> Manifest {
    Manifest::read(&dir.path().join("corpus"), layout, false).unwrap()
}

/// How many rows were skipped, by reason.
fn skipped(manifest: &Manifest) -> BTreeMap<&str, usize> {
    let mut n = BTreeMap::new();
    manifest.skipped.iter().for_each(|row| *n.entry(row.reason).or_default() += 1);
    n
}

fn ids(manifest: &Manifest) -> Vec<&str> {
    manifest.utterances.iter().map(|u| u.id.as_str()).collect()
}

#[test]
fn libritts_is_read_with_its_splits_and_holes() {
    let dir = tree(&[
        ("train-clean-100/19/198/19_198_000000_000000.wav", ""),
        ("train-clean-100/19/198/19_198_000000_000000.normalized.txt", "One  two.\n"),
        ("train-clean-100/19/198/19_198_000000_000000.original.txt", "1 2."),
        ("train-clean-100/19/198/19_198.trans.tsv", "x"),
        ("train-clean-100/19/198/19_198_000001_000000.wav", ""),
        ("train-clean-100/19/198/19_198_000002_000000.normalized.txt", "no audio"),
        ("train-clean-100/19/198/19_198_000003_000000.wav", ""),
        ("train-clean-100/19/198/19_198_000003_000000.normalized.txt", " \n"),
        ("dev-clean/84/121/84_121_000000_000000.wav", ""),
        ("dev-clean/84/121/84_121_000000_000000.normalized.txt", "dev"),
        ("test-clean/61/70/61_70_000000_000000.wav", ""),
        ("test-clean/61/70/61_70_000000_000000.normalized.txt", "test"),
        ("LICENSE.txt", "x"),
    ]);
    let manifest = read(&dir, CorpusLayout::Libritts);
    assert_eq!(ids(&manifest), ["84_121_000000_000000", "61_70_000000_000000", "19_198_000000_000000"]);
    let splits: Vec<_> = manifest.utterances.iter().map(|u| u.split.unwrap()).collect();
    assert_eq!(splits, [Split::Valid, Split::Test, Split::Train]);
    assert_eq!(
        (manifest.utterances[2].text.as_str(), manifest.utterances[2].speaker.as_str()),
        ("One two.", "19")
    );
    let holes = BTreeMap::from([("missing_text", 1), ("missing_audio", 1), ("empty_text", 1)]);
    assert_eq!(skipped(&manifest), holes);
}

#[test]
fn vctk_is_read_with_its_known_holes() {
    let dir = tree(&[
        ("wav48_silence_trimmed/p225/p225_001_mic1.flac", ""),
        ("wav48_silence_trimmed/p225/p225_001_mic2.flac", ""),
        ("txt/p225/p225_001.txt", "Please call Stella.\n"),
        // No second microphone.
        ("wav48_silence_trimmed/p280/p280_001_mic1.flac", ""),
        ("txt/p280/p280_001.txt", "Ask her."),
        // No texts at all.
        ("wav48_silence_trimmed/p315/p315_001_mic1.flac", ""),
        ("wav48_silence_trimmed/p315/p315_002_mic1.flac", ""),
        ("txt/p225/p225_002.txt", "no recording"),
        ("speaker-info.txt", "x"),
    ]);
    let manifest = read(&dir, CorpusLayout::Vctk);
    assert_eq!(ids(&manifest), ["p225_001", "p280_001"]);
    assert_eq!(manifest.utterances[0].audio, Path::new("wav48_silence_trimmed/p225/p225_001_mic1.flac"));
    assert_eq!(skipped(&manifest), BTreeMap::from([("missing_text", 2), ("missing_audio", 1)]));
    let first = tree(&[("wav48/p225/p225_001.wav", ""), ("txt/p225/p225_001.txt", "Please.")]);
    assert_eq!(ids(&read(&first, CorpusLayout::Vctk)), ["p225_001"]);
}

#[test]
fn common_voice_is_read_by_the_names_of_its_columns() {
    let dir = tree(&[
        (
            "train.tsv",
            "client_id\tsentence_id\tpath\tsentence\tup_votes\naa\t1\ta.mp3\tHe said \"no\".\t2\naa\t2\tgone.mp3\tx\t2\n",
        ),
        (
            "dev.tsv",
            "path\tclient_id\tsentence\nb.mp3\tbb\tTwo\nb.mp3\tbb\tTwo again\nc.mp3\tbb\t\nshort\n../d.mp3\tbb\tx\n",
        ),
        ("validated.tsv", "not asked"),
        ("clips/a.mp3", ""),
        ("clips/b.mp3", ""),
        ("d.mp3", ""),
    ]);
    let manifest = read(&dir, CorpusLayout::CommonVoice);
    assert_eq!(ids(&manifest), ["a", "b"]);
    assert_eq!(manifest.utterances[0].text, "He said \"no\".");
    assert_eq!(manifest.utterances[1].split, Some(Split::Valid));
    let holes = BTreeMap::from([
        ("missing_audio", 1),
        ("duplicate_id", 1),
        ("empty_text", 1),
        ("malformed_row", 1),
        ("unsafe_name", 1),
    ]);
    assert_eq!(skipped(&manifest), holes);
}

#[test]
fn nemo_is_read_with_offsets_and_paths_of_both_kinds() {
    let dir = tree(&[]);
    let root = dir.path().join("corpus");
    std::fs::create_dir_all(&root).unwrap();
    let inside = root.join("x/b.wav").display().to_string();
    let lines = [
        r#"{"audio_filepath": "a.wav", "text": "one", "duration": 2.0, "lang": "en"}"#.to_owned(),
        format!(
            r#"{{"audio_filepath": {inside:?}, "text": "two", "duration": 1.5, "offset": 3.25, "speaker": 7}}"#
        ),
        r#"{"audio_filepath": "/etc/passwd", "text": "three", "duration": 1.0}"#.into(),
        r#"{"audio_filepath": "../c.wav", "text": "four", "duration": 1.0}"#.into(),
        r#"{"audio_filepath": "d.wav", "duration": 1.0}"#.into(),
        r#"{"audio_filepath": "e.wav", "text": " "}"#.into(),
        r#"{"audio_filepath": "f.wav", "text": "x", "offset": 1.0}"#.into(),
        r#"{"audio_filepath": "g.wav", "text": "x", "offset": 1.0, "duration": -1.0}"#.into(),
        "no json".into(),
    ];
    std::fs::write(root.join("manifest.json"), lines.join("\n")).unwrap();
    let manifest = read(&dir, CorpusLayout::Nemo);
    assert_eq!(ids(&manifest), ["a", "x_b-3250"]);
    let second = &manifest.utterances[1];
    assert_eq!((second.audio.as_path(), second.speaker.as_str()), (Path::new("x/b.wav"), "7"));
    assert_eq!(second.segment.map(|s| (s.start_s, s.duration_s)), Some((3.25, 1.5)));
    let holes = BTreeMap::from([
        ("outside_corpus", 1),
        ("unsafe_name", 2),
        ("missing_text", 1),
        ("empty_text", 1),
        ("malformed_row", 2),
    ]);
    assert_eq!(skipped(&manifest), holes);
    assert_eq!(manifest.utterances.len() + manifest.skipped.len(), lines.len());
}

#[test]
fn lhotse_is_read_as_cuts_and_as_supervisions() {
    let recording = r#"{"id": "r1", "sources": [{"type": "file", "channels": [0], "source": "r1.wav"}], "sampling_rate": 16000, "num_samples": 64000, "duration": 4.0}"#;
    let cut = |supervisions: &str| {
        format!(
            r#"{{"id": "c", "start": 1.0, "duration": 2.0, "channel": 0, "supervisions": [{supervisions}], "recording": {recording}, "type": "MonoCut"}}"#
        )
    };
    let spoken = r#"{"id": "s1", "recording_id": "r1", "start": 0.5, "duration": 1.0, "text": "one", "speaker": "ann"}"#;
    let dir = tree(&[("cuts.jsonl", &format!("{}\n{}\n", cut(spoken), cut("")))]);
    let manifest = read(&dir, CorpusLayout::Lhotse);
    assert_eq!(manifest.utterances[0].segment.map(|s| (s.start_s, s.duration_s)), Some((1.5, 1.0)));
    assert_eq!(skipped(&manifest), BTreeMap::from([("missing_text", 1)]));

    let remote = r#"{"id": "r2", "sources": [{"type": "url", "channels": [0], "source": "http://x/y.wav"}], "duration": 4.0}"#;
    let supervision = |id: &str, recording: &str, duration: f64| {
        format!(
            r#"{{"id": "{id}", "recording_id": "{recording}", "start": 0.0, "duration": {duration}, "text": "two", "speaker": "bob"}}"#
        )
    };
    let dir = tree(&[
        ("recordings.jsonl", &format!("{recording}\n{remote}\n")),
        (
            "supervisions.jsonl",
            &[supervision("whole", "r1", 4.0), supervision("far", "r2", 4.0), supervision("lost", "r3", 4.0)]
                .join("\n"),
        ),
    ]);
    let manifest = read(&dir, CorpusLayout::Lhotse);
    assert_eq!((ids(&manifest), manifest.utterances[0].segment), (vec!["whole"], None));
    assert_eq!(skipped(&manifest), BTreeMap::from([("unsupported_source", 1), ("missing_audio", 1)]));
}

const ALL: [CorpusLayout; 7] = [
    CorpusLayout::Ljspeech,
    CorpusLayout::Manifest,
    CorpusLayout::Libritts,
    CorpusLayout::Vctk,
    CorpusLayout::CommonVoice,
    CorpusLayout::Nemo,
    CorpusLayout::Lhotse,
];

#[test]
fn hostile_text_names_nothing_outside_of_the_corpus() {
    let long = "x".repeat(1_000_000);
    let names = [
        "../../secret",
        "/etc/passwd",
        "a/../../b",
        "nul\0byte",
        "..",
        ".",
        "",
        "C:\\x",
        "a\u{202e}b",
        long.as_str(),
    ];
    for name in names {
        let json = serde_json::to_string(name).unwrap();
        let texts = [
            format!("{name}|a|a\n"),
            format!("{{\"id\": {json}, \"audio\": {json}, \"text\": \"a\"}}\n"),
            format!("client_id\tpath\tsentence\ns\t{name}.mp3\ta\n"),
            format!("{{\"audio_filepath\": {json}, \"text\": \"a\"}}\n"),
            format!(
                "{{\"id\": \"c\", \"supervisions\": [{{\"id\": {json}, \"start\": 0, \"duration\": 1, \"text\": \"a\"}}], \"recording\": {{\"id\": \"r\", \"duration\": 1, \"sources\": [{{\"type\": \"file\", \"source\": {json}}}]}}}}\n"
            ),
        ];
        for text in texts {
            for layout in ALL {
                let Ok(manifest) = Manifest::parse(Path::new("corpus"), layout, &text) else { continue };
                for utterance in manifest.utterances {
                    assert!(
                        harmonica_storage::stays_inside(&utterance.audio),
                        "{layout:?} {:?}",
                        utterance.audio
                    );
                    assert!(harmonica_storage::is_plain_name(&utterance.id), "{layout:?} {:?}", utterance.id);
                }
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn hostile_files_are_neither_waited_for_nor_followed() {
    let dir = tree(&[
        ("wav48/p1/p1_001.wav", ""),
        ("wav48/p1/p1_002.wav", ""),
        ("wav48/p1/p1_003.wav", ""),
        ("txt/p1/p1_003.txt", "fine"),
    ]);
    let corpus = dir.path().join("corpus");
    std::fs::write(dir.path().join("secret"), "a secret").unwrap();
    std::os::unix::fs::symlink("../../../secret", corpus.join("txt/p1/p1_001.txt")).unwrap();
    std::os::unix::fs::symlink("/etc", corpus.join("txt/p2")).unwrap();
    let fifo = |path: &Path| {
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    fifo(&corpus.join("txt/p1/p1_002.txt"));
    let manifest = read(&dir, CorpusLayout::Vctk);
    assert_eq!(ids(&manifest), ["p1_003"]);
    assert_eq!(skipped(&manifest), BTreeMap::from([("outside_corpus", 1), ("unreadable_text", 1)]));
    for (layout, name) in [
        (CorpusLayout::Ljspeech, "metadata.csv"),
        (CorpusLayout::Manifest, "manifest.jsonl"),
        (CorpusLayout::CommonVoice, "validated.tsv"),
        (CorpusLayout::Nemo, "manifest.json"),
        (CorpusLayout::Lhotse, "cuts.jsonl"),
    ] {
        fifo(&corpus.join(name));
        let refused = Manifest::read(&corpus, layout, false).unwrap_err();
        assert!(matches!(refused, DataError::Read { .. }), "{layout:?}: {refused}");
        std::fs::remove_file(corpus.join(name)).unwrap();
    }
}

#[test]
fn a_hostile_line_of_a_hundred_megabytes_is_passed_over() {
    let dir = tree(&[]);
    let root = dir.path().join("corpus");
    std::fs::create_dir_all(&root).unwrap();
    let mut text = vec![b'x'; 100 << 20];
    text.extend(b"\n{\"audio_filepath\": \"a.wav\", \"text\": \"one\"}\n");
    std::fs::write(root.join("manifest.json"), text).unwrap();
    let manifest = read(&dir, CorpusLayout::Nemo);
    assert_eq!((ids(&manifest), skipped(&manifest)), (vec!["a"], BTreeMap::from([("malformed_row", 1)])));
}
