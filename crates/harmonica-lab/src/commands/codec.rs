//! `codec`: fit, describe and use codecs.

use crate::codebook_use;
use crate::failure::Failure;
use crate::output::{Meter, Output};
use crate::setup::ConfigArguments;
use clap::Subcommand;
use harmonica_audio::{Waveform, condition, load, save};
use harmonica_codec::{
    AudioCodec, Bandwidth, CodecTokens, MelRvq, import_encodec, open, open_encodec, read_tokens, write_tokens,
};
use harmonica_config_schema::CodebookIndex;
use harmonica_data::{Manifest, Split, TokenCache};
use std::path::PathBuf;
use std::sync::Arc;

/// Commands about codecs.
#[derive(Debug, Subcommand)]
pub(crate) enum CodecCommand {
    /// Fit the embedded codec on a corpus
    #[command(
        after_help = "Example: harmonica-lab codec fit --config configs/demo.toml --corpus runs/demo/corpus --output runs/demo/codec"
    )]
    Fit {
        /// Corpus directory; held-out utterances are left out where it names them
        #[arg(long, value_name = "DIR")]
        corpus: PathBuf,
        /// Where the codec goes
        #[arg(long, value_name = "DIR")]
        output: PathBuf,
        #[command(flatten)]
        config: ConfigArguments,
    },
    /// Seal an EnCodec model with its bandwidth, as bundles hold it
    #[command(
        after_help = "Example: harmonica-lab codec import --from encodec_24khz --bandwidth 6.0 --output runs/encodec"
    )]
    Import {
        /// Directory with `config.json` and `model.safetensors`, `pytorch_model.bin` or one `.th` file, or `hf://org/name[@revision]`
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
        /// Where the codec goes
        #[arg(long, value_name = "DIR")]
        output: PathBuf,
        /// As many codebooks as fit in so many kbit/s [default: 6.0]
        #[arg(long, value_name = "KBPS")]
        bandwidth: Option<f64>,
    },
    /// Describe a codec, or how the codes of a cache use it
    #[command(after_help = "Example: harmonica-lab codec info --cache runs/demo/cache --json")]
    Info {
        /// Codec directory
        #[arg(long, value_name = "DIR", required_unless_present = "cache")]
        codec: Option<PathBuf>,
        /// Token cache
        #[arg(long, value_name = "DIR")]
        cache: Option<PathBuf>,
    },
    /// Encode a recording to safetensors (`codes`, int32 `[Q, T]`)
    #[command(
        after_help = "Example: harmonica-lab codec encode --codec runs/demo/codec in.wav out.safetensors"
    )]
    Encode {
        /// Codec directory
        #[arg(long, value_name = "DIR")]
        codec: PathBuf,
        /// Keep the first codebooks only
        #[arg(long, value_name = "N")]
        codebooks: Option<usize>,
        /// Of an EnCodec model: as many codebooks as fit in so many kbit/s
        #[arg(long, value_name = "KBPS", conflicts_with = "codebooks")]
        bandwidth: Option<f64>,
        /// Recording
        input: PathBuf,
        /// Safetensors file
        output: PathBuf,
    },
    /// Decode safetensors to a recording
    #[command(
        after_help = "Example: harmonica-lab codec decode --codec runs/demo/codec in.safetensors out.wav"
    )]
    Decode {
        /// Codec directory
        #[arg(long, value_name = "DIR")]
        codec: PathBuf,
        /// Decode in pieces of so many frames; gives the same samples
        #[arg(long, value_name = "FRAMES")]
        stream_chunk: Option<usize>,
        /// Safetensors file
        input: PathBuf,
        /// Recording
        output: PathBuf,
    },
}

pub(crate) fn run(command: CodecCommand, out: Output) -> Result<(), Failure> {
    match command {
        CodecCommand::Fit { corpus, output, config } => {
            let config = config.load()?;
            let follow = config.data.follow_links_outside;
            let manifest = Manifest::read(&corpus, config.data.layout, follow)?;
            let rows: Vec<_> =
                manifest.utterances.iter().filter(|u| matches!(u.split, None | Some(Split::Train))).collect();
            let mut meter = Meter::new(rows.len(), "read");
            // The fit stops asking when it has enough: a large corpus is never read as a whole.
            let speech = spread(rows.len()).enumerate().filter_map(|(done, at)| {
                meter.at(done + 1);
                let waveform = manifest.waveform(rows[at], follow);
                // Damaged recordings are the quality report's business.
                waveform
                    .and_then(|waveform| Ok(condition(waveform, &config.data.audio)?))
                    .inspect_err(|error| out.note(&format!("warning: {error}")))
                    .ok()
            });
            let codec = MelRvq::fit(&config.codec.mel_rvq, speech, |n, residual| {
                out.note(&format!(
                    "codebook {n}/{}: residual {residual:.3}",
                    config.codec.mel_rvq.n_codebooks
                ));
            })?;
            harmonica_codec::save(&codec, &output)?;
            describe(&codec, out);
        }
        CodecCommand::Import { from, output, bandwidth } => {
            describe(import_encodec(&from, bandwidth.map(Bandwidth::Kbps), &output)?.as_ref(), out);
        }
        CodecCommand::Info { codec, cache } => {
            if let Some(codec) = codec {
                describe(open(&codec)?.as_ref(), out);
            }
            if let Some(cache) = cache {
                codebook_use::tell(&TokenCache::open(&cache, None)?, out);
            }
        }
        CodecCommand::Encode { codec, codebooks, bandwidth, input, output } => {
            let codec: Arc<dyn AudioCodec> = match bandwidth {
                Some(kbps) => open_encodec(&codec, Some(Bandwidth::Kbps(kbps)))?,
                None => open(&codec)?,
            };
            let n = codebooks.unwrap_or(codec.spec().n_codebooks);
            if n == 0 || n > codec.spec().n_codebooks {
                return Err(Failure::error(format!(
                    "--codebooks {n} is not from 1 to {}",
                    codec.spec().n_codebooks
                )));
            }
            let tokens = codec.encode(&load(&input)?)?.truncated(n);
            write_tokens(&tokens, &output)?;
            let words = format!("{} codebooks x {} frames", tokens.n_codebooks(), tokens.n_frames());
            out.result(
                &serde_json::json!({ "n_codebooks": tokens.n_codebooks(), "n_frames": tokens.n_frames() }),
                &words,
            );
        }
        CodecCommand::Decode { codec, stream_chunk, input, output } => {
            let codec = open(&codec)?;
            let tokens: CodecTokens = read_tokens(&input, codec.spec())?;
            let waveform = match stream_chunk {
                None => codec.decode(&tokens)?,
                Some(frames) => {
                    let mut stream = codec.decode_stream();
                    let mut samples = Vec::new();
                    for start in (0..tokens.n_frames()).step_by(frames.max(1)) {
                        let end = tokens.n_frames().min(start + frames.max(1));
                        samples.extend(stream.push(&codec.latents_of(&tokens, start..end)?));
                    }
                    samples.extend(stream.finish());
                    samples.truncate(tokens.n_samples());
                    Waveform::new(samples, codec.spec().sample_rate_hz)
                }
            };
            save(&output, &waveform)?;
            out.result(
                &serde_json::json!({ "duration_s": waveform.duration_s() }),
                &format!("{:.2} s", waveform.duration_s()),
            );
        }
    }
    Ok(())
}

/// Every number below `n` once, neighbours far apart: steps of about the golden section, coprime to `n`.
fn spread(n: usize) -> impl Iterator<Item = usize> {
    let divides = |d: usize, step: usize| step.is_multiple_of(d) && n.is_multiple_of(d);
    let coprime = |step: usize| (1..=step.min(n)).rev().find(|d| divides(*d, step)) == Some(1);
    let step = ((n as f64 * 0.618) as usize..n).find(|s| coprime(*s)).unwrap_or(1);
    (0..n).map(move |i| i * step % n)
}

fn describe(codec: &dyn AudioCodec, out: Output) {
    let spec = codec.spec();
    let n_values = codec.codebook_vectors(CodebookIndex::FIRST).len() * spec.n_codebooks;
    let value = serde_json::json!({
        "spec": spec, "frame_rate_hz": spec.frame_rate_hz(), "fingerprint": codec.fingerprint(), "codebook_values": n_values,
    });
    let words = format!(
        "{}: {} Hz, {:.2} frames/s, {} codebooks of {}, fingerprint {}",
        spec.id,
        spec.sample_rate_hz,
        spec.frame_rate_hz(),
        spec.n_codebooks,
        spec.codebook_size,
        codec.fingerprint()
    );
    out.result(&value, &words);
}
