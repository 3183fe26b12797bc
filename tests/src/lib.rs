//! Fixtures of the integration tests: small speech-like signals, a fitted codec, a corpus on disk, a cache, tiny
//! configurations. Invariant: the same fixture is the same bytes in every test.

#![expect(clippy::expect_used, reason = "a fixture that cannot be made is a failed test")]

use harmonica_audio::{Waveform, save};
use harmonica_codec::{AudioCodec, MelRvq};
use harmonica_config_schema::{
    CodebookIndex, Conditioning, ExperimentConfig, MelRvqConfig, Preset, RandomStream, SpecialTokens,
};
use harmonica_data::{Manifest, Preprocessor, TokenCache};
use harmonica_model_core::{CodecGeometry, InterfaceContract};
use harmonica_text::{NORMALIZER_VERSION, TextTokenizer, Vocab};
use std::path::Path;
use std::sync::Arc;

/// Vowel-like buzzes, a syllable for each letter of the text, in a voice of its own pitch.
pub fn speech(text: &str, voice: usize) -> Waveform {
    let mut samples = Vec::new();
    for (i, letter) in text.bytes().enumerate().filter(|(_, b)| b.is_ascii_lowercase()) {
        let n = 1600 + 80 * (usize::from(letter) % 7);
        let pitch = 110.0 + 45.0 * voice as f32 + (i % 5) as f32 * 6.0;
        let formant = 2.0 + f32::from(letter - b'a');
        samples.extend((0..n).map(|s| {
            let t = s as f32 / 16_000.0;
            let envelope = (std::f32::consts::PI * s as f32 / n as f32).sin();
            let partial = |k: i32| {
                (std::f32::consts::TAU * pitch * k as f32 * t).sin() / (1.0 + (k as f32 - formant).abs())
            };
            (1..30).map(partial).sum::<f32>() * 0.12 * envelope
                + 0.001 * ((s * 7919 % 101) as f32 / 50.0 - 1.0)
        }));
    }
    Waveform::new(samples, 16_000)
}

/// A configuration that trains in seconds.
pub fn tiny_config(dir: &Path, conditioning: Conditioning) -> ExperimentConfig {
    let mut config = ExperimentConfig::default();
    let path = |name: &str| dir.join(name).display().to_string();
    config.data.corpus_dir = path("corpus");
    config.data.cache_dir = path("cache");
    config.codec.dir = path("codec");
    config.data.audio.trim = false;
    config.data.quality.min_snr_db = 0.0;
    config.data.batch.max_frames = 120;
    config.data.batch.length_pool = 16;
    config.codec.mel_rvq = MelRvqConfig {
        n_codebooks: 3,
        codebook_size: 32,
        n_components: 16,
        kmeans_iterations: 3,
        phase_iterations: 2,
        ..MelRvqConfig::default()
    };
    config.model.ar.preset = Preset::Test;
    config.model.nar.preset = Preset::Test;
    config.model.nar.n_layers = Some(2);
    config.model.ar.conditioning = conditioning;
    config.model.nar.conditioning = conditioning;
    for (limit, value) in [(&mut config.model.ar.max_frames, 96), (&mut config.model.nar.max_frames, 96)] {
        *limit = value;
    }
    config.training.validate_every_updates = 4;
    config.training.checkpoint_every_updates = 3;
    config.training.log_every_updates = 2;
    config.training.ar.max_updates = 9;
    config.training.nar.max_updates = 9;
    config.training.ar.grad_accumulation = 2;
    config
}

/// Writes a corpus of two voices in LJSpeech layout.
pub fn write_corpus(dir: &Path) {
    let wavs = dir.join("wavs");
    std::fs::create_dir_all(&wavs).expect("a temporary directory is writable");
    let mut rows = String::new();
    for i in 0..24 {
        let mut stream = RandomStream::new(11, "corpus text", &[i]);
        let text: String =
            (0..6 + stream.below(5)).map(|_| char::from(b'a' + stream.below(6) as u8)).collect();
        let (voice, split) = (i as usize % 2, if i % 6 == 5 { "valid" } else { "train" });
        let id = format!("u{i:02}");
        save(&wavs.join(format!("{id}.wav")), &speech(&text, voice))
            .expect("a temporary directory is writable");
        rows.push_str(&format!("{id}|{text}|{text}|voice{voice}|{split}\n"));
    }
    std::fs::write(dir.join("metadata.csv"), rows).expect("a temporary directory is writable");
}

/// Writes figures of a reliability test to the file that `HARMONICA_RELIABILITY_LOG` names, if it names one; `row` is the
/// test's number on the scorecard.
pub fn record(row: &str, figures: &[(&str, f64)]) {
    use std::io::Write;
    let Some(path) = std::env::var_os("HARMONICA_RELIABILITY_LOG") else { return };
    let line: serde_json::Value = figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("a writable log");
    writeln!(file, "{}", serde_json::json!({ "row": row, "figures": line })).expect("a writable log");
}

/// A corpus, its codec and its cache.
pub struct Fixture {
    /// The configuration it was made with.
    pub config: ExperimentConfig,
    /// Fitted codec.
    pub codec: Arc<MelRvq>,
    /// Encoded corpus.
    pub cache: Arc<TokenCache>,
}

impl Fixture {
    /// Makes everything in a directory.
    pub fn new(dir: &Path, conditioning: Conditioning) -> Self {
        let config = tiny_config(dir, conditioning);
        write_corpus(&dir.join("corpus"));
        let manifest =
            Manifest::read(&dir.join("corpus"), config.data.layout, false).expect("the fixture's manifest");
        let voices: Vec<Waveform> = (0..12).map(|i| speech("abcdefabcdef", i % 3)).collect();
        let codec = MelRvq::fit(&config.codec.mel_rvq, voices, |_, _| ()).expect("the fixture's codec");
        harmonica_codec::save(&codec, &dir.join("codec")).expect("a temporary directory is writable");
        let tokenizer = TextTokenizer::new(Vocab::english());
        let work = Preprocessor::new(&manifest, &config, &codec, &tokenizer);
        let done = work.make(&dir.join("cache"), |_| ()).expect("the fixture's cache");
        Self { config, codec: Arc::new(codec), cache: Arc::new(done.cache) }
    }

    /// Opens what [`Fixture::new`] made in a directory, in another process.
    pub fn open(dir: &Path, conditioning: Conditioning) -> Self {
        let config = tiny_config(dir, conditioning);
        let codec = harmonica_codec::open_mel_rvq(&dir.join("codec")).expect("the fixture's codec");
        let cache = TokenCache::open(&dir.join("cache"), None).expect("the fixture's cache");
        Self { config, codec, cache: Arc::new(cache) }
    }

    /// Centroids for the models.
    pub fn geometry(&self) -> CodecGeometry {
        let n = self.codec.spec().n_codebooks;
        let codebooks =
            (0..n).map(|q| self.codec.codebook_vectors(CodebookIndex::from_zero_based(q)).to_vec());
        CodecGeometry::new(codebooks, self.codec.latent_width())
    }

    /// The contract of a model of this configuration.
    pub fn contract(&self) -> InterfaceContract {
        let spec = self.codec.spec().clone();
        InterfaceContract {
            format_version: 1,
            special: SpecialTokens::above(spec.codebook_size),
            codec: spec,
            codec_fingerprint: self.codec.fingerprint().clone(),
            vocabulary: self.cache.vocab().fingerprint(),
            vocabulary_size: self.cache.vocab().len(),
            normalizer: NORMALIZER_VERSION.into(),
            prompt_format: InterfaceContract::PROMPT_FORMAT.into(),
            speakers: self.cache.speakers().to_vec(),
            max_frames: self.config.model.ar.max_frames,
            max_text_symbols: self.config.model.ar.max_text_symbols,
            width: 32,
            conditioning: self.config.model.ar.conditioning,
            speaker: self.config.model.ar.speaker,
            length_control: Some(self.config.model.ar.length_control),
        }
    }
}
