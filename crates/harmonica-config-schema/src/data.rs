//! Which audio, how it is conditioned, what is good enough, how it is batched.

use crate::relations::Relations;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a corpus lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CorpusLayout {
    /// `metadata.csv` with `id|raw text|normalized text` (a fourth column names the speaker, a fifth the split)
    /// beside `wavs/ID.wav`.
    #[default]
    Ljspeech,
    /// `manifest.jsonl`, an utterance a line: `id`, `audio`, `text`, and optionally `speaker`, `split`.
    Manifest,
}

/// How loudness is levelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LoudnessKind {
    /// Left as it is.
    #[default]
    None,
    /// Highest sample to `loudness_target_db` dBFS.
    Peak,
    /// Integrated loudness (ITU-R BS.1770) to `loudness_target_db` LUFS, true peak kept under -1 dBTP.
    Lufs,
}

/// What happens to a waveform before anything else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AudioConfig {
    /// Whether leading and trailing silence is cut. Default true.
    pub trim: bool,
    /// Frames below this level count as silence, in dB relative to the loudest frame. Default -45.
    #[schemars(range(min = -90.0, max = -10.0), extend("x-unit" = "dB"))]
    pub trim_threshold_db: f64,
    /// Silence kept at both ends, in seconds. Default 0.05.
    #[schemars(range(min = 0.0, max = 1.0), extend("x-unit" = "s"))]
    pub trim_keep_s: f64,
    /// How loudness is levelled. Default `none`.
    pub loudness: LoudnessKind,
    /// Level aimed at, in dBFS or LUFS. Default -23.
    #[schemars(range(min = -60.0, max = 0.0), extend("x-unit" = "dB"))]
    pub loudness_target_db: f64,
}

impl Default for AudioConfig {
    fn default() -> Self {
        Self {
            trim: true,
            trim_threshold_db: -45.0,
            trim_keep_s: 0.05,
            loudness: LoudnessKind::None,
            loudness_target_db: -23.0,
        }
    }
}

/// What an utterance must satisfy to be trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QualityThresholds {
    /// Shortest utterance, in seconds. Default 0.3.
    #[schemars(range(min = 0.0, max = 60.0), extend("x-unit" = "s"))]
    pub min_duration_s: f64,
    /// Longest utterance, in seconds. Default 15.
    #[schemars(extend("exclusiveMinimum" = 0.0, "x-unit" = "s"))]
    pub max_duration_s: f64,
    /// Longest inner silence, in seconds. Default 2.
    #[schemars(range(min = 0.0), extend("x-unit" = "s"))]
    pub max_silence_s: f64,
    /// Largest share of clipped samples, 0 to 1. Default 0.001.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_clipped_share: f64,
    /// Lowest estimated signal-to-noise ratio, in dB. Default 10.
    #[schemars(extend("x-unit" = "dB"))]
    pub min_snr_db: f64,
    /// Fewest characters a second. Default 3.
    #[schemars(range(min = 0.0), extend("x-unit" = "characters a second"))]
    pub min_chars_per_s: f64,
    /// Most characters a second. Default 35.
    #[schemars(extend("exclusiveMinimum" = 0.0, "x-unit" = "characters a second"))]
    pub max_chars_per_s: f64,
}

impl Default for QualityThresholds {
    fn default() -> Self {
        Self {
            min_duration_s: 0.3,
            max_duration_s: 15.0,
            max_silence_s: 2.0,
            max_clipped_share: 0.001,
            min_snr_db: 10.0,
            min_chars_per_s: 3.0,
            max_chars_per_s: 35.0,
        }
    }
}

/// How utterances are divided. Texts of held-out utterances never occur in training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SplitConfig {
    /// Share of the texts held out for validation where the corpus names no split, 0 to 0.5. Default 0.02.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub valid_share: f64,
    /// Share of the texts held out for the final test where the corpus names no split, 0 to 0.5. Default 0.02.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub test_share: f64,
}

impl Default for SplitConfig {
    fn default() -> Self {
        Self { valid_share: 0.02, test_share: 0.02 }
    }
}

/// How utterances become batches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BatchConfig {
    /// Largest batch, in audio frames with padding. Default 800.
    #[schemars(range(min = 8, max = 1_000_000), extend("x-unit" = "frames"))]
    pub max_frames: usize,
    /// Largest batch, in utterances. Default 64.
    #[schemars(range(min = 1, max = 4096), extend("x-unit" = "utterances"))]
    pub max_utterances: usize,
    /// Utterances among which neighbours in length are sought; larger pads less and mixes less. Default 256.
    #[schemars(range(min = 1, max = 1_000_000), extend("x-unit" = "utterances"))]
    pub length_pool: usize,
    /// Batches prepared ahead of the model. Default 4.
    #[schemars(range(min = 1, max = 1024), extend("x-unit" = "batches"))]
    pub prefetch_batches: usize,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self { max_frames: 800, max_utterances: 64, length_pool: 256, prefetch_batches: 4 }
    }
}

/// The corpus, its cache and its batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Corpus directory. Default `corpus`.
    pub corpus_dir: String,
    /// How the corpus lies there. Default `ljspeech`.
    pub layout: CorpusLayout,
    /// Whether audio may stand behind links that lead out of the corpus directory. Default false.
    pub follow_links_outside: bool,
    /// Where encoded utterances are kept. Default `runs/cache`.
    pub cache_dir: String,
    /// Conditioning of the waveforms.
    pub audio: AudioConfig,
    /// What is good enough to train on.
    pub quality: QualityThresholds,
    /// Training, validation, test.
    pub split: SplitConfig,
    /// How utterances become batches.
    pub batch: BatchConfig,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            corpus_dir: "corpus".into(),
            layout: CorpusLayout::default(),
            follow_links_outside: false,
            cache_dir: "runs/cache".into(),
            audio: AudioConfig::default(),
            quality: QualityThresholds::default(),
            split: SplitConfig::default(),
            batch: BatchConfig::default(),
        }
    }
}

impl DataConfig {
    pub(crate) fn relations(&self, relations: &mut Relations) {
        let quality = &self.quality;
        relations.require(
            quality.max_duration_s > quality.min_duration_s,
            "data.quality",
            "max_duration_s",
            quality.max_duration_s,
            format!("above {} s (min_duration_s)", quality.min_duration_s),
            &["min_duration_s"],
        );
        relations.require(
            quality.max_chars_per_s > quality.min_chars_per_s,
            "data.quality",
            "max_chars_per_s",
            quality.max_chars_per_s,
            format!("above {} (min_chars_per_s)", quality.min_chars_per_s),
            &["min_chars_per_s"],
        );
    }
}
