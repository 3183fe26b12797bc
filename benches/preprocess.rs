//! Preprocessing: measure, judge and encode a small corpus.

#![expect(clippy::expect_used, reason = "a bench that cannot set itself up has nothing to measure")]

use criterion::{Criterion, criterion_group, criterion_main};
use harmonica_benches::{codec, config, signal};
use harmonica_data::{Manifest, Preprocessor};
use harmonica_text::{TextTokenizer, Vocab};

fn corpus(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir(dir.path().join("wavs")).expect("a temporary directory is writable");
    let mut rows = String::new();
    for i in 0..32 {
        let path = dir.path().join(format!("wavs/u{i}.wav"));
        harmonica_audio::save(&path, &signal(2.0)).expect("a temporary directory is writable");
        let split = if i == 0 { "valid" } else { "train" };
        rows.push_str(&format!("u{i}|open the red box near|open the red box near|a|{split}\n"));
    }
    std::fs::write(dir.path().join("metadata.csv"), rows).expect("a temporary directory is writable");
    let mut config = config();
    config.data.quality.min_snr_db = 0.0;
    // The same signal in every file.
    config.data.quality.drop_duplicate_audio = false;
    let manifest =
        Manifest::read(dir.path(), config.data.layout, false).expect("the manifest that was just written");
    let (codec, tokenizer) = (codec(), TextTokenizer::new(Vocab::english()));
    let mut group = c.benchmark_group("preprocess");
    group.sample_size(10);
    group.bench_function("64 s of speech", |b| {
        // A place of its own each time: what is known is not encoded again.
        let mut n = 0;
        b.iter(|| {
            n += 1;
            Preprocessor::new(&manifest, &config, &codec, &tokenizer)
                .make(&dir.path().join(format!("cache-{n}")), |_| ())
        })
    });
    group.finish();
}

criterion_group!(benches, corpus);
criterion_main!(benches);
