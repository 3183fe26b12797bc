//! `bundle`: one directory that speaks.

use crate::commands::gate;
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use harmonica_config_schema::{ConfigLoader, DecodeConfig, ExperimentConfig, SpeakerConditioning};
use harmonica_data::{Split, TokenCache};
use harmonica_inference::{
    BUNDLE_VERSION, Bundle, BundleEvaluation, BundleManifest, BundleParts, CodecTokens, Reference,
};
use harmonica_storage::MANIFEST;
use harmonica_text::{NORMALIZER_VERSION, Vocab};
use harmonica_training::{Checkpoint, WeightKind};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A vocabulary of at most so many words is listed in the bundle, so that other words can warn.
const CLOSED_VOCABULARY_WORDS: usize = 200;

/// Arguments of `bundle`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: harmonica-lab bundle --ar runs/demo/ar/step-00006000 --nar runs/demo/nar/step-00006000 --codec runs/demo/codec --output runs/demo/bundle"
)]
pub(crate) struct BundleArguments {
    /// AR checkpoint
    #[arg(long, value_name = "CKPT", required_unless_present = "from")]
    ar: Option<PathBuf>,
    /// NAR checkpoint
    #[arg(long, value_name = "CKPT", required_unless_present = "from")]
    nar: Option<PathBuf>,
    /// Codec directory
    #[arg(long, value_name = "DIR", required_unless_present = "from")]
    codec: Option<PathBuf>,
    /// Instead of checkpoints and codec: a bundle, whose models, codec and voices stay as they are, for another --decode or an --evaluation
    #[arg(long, value_name = "BUNDLE", conflicts_with_all = ["ar", "nar", "codec"])]
    from: Option<PathBuf>,
    /// Where the bundle goes
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Decode settings as a JSON file, such as the one that an evaluation on validation chose
    #[arg(long, value_name = "FILE")]
    decode: Option<PathBuf>,
    /// What `harmonica-lab evaluate` found for this very bundle (eval.json); `harmonica inspect` shows it
    #[arg(long, value_name = "FILE")]
    evaluation: Option<PathBuf>,
}

fn config_of(checkpoint: &Checkpoint) -> Result<ExperimentConfig, Failure> {
    Ok(ConfigLoader::new().file(checkpoint.config_path()).load()?)
}

fn decode_settings(path: &Path) -> Result<DecodeConfig, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::error(format!("cannot read `{}`: {e}", path.display())))?;
    let decode: DecodeConfig = serde_json::from_str(&text)
        .map_err(|e| Failure::error(format!("`{}` holds no decode settings: {e}", path.display())))?;
    match decode.problems().first() {
        Some(problem) => Err(Failure::error(problem.message())),
        None => Ok(decode),
    }
}

/// The parts of a bundle that is there, with other decode settings where some are given.
fn parts_of(bundle: &Path, decode: Option<&Path>) -> Result<BundleParts, Failure> {
    let mut parts = BundleParts::of(Bundle::open(bundle)?);
    if let Some(path) = decode {
        parts.manifest.decode = decode_settings(path)?;
        // It was found with the settings of before.
        parts.manifest.evaluation = None;
    }
    Ok(parts)
}

/// Collects the parts of a bundle from two checkpoints.
pub(crate) fn collect(
    ar: &Path,
    nar: &Path,
    codec: &Path,
    decode: Option<&Path>,
) -> Result<BundleParts, Failure> {
    let (ar, nar) = (Checkpoint::open(ar)?, Checkpoint::open(nar)?);
    let (config, nar_config) = (config_of(&ar)?, config_of(&nar)?);
    let (ar_contract, nar_contract) = (ar.contract().clone(), nar.contract().clone());
    ar_contract.check_nar(&nar_contract)?;
    let is_published = codec.join("config.json").is_file() && !codec.join(MANIFEST).exists();
    if is_published || codec.starts_with("hf:") {
        return Err(Failure::error(format!(
            "`{}` is an EnCodec model as it was published; a bundle takes it sealed with its bandwidth: `harmonica-lab codec import`",
            codec.display()
        )));
    }
    let open = harmonica_codec::open(codec)?;
    ar_contract.check_codec(open.spec(), open.fingerprint())?;
    ar_contract.check_text(&Vocab::english().fingerprint(), NORMALIZER_VERSION)?;
    let decode = match decode {
        None => config.decode.clone(),
        Some(path) => decode_settings(path)?,
    };
    // The words of the corpus, where its cache is still there; a bundle without them does not warn.
    let cache = TokenCache::open(Path::new(&config.data.cache_dir), None).ok();
    let known_words = cache.as_ref().and_then(|cache| {
        let words: BTreeSet<String> = cache
            .split(Split::Train)
            .into_iter()
            .flat_map(|i| cache.utterances()[i].text.split(' ').map(str::to_owned).collect::<Vec<_>>())
            .collect();
        (words.len() <= CLOSED_VOCABULARY_WORDS).then(|| words.into_iter().collect())
    });
    let speakers = [ar_contract.speaker, nar_contract.speaker];
    let references = if speakers.contains(&SpeakerConditioning::Prompt) {
        let longest = config.model.ar.max_frames.min(nar_config.model.nar.max_frames) / 2;
        match &cache {
            Some(cache)
                if cache.fingerprint().keys.get("codec.fingerprint")
                    == Some(&open.fingerprint().as_str().into())
                    && cache.speakers() == ar_contract.speakers =>
            {
                references(cache, longest)?
            }
            _ if speakers.contains(&SpeakerConditioning::Embedding) => {
                return Err(Failure::error(format!(
                    "one model knows its speakers by name, the other needs a recording of each, which `{}` does not give, because it is no cache of this codec and these speakers; make it again with `harmonica-lab preprocess`",
                    config.data.cache_dir
                )));
            }
            _ => {
                tracing::warn!(
                    "the bundle has no voices, because `{}` is no cache of this codec and these speakers; enroll some with `harmonica enroll`, or make it again with `harmonica-lab preprocess`",
                    config.data.cache_dir
                );
                Vec::new()
            }
        }
    } else {
        Vec::new()
    };
    let by_name = speakers.contains(&SpeakerConditioning::Embedding);
    let known: BTreeSet<&String> = references.iter().map(|(name, _)| name).collect();
    if by_name
        && !references.is_empty()
        && let Some(unheard) = ar_contract.speakers.iter().find(|name| !known.contains(name))
    {
        return Err(Failure::error(format!(
            "one model knows its speakers by name, the other needs a recording of each, and no training utterance of `{unheard}` is short enough; raise `max_frames` of the model that takes prompts, or train both alike"
        )));
    }
    let manifest = BundleManifest {
        format_version: BUNDLE_VERSION,
        name: config.name.clone(),
        config: config.fingerprint(),
        ar: config.model.ar,
        nar: nar_config.model.nar,
        voices: if by_name { ar_contract.speakers.clone() } else { Vec::new() },
        audio: Some(config.data.audio.clone()),
        ar_contract,
        nar_contract,
        vocab: Vocab::english(),
        known_words,
        decode,
        updates: [ar.state().update, nar.state().update],
        evaluation: None,
    };
    Ok(BundleParts {
        manifest,
        ar: ar.weights(WeightKind::Averaged)?,
        nar: nar.weights(WeightKind::Averaged)?,
        codec_dir: codec.to_owned(),
        references,
    })
}

/// How long the recording of a speaker is that a bundle brings along, in seconds, if there is such a one.
const REFERENCE_S: f64 = 3.0;

/// For each speaker of a cache the training utterance that is nearest to three seconds, with its transcript.
fn references(cache: &TokenCache, longest_frames: usize) -> Result<Vec<(String, Reference)>, Failure> {
    let rows = cache.utterances();
    let wanted = ((REFERENCE_S * cache.spec().frame_rate_hz()).round() as usize).min(longest_frames);
    let mut references = Vec::new();
    for (speaker, name) in cache.speakers().iter().enumerate() {
        let of_speaker = cache
            .split(Split::Train)
            .into_iter()
            .filter(|i| rows[*i].speaker == speaker && rows[*i].n_frames <= longest_frames);
        // The first of equals.
        let Some(chosen) = of_speaker.min_by_key(|i| rows[*i].n_frames.abs_diff(wanted)) else { continue };
        let spec = cache.spec();
        let codes = cache.codes(chosen).to_vec();
        let tokens = CodecTokens::new(codes, spec.n_codebooks, rows[chosen].n_samples, spec)?;
        references.push((name.clone(), Reference::new(&tokens, Some(rows[chosen].text.clone()))));
    }
    Ok(references)
}

pub(crate) fn run(arguments: &BundleArguments, out: Output) -> Result<(), Failure> {
    let decode = arguments.decode.as_deref();
    let mut parts = match (&arguments.from, &arguments.ar, &arguments.nar, &arguments.codec) {
        (Some(bundle), ..) => parts_of(bundle, decode)?,
        (None, Some(ar), Some(nar), Some(codec)) => collect(ar, nar, codec, decode)?,
        _ => return Err(Failure::error("a bundle is made of --ar, --nar and --codec, or --from a bundle")),
    };
    if let Some(path) = &arguments.evaluation {
        let record = gate::read(path)?;
        if record.config != parts.manifest.config {
            let message = format!(
                "`{}` judged the configuration {}, these models come from {}; evaluate their own bundle",
                path.display(),
                record.config.as_str(),
                parts.manifest.config.as_str()
            );
            return Err(Failure { code: 1, ..Failure::error(message) });
        }
        if record.decode.as_ref() != Some(&parts.manifest.decode) {
            let message = format!(
                "`{}` judged other decode settings than the bundle has, or none; evaluate it as it is, without --set, or give the settings as --decode",
                path.display()
            );
            return Err(Failure { code: 1, ..Failure::error(message) });
        }
        parts.manifest.evaluation = Some(BundleEvaluation::from(&record));
    }
    Bundle::write(&parts, &arguments.output)?;
    let voices: Vec<&str> = match parts.manifest.voices.is_empty() {
        true => parts.references.iter().map(|(name, _)| name.as_str()).collect(),
        false => parts.manifest.voices.iter().map(String::as_str).collect(),
    };
    let said = if voices.is_empty() { "none; enroll one".to_owned() } else { voices.join(", ") };
    let words = format!("bundle at {}: voices {said}", arguments.output.display());
    out.result(
        &serde_json::json!({ "bundle": arguments.output.display().to_string(), "voices": voices }),
        &words,
    );
    Ok(())
}
