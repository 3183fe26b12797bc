//! Codec directories (`codec.json` and `codec.safetensors`, joined by the separator) and token files (no separator).
//!
//! A codec that opens encodes and decodes; tokens that are read are in range. The fingerprint is put in here: it is a
//! checksum and keeps nobody out.
#![no_main]

use harmonica_audio::Waveform;
use harmonica_codec::{AudioCodec, CodecTokens, open_bytes, parse_tokens};
use harmonica_config_schema::CodecSpec;
use harmonica_fuzz::{SEPARATOR, files};
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fn tokens(data: &[u8]) {
    let spec = CodecSpec {
        id: "mel_rvq".into(),
        sample_rate_hz: 16_000,
        hop_samples: 640,
        n_codebooks: 4,
        codebook_size: 64,
    };
    let Ok(tokens) = parse_tokens(Path::new("tokens"), data, &spec) else { return };
    assert!((1..=spec.n_codebooks).contains(&tokens.n_codebooks()) && tokens.n_frames() > 0);
    assert_eq!(tokens.codes().len(), tokens.n_codebooks() * tokens.n_frames());
    assert!(tokens.codes().iter().all(|c| usize::from(*c) < spec.codebook_size));
    assert!(tokens.n_samples() <= tokens.n_frames() * spec.hop_samples);
}

fuzz_target!(|data: &[u8]| {
    if !data.windows(SEPARATOR.len()).any(|window| window == SEPARATOR) {
        return tokens(data);
    }
    let [description, weights] = files::<2>(data);
    let dir = Path::new("codec");
    let codec = open_bytes(dir, description, weights).or_else(|error| {
        let words = error.to_string();
        let right = words.split_once("its fingerprint is ").and_then(|(_, rest)| rest.split_once(','));
        let value = serde_json::from_slice::<serde_json::Value>(description).ok();
        let (Some((right, _)), Some(mut value)) = (right, value) else { return Err(error) };
        value["fingerprint"] = right.into();
        open_bytes(dir, value.to_string().as_bytes(), weights)
    });
    let Ok(codec) = codec else { return };
    let spec = codec.spec().clone();
    assert!(
        spec.hop_samples > 0 && spec.n_codebooks > 0 && spec.codebook_size > 0 && codec.latent_width() > 0
    );
    let config = codec.config();
    if config.phase_iterations * config.stack * config.fft_samples > 100_000 {
        return; // Right, but too slow to try a million times.
    }
    let code = (spec.codebook_size - 1).min(usize::from(u16::MAX)) as u16;
    let n_samples = 2 * spec.hop_samples - 1;
    let tokens = CodecTokens::new(vec![code; 2 * spec.n_codebooks], spec.n_codebooks, n_samples, &spec)
        .expect("tokens of the codec's own size");
    let heard = codec.decode(&tokens).expect("tokens of this codec");
    assert_eq!((heard.samples().len(), heard.sample_rate_hz()), (n_samples, spec.sample_rate_hz));
    assert!(heard.samples().iter().all(|sample| sample.is_finite()));
    let waveform =
        Waveform::new((0..n_samples).map(|n| (n as f32 * 0.1).sin()).collect(), spec.sample_rate_hz);
    let encoded = codec.encode(&waveform).expect("a waveform of its own rate");
    assert_eq!((encoded.n_frames(), encoded.n_codebooks()), (2, spec.n_codebooks));
});
