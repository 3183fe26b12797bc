//! The whole configuration of an experiment.

use crate::relations::{Checked, Relations};
use crate::{
    ArModelConfig, CodecConfig, ConfigError, DataConfig, DecodeConfig, Fingerprint, JudgedWeights,
    NarModelConfig, TrainingConfig,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Shapes of the two models.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Writes codebook 1.
    pub ar: ArModelConfig,
    /// Fills codebooks 2..Q.
    pub nar: NarModelConfig,
}

/// Everything that decides what a run computes. The default is the demo's baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
        content.data.corpora.values_mut().for_each(|corpus| corpus.dir.clear());
        content.data.cache_dir = String::new();
        content.codec.dir = String::new();
        Fingerprint::of(&content)
    }

    /// Checks every value, reporting all problems at once.
    ///
    /// # Errors
    /// Each key that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::unless_empty(crate::loader::problems_of(self, ""))
    }
}

impl Checked for ExperimentConfig {
    fn relations(&self, _at: &str, relations: &mut Relations) {
        self.data.relations(relations);
        self.codec.mel_rvq.relations("codec.mel_rvq", relations);
        self.model.ar.relations("model.ar", relations);
        self.model.nar.relations("model.nar", relations);
        self.decode.relations("decode", relations);
        crate::micro_steps::relations(self, relations);
        for (model, control) in [("ar", &self.training.ar.control), ("nar", &self.training.nar.control)] {
            let at = format!("training.{model}.control.best");
            let measured = self.training.validate_raw_weights || control.best.weights == JudgedWeights::Ema;
            let allowed = "\"ema\", or set training.validate_raw_weights".to_owned();
            relations.require(measured, &at, "weights", "\"raw\"", allowed, &[]);
        }
    }
}
