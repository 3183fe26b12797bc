//! Faults in the data: each is a row of the quality report with its reason, and the counts add up.

use harmonica_audio::{Waveform, save};
use harmonica_config_schema::Conditioning;
use harmonica_data::{Manifest, Preprocessor};
use harmonica_tests::{Fixture, record, speech};
use harmonica_text::{TextTokenizer, Vocab};
use std::collections::BTreeMap;

#[test]
fn every_fault_is_in_the_quality_report_and_the_counts_add_up() {
    let dir = tempfile::tempdir().unwrap();
    let f = Fixture::new(dir.path(), Conditioning::Prefix);
    let corpus = dir.path().join("corpus");
    let wav = |name: &str| corpus.join(format!("wavs/{name}.wav"));
    let good = speech("abcabc", 0);
    let (rate, samples) = (good.sample_rate_hz(), good.samples().to_vec());
    let tone = |s: &[f32]| Waveform::new(s.to_vec(), rate);
    save(&wav("short"), &tone(&samples[..rate as usize / 10])).unwrap();
    save(&wav("silent"), &tone(&vec![0.0; 3 * rate as usize])).unwrap();
    save(&wav("mismatch"), &tone(&samples)).unwrap();
    save(&wav("emptytext"), &tone(&samples)).unwrap();
    save(&wav("clipped"), &tone(&samples.iter().map(|s| (s * 400.0).clamp(-1.0, 1.0)).collect::<Vec<_>>()))
        .unwrap();
    // Telephone rate is resampled, not dropped.
    save(&wav("slow"), &Waveform::new(samples.iter().step_by(2).copied().collect(), rate / 2)).unwrap();
    std::fs::write(wav("empty"), "").unwrap();
    std::fs::write(wav("garbage"), vec![7; 4000]).unwrap();
    let whole = std::fs::read(wav("mismatch")).unwrap();
    std::fs::write(wav("cut"), &whole[..whole.len() / 2]).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("/etc/hostname", wav("link")).unwrap();
    let long = "a ".repeat(400);
    let mut rows = std::fs::read_to_string(corpus.join("metadata.csv")).unwrap();
    for (id, text) in [
        ("short", "abc"),
        ("silent", "abcabc"),
        ("mismatch", long.as_str()),
        ("emptytext", "?!"),
        ("clipped", "abcabc"),
        ("slow", "abcabc"),
        ("empty", "abc"),
        ("garbage", "abc"),
        ("cut", "abc"),
        ("missing", "abc"),
        ("link", "abc"),
    ] {
        rows.push_str(&format!("{id}|{text}|{text}|voice0|train\n"));
    }
    std::fs::write(corpus.join("metadata.csv"), rows).unwrap();
    let manifest = Manifest::read(&corpus, f.config.data.layout, false).unwrap();
    let tokenizer = TextTokenizer::new(Vocab::english());
    let work = Preprocessor::new(&manifest, &f.config, f.codec.as_ref(), &tokenizer);
    let cache = dir.path().join("faulty");
    let done = work.make(&cache, |_| ()).unwrap();
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(cache.join("quality.json")).unwrap()).unwrap();
    let rows = json["utterances"].as_array().unwrap();
    let reasons: BTreeMap<&str, Vec<&str>> = rows
        .iter()
        .map(|row| {
            let reasons = row["reasons"].as_array().unwrap().iter();
            (row["id"].as_str().unwrap(), reasons.map(|reason| reason.as_str().unwrap()).collect())
        })
        .collect();
    for (id, reason) in [
        ("short", "too_short"),
        ("mismatch", "text_too_long"),
        ("emptytext", "unusable_text"),
        ("clipped", "clipped"),
        ("empty", "unreadable_audio"),
        ("garbage", "unreadable_audio"),
        ("cut", "unreadable_audio"),
        ("missing", "unreadable_audio"),
        ("link", if cfg!(unix) { "outside_corpus" } else { "unreadable_audio" }),
    ] {
        assert!(reasons[id].contains(&reason), "{id}: {:?}", reasons[id]);
    }
    assert!(!reasons["silent"].is_empty());
    assert!(reasons["slow"].is_empty(), "{:?}", reasons["slow"]);
    let report = &done.report;
    assert_eq!((report.rows, rows.len()), (manifest.utterances.len(), manifest.utterances.len()));
    assert_eq!(report.kept + report.dropped_utterances, report.rows);
    assert_eq!(report.kept, done.cache.utterances().len());
    record("R13", &[("faulty rows", 10.0), ("rows", report.rows as f64), ("kept", report.kept as f64)]);
}
