//! EnCodec against its reference implementation: a tiny model that is committed, and any directories of larger ones.
//!
//! A directory holds `config.json`, `model*.safetensors` (one model in several layouts) and `io.safetensors`: for each case `NAME` the
//! tensors `NAME.audio` `[1, channels, samples]`, `NAME.codes` `[chunks, 1, Q, T]`, `NAME.scales`, `NAME.decoded_qN`, and for one
//! input the activations of every layer (`NAME.input`, `NAME.enc.I`, `NAME.quantized`, `NAME.dec.I`).
//! `HARMONICA_ENCODEC_FIXTURES` names directories beside the committed ones, separated by colons.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has nothing to show")]

use harmonica_codec::{AudioCodec, EnCodec, EnCodecConfig, EncodedChunk};
use harmonica_config_schema::CodebookIndex;
use safetensors::tensor::{Dtype, SafeTensors};
use std::path::{Path, PathBuf};

/// A code may differ where the two nearest vectors are this close, relative to their distance.
const TIE: f64 = 1e-5;

struct Tensor {
    shape: Vec<usize>,
    values: Vec<f32>,
}

struct Fixture {
    dir: PathBuf,
    io: Vec<u8>,
}

impl Fixture {
    fn open(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), io: std::fs::read(dir.join("io.safetensors")).unwrap() }
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.io).unwrap()
    }

    fn get(&self, name: &str) -> Option<Tensor> {
        let file = self.tensors();
        let tensor = file.tensor(name).ok()?;
        let words = tensor.data().as_chunks::<4>().0;
        let values = match tensor.dtype() {
            Dtype::F32 => words.iter().map(|w| f32::from_le_bytes(*w)).collect(),
            Dtype::I32 => words.iter().map(|w| i32::from_le_bytes(*w) as f32).collect(),
            other => panic!("{name} is {other:?}"),
        };
        Some(Tensor { shape: tensor.shape().to_vec(), values })
    }

    fn cases(&self) -> Vec<String> {
        let file = self.tensors();
        let mut cases: Vec<_> =
            file.names().iter().filter_map(|name| name.strip_suffix(".audio")).map(str::to_owned).collect();
        cases.sort();
        cases
    }

    fn models(&self) -> Vec<(String, EnCodec)> {
        let config = EnCodecConfig::parse(&std::fs::read(self.dir.join("config.json")).unwrap()).unwrap();
        let mut names: Vec<String> = std::fs::read_dir(&self.dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("model") && name.ends_with(".safetensors"))
            .collect();
        names.sort();
        let open = |name: &String| {
            EnCodec::from_bytes(config.clone(), &std::fs::read(self.dir.join(name)).unwrap()).unwrap()
        };
        names.iter().map(|name| (name.clone(), open(name))).collect()
    }
}

fn fixtures() -> Vec<Fixture> {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut dirs: Vec<PathBuf> = std::fs::read_dir(committed)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("io.safetensors").exists())
        .collect();
    assert!(dirs.len() >= 3, "{dirs:?}");
    let more = std::env::var("HARMONICA_ENCODEC_FIXTURES").unwrap_or_default();
    dirs.extend(more.split(':').filter(|dir| !dir.is_empty()).map(PathBuf::from));
    dirs.iter().map(|dir| Fixture::open(dir)).collect()
}

/// `[C, T]` to `[T, C]`.
fn by_frame(values: &[f32], channels: usize) -> Vec<f32> {
    let n = values.len() / channels;
    (0..n).flat_map(|t| (0..channels).map(move |c| values[c * n + t])).collect()
}

fn greatest_difference(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len(), "lengths differ");
    found.iter().zip(expected).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max)
}

/// The greatest difference, in parts of the greatest value.
fn relative_difference(found: &[f32], expected: &[f32]) -> f64 {
    let scale = expected.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
    greatest_difference(found, expected) / f64::from(scale)
}

/// Checks codes `[T, Q]` against the reference's: each codebook as far as the earlier ones agree. Returns how many differ within a tie.
fn check_codes(
    codec: &EnCodec,
    latents: &[f32],
    found: &[u16],
    expected: &[f32],
    n_codebooks: usize,
) -> usize {
    let width = codec.latent_width();
    let n_frames = found.len() / n_codebooks;
    let mut ties = 0;
    for t in 0..n_frames {
        let mut residual: Vec<f64> = latents[t * width..][..width].iter().map(|v| f64::from(*v)).collect();
        for q in 0..n_codebooks {
            let (ours, theirs) =
                (usize::from(found[t * n_codebooks + q]), expected[q * n_frames + t] as usize);
            let vectors = codec.codebook_vectors(CodebookIndex::from_zero_based(q));
            let distance = |code: usize| -> f64 {
                let vector = &vectors[code * width..][..width];
                residual.iter().zip(vector).map(|(r, v)| (r - f64::from(*v)).powi(2)).sum()
            };
            if ours != theirs {
                let (a, b) = (distance(ours), distance(theirs));
                let gap = (a - b).abs() / a.max(b).max(1e-12);
                assert!(gap < TIE, "frame {t}, codebook {q}: {ours} instead of {theirs}, gap {gap}");
                ties += 1;
                break;
            }
            let vector = &vectors[ours * width..][..width];
            residual.iter_mut().zip(vector).for_each(|(r, v)| *r -= f64::from(*v));
        }
    }
    ties
}

#[test]
fn codes_and_samples_are_those_of_the_reference() {
    for fixture in fixtures() {
        let (_, codec) = fixture.models().remove(0);
        let config = codec.config().clone();
        let channels = config.audio_channels;
        for case in fixture.cases() {
            let audio = fixture.get(&format!("{case}.audio")).unwrap();
            let expected = fixture.get(&format!("{case}.codes")).unwrap();
            let [n_chunks, 1, n_codebooks, n_frames] = expected.shape[..] else {
                panic!("{:?}", expected.shape)
            };
            let samples = by_frame(&audio.values, channels);
            let chunks = codec.encode_chunks(&samples, n_codebooks).unwrap();
            assert_eq!(chunks.len(), n_chunks);
            let length =
                config.chunk_length_s.map_or(usize::MAX, |s| (s * f64::from(config.sampling_rate)) as usize);
            let stride = ((1.0 - config.overlap.unwrap_or(0.0)) * length as f64) as usize;
            let (mut ties, mut worst) = (0, 0.0_f64);
            for (i, chunk) in chunks.iter().enumerate() {
                // The reference fills the last chunk up with zeros.
                let frames = chunk.codes.len() / n_codebooks;
                let codes = &expected.values[i * n_codebooks * n_frames..][..n_codebooks * n_frames];
                let codes: Vec<f32> =
                    codes.chunks_exact(n_frames).flat_map(|row| row[..frames].to_vec()).collect();
                let heard = &samples[i.saturating_mul(stride) * channels..];
                let heard = &heard[..heard.len().min(length.saturating_mul(channels))];
                let heard: Vec<f32> = heard.iter().map(|v| v / chunk.scale).collect();
                let latents = codec.activations(&heard, &[])[0].pop().unwrap().1;
                if let Some(theirs) = fixture.get(&format!("{case}.embeddings")) {
                    let theirs = by_frame(&theirs.values, config.hidden_size);
                    let difference = relative_difference(&latents, &theirs);
                    assert!(difference < 1e-5, "{case}: latents differ by {difference}");
                }
                ties += check_codes(&codec, &latents, &chunk.codes, &codes, n_codebooks);
                if let Some(scales) = fixture.get(&format!("{case}.scales")) {
                    let relative = (chunk.scale - scales.values[i]).abs() / scales.values[i];
                    assert!(relative < 1e-6, "{case}: scale {} instead of {}", chunk.scale, scales.values[i]);
                }
            }
            for n in 1..=n_codebooks {
                let Some(decoded) = fixture.get(&format!("{case}.decoded_q{n}")) else { continue };
                // The reference's codes, so that a tie is not heard as a difference.
                let theirs: Vec<EncodedChunk> = chunks
                    .iter()
                    .enumerate()
                    .map(|(i, chunk)| {
                        let frames = chunk.codes.len() / n_codebooks;
                        let at =
                            |t: usize, q: usize| expected.values[(i * n_codebooks + q) * n_frames + t] as u16;
                        let codes = (0..frames).flat_map(|t| (0..n).map(move |q| at(t, q))).collect();
                        EncodedChunk { codes, n_codebooks: n, scale: chunk.scale }
                    })
                    .collect();
                let ours = codec.decode_chunks(&theirs).unwrap();
                let difference = greatest_difference(&ours, &by_frame(&decoded.values, channels));
                assert!(difference <= 2e-5, "{case}, {n} codebooks: samples differ by {difference}");
                worst = worst.max(difference);
            }
            println!(
                "{} {case}: {} samples, {n_chunks} x {n_frames} frames x {n_codebooks}, {ties} ties, decoded within {worst:.1e}",
                fixture.dir.display(),
                samples.len() / channels
            );
        }
    }
}

#[test]
fn every_layer_computes_what_the_reference_computes() {
    for fixture in fixtures() {
        let (_, codec) = fixture.models().remove(0);
        let channels = codec.config().audio_channels;
        for case in ["odd", "layers"] {
            let Some(quantized) = fixture.get(&format!("{case}.quantized")) else { continue };
            let audio = fixture
                .get(&format!("{case}.input"))
                .or_else(|| fixture.get(&format!("{case}.audio")))
                .unwrap();
            let samples = by_frame(&audio.values, channels);
            let latents = by_frame(&quantized.values, codec.latent_width());
            let mut worst = 0.0_f64;
            for (half, layers) in ["enc", "dec"].iter().zip(codec.activations(&samples, &latents)) {
                for (number, rows) in layers {
                    let expected = fixture.get(&format!("{case}.{half}.{number}")).unwrap();
                    let expected = by_frame(&expected.values, expected.shape[1]);
                    let difference = relative_difference(&rows, &expected);
                    assert!(difference <= 1e-5, "{case}.{half}.{number} differs by {difference}");
                    worst = worst.max(difference);
                }
            }
            println!("{} {case}: layers within {worst:.1e}", fixture.dir.display());
        }
    }
}

#[test]
fn every_layout_is_the_same_codec() {
    for fixture in fixtures() {
        let models = fixture.models();
        let case = fixture.cases().remove(0);
        let audio = fixture.get(&format!("{case}.audio")).unwrap();
        let samples = by_frame(&audio.values, models[0].1.config().audio_channels);
        let codes: Vec<_> = models.iter().map(|(_, m)| m.encode_chunks(&samples, 2).unwrap()).collect();
        for ((name, model), codes_of) in models.iter().zip(&codes) {
            assert_eq!(model.fingerprint(), models[0].1.fingerprint(), "{name}");
            assert_eq!(codes_of[0].codes, codes[0][0].codes, "{name}");
            println!("{} {name}: {}", fixture.dir.display(), model.fingerprint());
        }
    }
}
