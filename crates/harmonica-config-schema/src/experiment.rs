//! The whole configuration of an experiment.

use crate::error::{Checks, ConfigError};
use crate::{
    ArModelConfig, CodecConfig, DataConfig, DecodeConfig, Fingerprint, NarModelConfig, TrainingConfig,
};
use serde::{Deserialize, Serialize};

/// Shapes of the two models.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Writes codebook 1.
    pub ar: ArModelConfig,
    /// Fills codebooks 2..Q.
    pub nar: NarModelConfig,
}

/// Everything that decides what a run computes. The default is the demo's baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExperimentConfig {
    /// Name of the experiment; it names the run in reports. Default `unnamed`.
    pub name: String,
    /// Seed of every random draw. Default 1.
    pub seed: u64,
    /// Corpus, cache, batches.
    pub data: DataConfig,
    /// Codec.
    pub codec: CodecConfig,
    /// Models.
    pub model: ModelConfig,
    /// Training.
    pub training: TrainingConfig,
    /// Decoding.
    pub decode: DecodeConfig,
}

impl Default for ExperimentConfig {
    fn default() -> Self {
        Self {
            name: "unnamed".into(),
            seed: 1,
            data: DataConfig::default(),
            codec: CodecConfig::default(),
            model: ModelConfig::default(),
            training: TrainingConfig::default(),
            decode: DecodeConfig::default(),
        }
    }
}

impl ExperimentConfig {
    /// Fingerprint of every key that changes what is computed: names and paths are left out.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut content = self.clone();
        content.name = String::new();
        content.data.corpus_dir = String::new();
        content.data.cache_dir = String::new();
        content.codec.dir = String::new();
        Fingerprint::of(&content)
    }

    /// Checks every value, reporting all problems at once.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with each key that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut checks = Checks::default();
        // TOML integers are signed: a larger seed could not be written back.
        checks.require(
            i64::try_from(self.seed).is_ok(),
            "seed".into(),
            self.seed,
            "at most 9223372036854775807",
        );
        self.data.check(&mut checks);
        self.codec.mel_rvq.check("codec.mel_rvq", &mut checks);
        self.model.ar.check(&mut checks);
        self.model.nar.check(&mut checks);
        self.training.check(&mut checks);
        self.decode.check("decode", &mut checks);
        if checks.problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigError::Invalid { problems: checks.problems })
        }
    }
}
