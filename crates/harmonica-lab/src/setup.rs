//! What several commands open in the same way: configuration, codec, cache, contract.

use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use harmonica_codec::{AudioCodec, Bandwidth, open_encodec, open_mel_rvq};
use harmonica_config_schema::{
    CodebookIndex, CodecConfig, CodecKind, ConfigLoader, ExperimentConfig, ResolvedConfig, SpecialTokens,
};
use harmonica_data::{CacheFingerprint, Manifest, TokenCache};
use harmonica_model_core::{CodecGeometry, InterfaceContract};
use harmonica_text::{NORMALIZER_VERSION, Vocab};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Layers of a configuration.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConfigArguments {
    /// TOML file; may be repeated, later files win
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Vec<PathBuf>,
    /// Override one key with a TOML value; wins over files
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<String>,
    /// Seed of every random draw
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

impl ConfigArguments {
    pub(crate) fn load(&self) -> Result<ExperimentConfig, Failure> {
        Ok(self.resolve()?.config)
    }

    /// The configuration and where each of its values comes from.
    pub(crate) fn resolve(&self) -> Result<ResolvedConfig, Failure> {
        let seed = self.seed.map(|seed| format!("seed={seed}"));
        let loader = self.config.iter().fold(ConfigLoader::new(), |loader, path| loader.file(path));
        Ok(loader.overrides(self.overrides.iter().cloned().chain(seed)).resolve()?)
    }
}

/// The codec of a configuration; one that was fitted with other settings warns.
pub(crate) fn open_codec(config: &ExperimentConfig, out: Output) -> Result<Arc<dyn AudioCodec>, Failure> {
    let CodecConfig { kind, dir, mel_rvq, encodec } = &config.codec;
    match kind {
        CodecKind::MelRvq => {
            let codec = open_mel_rvq(Path::new(dir))?;
            if codec.config() != mel_rvq {
                out.note(&format!(
                    "warning: the codec at `{dir}` was fitted with other [codec.mel_rvq] settings; `harmonica-lab codec fit` makes a new one"
                ));
            }
            Ok(codec)
        }
        CodecKind::EnCodec => {
            Ok(open_encodec(Path::new(dir), Some(Bandwidth::Kbps(encodec.bandwidth_kbps)))?)
        }
    }
}

/// Centroids of every codebook, for the models.
pub(crate) fn geometry(codec: &dyn AudioCodec) -> CodecGeometry {
    let codebooks = (0..codec.spec().n_codebooks)
        .map(|q| codec.codebook_vectors(CodebookIndex::from_zero_based(q)).to_vec());
    CodecGeometry::new(codebooks, codec.latent_width())
}

/// The cache of a configuration, refused if it was made from anything else.
pub(crate) fn open_cache(
    config: &ExperimentConfig,
    codec: &dyn AudioCodec,
    allow_mismatch: bool,
) -> Result<TokenCache, Failure> {
    let dir = Path::new(&config.data.cache_dir);
    let manifest = Manifest::of(&config.data)?;
    let wanted = CacheFingerprint::new(config, codec, &Vocab::english(), &manifest.fingerprint())?;
    if allow_mismatch {
        let cache = TokenCache::open_whatever(dir, &wanted)?;
        if cache.spec() != codec.spec() {
            let (dir, found, wanted) = (dir.display(), cache.spec(), codec.spec());
            let message = format!(
                "the cache at `{dir}` holds codes of {found:?}, the codec is {wanted:?}; rebuild it with `harmonica-lab preprocess`"
            );
            return Err(Failure { code: 1, ..Failure::error(message) });
        }
        return Ok(cache);
    }
    Ok(TokenCache::open(dir, Some(&wanted))?)
}

/// What a model trained with this configuration on this cache promises.
pub(crate) fn contract(
    config: &ExperimentConfig,
    codec: &dyn AudioCodec,
    cache: &TokenCache,
    is_ar: bool,
) -> InterfaceContract {
    let (ar, nar) = (&config.model.ar, &config.model.nar);
    let spec = codec.spec().clone();
    let pick = |a: usize, b: usize| if is_ar { a } else { b };
    InterfaceContract {
        format_version: 1,
        special: SpecialTokens::above(spec.codebook_size),
        codec: spec,
        codec_fingerprint: codec.fingerprint().clone(),
        vocabulary: cache.vocab().fingerprint(),
        vocabulary_size: cache.vocab().len(),
        normalizer: NORMALIZER_VERSION.into(),
        prompt_format: InterfaceContract::PROMPT_FORMAT.into(),
        speakers: cache.speakers().to_vec(),
        max_frames: pick(ar.max_frames, nar.max_frames),
        max_text_symbols: pick(ar.max_text_symbols, nar.max_text_symbols),
        width: pick(ar.dims().width, nar.dims().width),
        conditioning: if is_ar { ar.conditioning } else { nar.conditioning },
        speaker: if is_ar { ar.speaker } else { nar.speaker },
        length_control: is_ar.then_some(ar.length_control),
    }
}
