//! EnCodec piece by piece equals EnCodec as a whole, bit for bit.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has nothing to show")]

use harmonica_codec::{AudioCodec, CodecTokens, EnCodec, EnCodecConfig};
use harmonica_config_schema::{CodecSpec, RandomStream};
use std::path::Path;

fn model(name: &str) -> EnCodec {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    let config = EnCodecConfig::parse(&std::fs::read(dir.join("config.json")).unwrap()).unwrap();
    EnCodec::from_bytes(config, &std::fs::read(dir.join("model.safetensors")).unwrap()).unwrap()
}

/// Causal with mirrored ends, looking ahead, and trimmed at both sides with zeros at the ends.
const MODELS: [&str; 3] = ["encodec-causal", "encodec-centred", "encodec-constant"];

fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut random = RandomStream::new(seed, "streaming noise", &[]);
    (0..n).map(|_| 0.3 * random.normal() as f32).collect()
}

/// Cuts `values` of `width` a row into pieces of random length, some of them empty.
fn pieces<'a>(values: &'a [f32], width: usize, random: &mut RandomStream) -> Vec<&'a [f32]> {
    let (mut rest, mut pieces) = (values, Vec::new());
    let longest = [1, 3, 8, 100, 3000][random.below(5)];
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((random.below(longest + 1) * width).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(&[]);
    pieces
}

#[test]
fn encoding_in_random_pieces_gives_the_same_codes_and_a_stream_can_be_used_again() {
    let mut random = RandomStream::new(1, "encoded pieces", &[]);
    for name in MODELS {
        let codec = model(name);
        let mut reused = codec.encode_stream();
        for (round, n) in
            [1, 5, 7, 23, 24, 25, 100, 143, 168, 169, 977, 2500, 0, 3001].into_iter().enumerate()
        {
            let samples = noise(n, round as u64);
            let mut whole = codec.encode_stream();
            let mut expected = whole.push(&samples);
            expected.extend(whole.finish());
            assert_eq!(expected.len(), n.div_ceil(24) * codec.spec().n_codebooks);
            for _ in 0..8 {
                let mut found = Vec::new();
                for piece in pieces(&samples, 1, &mut random) {
                    found.extend(reused.push(piece));
                }
                found.extend(reused.finish());
                assert_eq!(found, expected, "{name}, {n} samples");
            }
        }
    }
}

#[test]
fn decoding_in_random_pieces_gives_the_same_samples_for_any_number_of_frames_and_threads() {
    let mut random = RandomStream::new(2, "decoded pieces", &[]);
    let two_threads = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for name in MODELS {
        let codec = model(name);
        let width = codec.latent_width();
        let mut reused = codec.decode_stream();
        for (round, n) in [1, 2, 5, 6, 7, 8, 48, 49, 120, 0, 301].into_iter().enumerate() {
            let latents = noise(n * width, round as u64);
            let expected = one_thread.install(|| codec.decode_latent(&latents));
            let expected = expected.samples();
            assert_eq!(expected.len(), n * codec.spec().hop_samples);
            assert_eq!(two_threads.install(|| codec.decode_latent(&latents)).samples(), expected);
            for _ in 0..8 {
                let mut found = Vec::new();
                for piece in pieces(&latents, width, &mut random) {
                    found.extend(reused.push(piece));
                }
                found.extend(reused.finish());
                assert!(found == expected, "{name}, {n} frames");
            }
        }
    }
}

/// What is said early does not wait: after the frames that the first convolution mirrors, every frame brings its samples.
#[test]
fn a_causal_decoder_speaks_after_seven_frames_and_an_encoder_after_as_many() {
    let codec = model("encodec-causal");
    let (width, hop) = (codec.latent_width(), codec.spec().hop_samples);
    let latents = noise(20 * width, 4);
    let mut stream = codec.decode_stream();
    let mut heard = 0;
    for (i, latent) in latents.chunks(width).enumerate() {
        heard += stream.push(latent).len();
        // Every later layer may hold back a few rows more, far less than a frame for each.
        assert!(heard <= (i + 1) * hop, "{heard} samples of {} frames", i + 1);
        assert_eq!(heard > 0, i >= 6, "{heard} samples after {} frames", i + 1);
    }
    assert_eq!(heard, 20 * hop, "a causal decoder holds nothing back");
    let mut stream = codec.encode_stream();
    let mut codes = Vec::new();
    for sample in noise(20 * hop, 5) {
        codes.extend(stream.push(&[sample]));
    }
    assert_eq!(codes.len(), 20 * codec.spec().n_codebooks, "a causal encoder holds no whole frame back");
}

#[test]
fn frames_that_nobody_asks_for_are_not_looked_at_and_a_foreign_code_among_the_others_is_refused() {
    let codec = model("encodec-causal");
    let spec = codec.spec();
    let mut codes = vec![1; 6 * 20];
    codes[2 * 20 + 7] = spec.codebook_size as u16;
    let wider = CodecSpec { codebook_size: 2 * spec.codebook_size, ..spec.clone() };
    let tokens = CodecTokens::new(codes, 6, usize::MAX, &wider).unwrap();
    for frames in [0..7, 8..20] {
        assert_eq!(
            codec.latents_of(&tokens, frames.clone()).unwrap().len(),
            frames.len() * codec.latent_width()
        );
    }
    for frames in [7..8, 0..20] {
        let error = codec.latents_of(&tokens, frames).unwrap_err().to_string();
        assert!(error.contains("6 codebooks"), "{error}");
    }
}
