//! The baseline configurations on small corpora of their layouts: what they name exists, and both models learn from it.

use crate::resume::{ONE_AT_A_TIME, task_ar, task_nar, train};
use harmonica_audio::{Waveform, condition, load, resample, save};
use harmonica_codec::MelRvq;
use harmonica_config_schema::record::MetricsLine;
use harmonica_config_schema::{ConfigLoader, CorpusLayout, ExperimentConfig, RandomStream};
use harmonica_data::{Manifest, Preprocessor, Split};
use harmonica_tests::{Fixture, speech};
use harmonica_text::{TextTokenizer, Vocab};
use harmonica_training::RunDir;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const N_UPDATES: u64 = 20;
const N_SPEAKERS: u64 = 3;
const N_EACH: u64 = 10;

fn config_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs").join(name)
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn write_wav(path: &Path, waveform: &Waveform, rate_hz: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    save(path, &resample(waveform, rate_hz).unwrap()).unwrap();
}

/// A few readers, laid out and sampled as a corpus of this layout is.
fn write_corpus(root: &Path, layout: CorpusLayout) {
    let mut table = String::new();
    for speaker in 0..N_SPEAKERS {
        for i in 0..N_EACH {
            let mut stream = RandomStream::new(3, "baseline text", &[speaker, i]);
            let text: String =
                (0..7 + stream.below(5)).map(|_| char::from(b'a' + stream.below(6) as u8)).collect();
            let waveform = speech(&text, speaker as usize);
            match layout {
                CorpusLayout::Ljspeech => {
                    let id = format!("LJ{speaker:03}-{i:04}");
                    write_wav(&root.join(format!("wavs/{id}.wav")), &waveform, 22_050);
                    writeln!(table, "{id}|{text}|{text}").unwrap();
                }
                CorpusLayout::Vctk => {
                    let (reader, id) = (format!("p{}", 225 + speaker), format!("p{}_{i:03}", 225 + speaker));
                    write_wav(&root.join(format!("wav48/{reader}/{id}.wav")), &waveform, 48_000);
                    write(&root.join(format!("txt/{reader}/{id}.txt")), text.as_bytes());
                }
                CorpusLayout::Libritts => {
                    let part = ["train-clean-100", "dev-clean"][usize::from(i % 5 == 4)];
                    let at = format!("{part}/{speaker}/{i}/{speaker}_{i}_000000_000000");
                    write_wav(&root.join(format!("{at}.wav")), &waveform, 24_000);
                    write(&root.join(format!("{at}.normalized.txt")), text.as_bytes());
                }
                other => panic!("no baseline has the layout {other:?}"),
            }
        }
    }
    if layout == CorpusLayout::Ljspeech {
        write(&root.join("metadata.csv"), table.as_bytes());
    }
}

/// The configuration as it is committed, and made small.
fn small(name: &str, dir: &Path) -> ExperimentConfig {
    ConfigLoader::new().file(config_path(name)).resolve().unwrap_or_else(|e| panic!("{name}: {e}"));
    let at = |key: &str, folder: &str| format!("{key}={:?}", dir.join(folder).display().to_string());
    let overrides = [
        at("data.corpus_dir", "corpus"),
        at("data.cache_dir", "cache"),
        at("codec.dir", "codec"),
        "data.batch.max_frames=120".into(),
        "data.audio.trim=false".into(),
        "data.quality.min_snr_db=0.0".into(),
        "data.split.valid_share=0.2".into(),
        "codec.mel_rvq.codebook_size=32".into(),
        "codec.mel_rvq.kmeans_iterations=3".into(),
        "model.ar.preset=\"test\"".into(),
        "model.nar.preset=\"test\"".into(),
        "model.nar.n_layers=2".into(),
        "training.log_every_updates=5".into(),
        "training.validate_every_updates=10".into(),
        format!("training.ar.max_updates={N_UPDATES}"),
        format!("training.nar.max_updates={N_UPDATES}"),
    ];
    ConfigLoader::new().file(config_path(name)).overrides(overrides).load().unwrap()
}

fn learns(name: &str, layout: CorpusLayout) {
    let _alone = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().unwrap();
    let config = small(name, dir.path());
    assert_eq!(config.data.layout, layout);
    write_corpus(&dir.path().join("corpus"), layout);
    let manifest = Manifest::of(&config.data).unwrap();
    assert_eq!(manifest.utterances.len() as u64, N_SPEAKERS * N_EACH);
    let voices: Vec<Waveform> = manifest
        .utterances
        .iter()
        .map(|u| {
            condition(load(&manifest.audio_path(u, false).unwrap()).unwrap(), &config.data.audio).unwrap()
        })
        .collect();
    let codec = MelRvq::fit(&config.codec.mel_rvq, voices, |_, _| ()).unwrap();
    let tokenizer = TextTokenizer::new(Vocab::english());
    let work = Preprocessor::new(&manifest, &config, &codec, &tokenizer);
    let cache = work.make(&dir.path().join("cache"), |_| ()).unwrap().cache;
    assert!(cache.split(Split::Train).len() > 15 && cache.split(Split::Valid).len() > 2, "{name}");
    let f = Fixture { config, codec: Arc::new(codec), cache: Arc::new(cache) };
    for model in ["ar", "nar"] {
        let run = dir.path().join(model);
        match model {
            "ar" => train(&f, task_ar(&f), &run, u64::MAX),
            _ => train(&f, task_nar(&f), &run, u64::MAX),
        }
        let lines = RunDir::new(&run).unwrap().metrics();
        assert_eq!(lines.last().unwrap().update(), N_UPDATES, "{name} {model}");
        let training = lines.iter().filter_map(|line| match line {
            MetricsLine::Train(metrics) => Some(metrics.cross_entropy),
            _ => None,
        });
        assert!(training.clone().count() == 4 && training.clone().all(f64::is_finite), "{name} {model}");
        let validations: Vec<f64> = lines
            .iter()
            .filter_map(|line| match line {
                MetricsLine::Validation(metrics) => Some(metrics.cross_entropy),
                _ => None,
            })
            .collect();
        assert!(
            validations.len() == 2 && validations[1] < validations[0],
            "{name} {model} did not learn: {validations:?}"
        );
    }
}

#[test]
fn the_ljspeech_baseline_learns_from_a_corpus_of_its_layout() {
    learns("baseline-ljspeech.toml", CorpusLayout::Ljspeech);
}

#[test]
fn the_vctk_baseline_learns_from_a_corpus_of_its_layout() {
    learns("baseline-vctk.toml", CorpusLayout::Vctk);
}

#[test]
fn the_libritts_baseline_learns_from_a_corpus_of_its_layout() {
    learns("baseline-libritts.toml", CorpusLayout::Libritts);
}
