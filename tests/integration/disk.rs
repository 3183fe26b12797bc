//! A disk that fills up or turns read-only at any write: a clean stop, and what was there before is still usable.
//!
//! The test lets processes of its own binary meet such a disk (`harmonica-storage/src/failpoint.rs`), at one operation after
//! the other, and looks at what they said and left.

use crate::bundle::parts;
use crate::crashes::{assert_consistent, assert_same, content};
use crate::resume::{manifest, task_nar};
use crate::voices::prompt_parts;
use harmonica_config_schema::Conditioning;
use harmonica_data::{Manifest, Preprocessor, TokenCache, copy_report};
use harmonica_inference::{Bundle, SynthesisRequest, SynthesizerBuilder};
use harmonica_tests::{Fixture, record, speech};
use harmonica_text::{TextTokenizer, Vocab};
use harmonica_training::{RunDir, TrainOutcome, Trainer};
use std::error::Error;
use std::path::Path;
use std::process::Command;

const FIXTURE: &str = "HARMONICA_TEST_DISK_FIXTURE";
const WORK: &str = "HARMONICA_TEST_DISK_WORK";
/// Every so many operations are tried; releases try all by `HARMONICA_DISK_STRIDE=1`.
const STRIDE: u64 = 9;
/// A bundle that takes voices, beside the fixture.
const VOICED: &str = "voiced";

/// Not a test by itself: the process that meets the disk. Without the variables that name its work it does nothing.
#[test]
fn disk_worker() {
    let (Some(fixture), Some(work)) = (std::env::var_os(FIXTURE), std::env::var_os(WORK)) else { return };
    let (fixture, work) = (Path::new(&fixture), Path::new(&work));
    let done = match work.file_name().and_then(|name| name.to_str()) {
        Some("run") => train(fixture, work),
        Some("fresh") => cache(fixture, work),
        _ => artefacts(fixture, work),
    };
    let words = done.map_or_else(|error| chain(error.as_ref()), |()| "done".to_owned());
    // Not through the storage: this is the test's own note.
    std::fs::write(work.with_extension("outcome"), words).unwrap();
}

fn chain(error: &dyn Error) -> String {
    let cause = error.source().map_or_else(String::new, |cause| format!(": {}", chain(cause)));
    format!("{error}{cause}")
}

fn train(fixture: &Path, run: &Path) -> Result<(), Box<dyn Error>> {
    let mut f = Fixture::open(fixture, Conditioning::Cross);
    f.config.training.checkpoint_every_updates = 2;
    f.config.training.validate_every_updates = 3;
    f.config.training.keep_checkpoints = 1;
    f.config.training.nar.max_updates = 6;
    let run = RunDir::new(run)?;
    let trainer = Trainer::new(task_nar(&f), &f.config, run.clone(), true)?;
    run.describe(&f.config, &manifest(&f, "nar"))?;
    let TrainOutcome { update, .. } = trainer.run(&mut ())?;
    assert_eq!(update, 6);
    Ok(())
}

/// A cache where there was none, in many shards.
fn cache(fixture: &Path, work: &Path) -> Result<(), Box<dyn Error>> {
    let mut f = Fixture::open(fixture, Conditioning::Cross);
    f.config.data.shard_rows = 5;
    let corpus = Manifest::of(&f.config.data)?;
    let tokenizer = TextTokenizer::new(Vocab::english());
    Preprocessor::new(&corpus, &f.config, f.codec.as_ref(), &tokenizer).make(&work.join("cache"), |_| ())?;
    Ok(())
}

/// Codec, cache, quality report, bundle and speech, each in the place of an older one, and one more voice.
fn artefacts(fixture: &Path, work: &Path) -> Result<(), Box<dyn Error>> {
    let f = Fixture::open(fixture, Conditioning::Cross);
    harmonica_codec::save(&f.codec, &work.join("codec"))?;
    let corpus = Manifest::read(&fixture.join("corpus"), f.config.data.layout, false)?;
    let tokenizer = TextTokenizer::new(Vocab::english());
    let cache = work.join("cache");
    Preprocessor::new(&corpus, &f.config, f.codec.as_ref(), &tokenizer).make(&cache, |_| ())?;
    copy_report(&cache, &work.join("quality"))?;
    Bundle::write(&parts(&f, fixture), &work.join("bundle"))?;
    let synthesizer = SynthesizerBuilder::new(work.join("bundle")).open()?;
    synthesizer.speak(&SynthesisRequest::new("abc"))?.save(&work.join("abc.wav"))?;
    let voiced = fixture.join(VOICED);
    let synthesizer = SynthesizerBuilder::new(&voiced).open()?;
    let reference = synthesizer.reference(&speech("abcdef", 0), None)?.reference;
    Bundle::enroll(&voiced, "one-more", &reference)?;
    Ok(())
}

fn process(fixture: &Path, work: &Path, disk: Option<&str>) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "disk::disk_worker", "--quiet"]).env(FIXTURE, fixture).env(WORK, work);
    command.env("RAYON_NUM_THREADS", "1").envs(disk.map(|disk| ("HARMONICA_DISK", disk)));
    let output = command.output().unwrap();
    // A panic is our fault, whatever the disk does.
    assert!(output.status.success(), "{disk:?}: {}", String::from_utf8_lossy(&output.stdout));
    std::fs::read_to_string(work.with_extension("outcome")).unwrap()
}

/// Lets `each` look at what one disk after the other made of the work, until one comes too late to matter. Returns how many
/// disks there were.
fn every_disk(fixture: &Path, work: &Path, prepare: impl Fn(), each: impl Fn(&str)) -> u64 {
    let stride = std::env::var("HARMONICA_DISK_STRIDE").map_or(STRIDE, |n| n.parse().unwrap());
    let mut n_disks = 0;
    for (state, remedy) in [("full", "make room"), ("read-only", "read-only")] {
        for n in (1..).step_by(stride as usize) {
            prepare();
            let disk = format!("{state}:{n}");
            let words = process(fixture, work, Some(&disk));
            if words == "done" {
                break;
            }
            assert!(words.contains(remedy), "{disk}: {words}");
            assert!(words.contains(&fixture.display().to_string()), "{disk}: {words} names no path");
            each(&disk);
            n_disks += 1;
        }
    }
    n_disks
}

#[test]
fn training_stops_and_goes_on_when_there_is_room_again() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = dir.path();
    Fixture::new(fixture, Conditioning::Cross);
    let (whole, run) = (fixture.join("whole/run"), fixture.join("full/run"));
    for run in [&whole, &run] {
        std::fs::create_dir_all(run.parent().unwrap()).unwrap();
    }
    assert_eq!(process(fixture, &whole, None), "done");
    let wanted = content(&whole);
    let prepare = || {
        let _ = std::fs::remove_dir_all(&run);
    };
    let n = every_disk(fixture, &run, prepare, |disk| {
        if run.exists() {
            assert_consistent(&run, disk);
        }
        assert_eq!(process(fixture, &run, None), "done", "{disk}");
        assert_same(&content(&run), &wanted, disk);
    });
    assert!(n > 10, "{n}");
    record("R8", &[("full and read-only disks while training", n as f64)]);
}

#[test]
fn preprocessing_stops_and_goes_on_when_there_is_room_again() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = dir.path();
    Fixture::new(fixture, Conditioning::Cross);
    let (whole, fresh) = (fixture.join("whole/fresh"), fixture.join("full/fresh"));
    for work in [&whole, &fresh] {
        std::fs::create_dir_all(work).unwrap();
    }
    assert_eq!(process(fixture, &whole, None), "done");
    let wanted = content(&whole);
    let prepare = || {
        let _ = std::fs::remove_dir_all(&fresh);
        std::fs::create_dir_all(&fresh).unwrap();
    };
    let n = every_disk(fixture, &fresh, prepare, |disk| {
        let cache = fresh.join("cache");
        assert!(!cache.exists() || TokenCache::open(&cache, None).is_ok(), "{disk}");
        assert_eq!(process(fixture, &fresh, None), "done", "{disk}");
        assert_same(&content(&fresh), &wanted, disk);
    });
    assert!(n > 5, "{n}");
    record("R8", &[("full and read-only disks while preprocessing", n as f64)]);
}

#[test]
fn artefacts_stay_what_they_were_until_they_are_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = dir.path();
    let parts = prompt_parts(Fixture::new(fixture, Conditioning::Cross), fixture);
    let (voiced, without) = (fixture.join(VOICED), fixture.join("without"));
    Bundle::write(&parts, &voiced).unwrap();
    crate::checkpoints::copy(&voiced, &without);
    let (old, work) = (fixture.join("old"), fixture.join("work"));
    std::fs::create_dir_all(&old).unwrap();
    assert_eq!(process(fixture, &old, None), "done");
    let wanted = content(&old);
    let prepare = || {
        // A voice that is there is not replaced, and each one that a late disk let in would take more operations than the one before.
        for (from, to) in [(&old, &work), (&without, &voiced)] {
            let _ = std::fs::remove_dir_all(to);
            crate::checkpoints::copy(from, to);
        }
    };
    let n = every_disk(fixture, &work, prepare, |disk| {
        harmonica_codec::open(&work.join("codec")).unwrap();
        TokenCache::open(&work.join("cache"), None).unwrap();
        Bundle::open(&work.join("bundle")).unwrap();
        Bundle::open(&voiced).unwrap();
        harmonica_audio::load(&work.join("abc.wav")).unwrap();
        assert_same(&content(&work), &wanted, disk);
    });
    assert!(n > 5, "{n}");
    record("R8", &[("full and read-only disks under artefacts", n as f64)]);
}
