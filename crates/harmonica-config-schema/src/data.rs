//! Which audio, how it is conditioned, what is good enough, how it is batched.

use crate::relations::Relations;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a corpus lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CorpusLayout {
    /// `metadata.csv` with `id|raw text|normalized text` (a fourth column names the speaker, a fifth the split)
    /// beside `wavs/ID.wav`.
    #[default]
    Ljspeech,
    /// `manifest.jsonl`, an utterance a line: `id`, `audio`, `text`, and optionally `speaker`, `split`, `start_s`,
    /// `duration_s`.
    Manifest,
    /// LibriTTS and LibriTTS-R: `SPLIT/SPEAKER/CHAPTER/ID.wav` beside `ID.normalized.txt`.
    Libritts,
    /// VCTK 0.92: `wav48_silence_trimmed/pNNN/ID_mic1.flac` (or `wav48/pNNN/ID.wav`) and `txt/pNNN/ID.txt`.
    Vctk,
    /// Common Voice: `train.tsv`, `dev.tsv`, `test.tsv` (else `validated.tsv`) beside `clips/`.
    CommonVoice,
    /// NeMo: `manifest.json`, an utterance a line: `audio_filepath`, `text`, `duration`, and optionally `offset`, `speaker`.
    Nemo,
    /// Lhotse: `cuts.jsonl`, or `recordings.jsonl` and `supervisions.jsonl`.
    Lhotse,
    /// Hugging Face: `*.parquet` with columns `audio` (`bytes`, `path`), `text` and optionally `speaker_id`, `id`; of programs
    /// built with `--features parquet`.
    Parquet,
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
    /// Furthest that the characters a second of an utterance may be from its speaker's median, in robust standard deviations
    /// (1.4826 times the median absolute deviation); 0 asks for none. Default 0.
    #[schemars(range(min = 0.0, max = 100.0), extend("x-unit" = "deviations"))]
    pub max_rate_deviation: f64,
    /// Smallest share of the sounding frames that must be periodic as voices are, 0 to 1; noise has none. Default 0.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_voiced_share: f64,
    /// Lowest sample rate of a recording, in Hz. Default 0.
    #[schemars(range(max = 192_000), extend("x-unit" = "Hz"))]
    pub min_sample_rate_hz: u32,
    /// Whether audio that occurs a second time is dropped. Default true.
    pub drop_duplicate_audio: bool,
    /// Most utterances of one speaker with the same text; 0 sets no limit. Default 0.
    #[schemars(range(max = 1_000_000), extend("x-unit" = "utterances"))]
    pub max_same_text: usize,
    /// File of decisions by hand, a line each: `keep ID` or `drop ID`; empty for none. Default empty.
    pub overrides: String,
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
            max_rate_deviation: 0.0,
            min_voiced_share: 0.0,
            min_sample_rate_hz: 0,
            drop_duplicate_audio: true,
            max_same_text: 0,
            overrides: String::new(),
        }
    }
}

/// What is kept apart where the corpus names no split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SplitKind {
    /// Texts: a held-out text never occurs in training, its speakers do.
    #[default]
    Text,
    /// Speakers: a held-out speaker never occurs in training.
    Speaker,
    /// What `valid_list` and `test_list` name; everything else is for training.
    Lists,
}

/// How utterances are divided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SplitConfig {
    /// What is kept apart where the corpus names no split. Default `text`.
    pub kind: SplitKind,
    /// Share of the texts or speakers held out for validation, 0 to 0.5. Default 0.02.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub valid_share: f64,
    /// Share of the texts or speakers held out for the final test, 0 to 0.5. Default 0.02.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub test_share: f64,
    /// File with the ids of the validation utterances, one a line; for kind `lists`. Default empty.
    pub valid_list: String,
    /// File with the ids of the test utterances, one a line; for kind `lists`. Default empty.
    pub test_list: String,
}

impl Default for SplitConfig {
    fn default() -> Self {
        Self {
            kind: SplitKind::Text,
            valid_share: 0.02,
            test_share: 0.02,
            valid_list: String::new(),
            test_list: String::new(),
        }
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
    /// Threads that prepare batches; the batches are the same whatever it is. Default 1.
    #[schemars(range(min = 1, max = 256), extend("x-unit" = "threads"))]
    pub workers: usize,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self { max_frames: 800, max_utterances: 64, length_pool: 256, prefetch_batches: 4, workers: 1 }
    }
}

/// Which utterances an epoch draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SamplingKind {
    /// Every utterance once.
    #[default]
    Uniform,
    /// Speakers, lengths and rare symbols in balance: rare ones more often, frequent ones less often.
    Stratified,
}

/// How often utterances are drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingConfig {
    /// Which utterances an epoch draws. Default `uniform`.
    pub kind: SamplingKind,
    /// A speaker (or bucket) of n utterances is drawn in proportion to n to this power: 1 keeps the corpus, 0 makes all
    /// equal. Default 0.5.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub alpha: f64,
    /// Buckets of equal size by length. Default 6.
    #[schemars(range(min = 1, max = 64), extend("x-unit" = "buckets"))]
    pub length_buckets: usize,
    /// Buckets by the rarest symbol of the text. Default 3.
    #[schemars(range(min = 1, max = 64), extend("x-unit" = "buckets"))]
    pub symbol_buckets: usize,
    /// Most draws of one utterance an epoch. Default 4.
    #[schemars(range(min = 1, max = 1000), extend("x-unit" = "draws"))]
    pub max_repeats: usize,
    /// Draws an epoch; 0 for as many as there are utterances. Weights of corpora move between epochs. Default 0.
    #[schemars(range(max = 1_000_000_000), extend("x-unit" = "draws"))]
    pub epoch_draws: usize,
}

impl Default for SamplingConfig {
    fn default() -> Self {
        Self {
            kind: SamplingKind::Uniform,
            alpha: 0.5,
            length_buckets: 6,
            symbol_buckets: 3,
            max_repeats: 4,
            epoch_draws: 0,
        }
    }
}

/// Where the prompts of training targets come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PromptConfig {
    /// Probability that the prompt is another utterance of the speaker, where there is one; else it is the target's own
    /// beginning, which is then cut from the target. Default 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub other_utterance_share: f64,
    /// Probability that the transcript of a whole prompt goes along. Default 0.5.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub transcript_share: f64,
}

impl Default for PromptConfig {
    fn default() -> Self {
        Self { other_utterance_share: 1.0, transcript_share: 0.5 }
    }
}

/// One corpus of several. Its weight moves in a straight line from `weight` to `final_weight`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CorpusConfig {
    /// Corpus directory. Default `corpus`.
    pub dir: String,
    /// How the corpus lies there. Default `ljspeech`.
    pub layout: CorpusLayout,
    /// Factor on the draws of its utterances at the beginning; 0 leaves it out. Default 1.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub weight: f64,
    /// Factor on the draws of its utterances at the end. Default 1.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub final_weight: f64,
    /// Batch after which the weight begins to move. Default 0.
    #[schemars(range(max = 1_000_000_000), extend("x-unit" = "batches"))]
    pub ramp_from_batch: u64,
    /// Batches that the way from `weight` to `final_weight` takes. Default 0.
    #[schemars(range(max = 1_000_000_000), extend("x-unit" = "batches"))]
    pub ramp_batches: u64,
}

impl Default for CorpusConfig {
    fn default() -> Self {
        Self {
            dir: "corpus".into(),
            layout: CorpusLayout::default(),
            weight: 1.0,
            final_weight: 1.0,
            ramp_from_batch: 0,
            ramp_batches: 0,
        }
    }
}

impl CorpusConfig {
    /// Weight of the corpus at a batch, counted from 0 over the whole run.
    pub fn weight_at(&self, batch: u64) -> f64 {
        let moved = batch.saturating_sub(self.ramp_from_batch) as f64;
        let share = match self.ramp_batches {
            _ if batch < self.ramp_from_batch => 0.0,
            0 => 1.0,
            n => (moved / n as f64).min(1.0),
        };
        self.weight + (self.final_weight - self.weight) * share
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
    /// Several corpora by name, instead of `corpus_dir` and `layout`; a name goes before ids and speakers. Default none.
    pub corpora: BTreeMap<String, CorpusConfig>,
    /// Whether audio may stand behind links that lead out of the corpus directory. Default false.
    pub follow_links_outside: bool,
    /// Where encoded utterances are kept. Default `runs/cache`.
    pub cache_dir: String,
    /// Rows of the corpus a shard of the cache holds: what one process encodes at a time. Default 256.
    #[schemars(range(min = 1, max = 1_000_000), extend("x-unit" = "rows"))]
    pub shard_rows: usize,
    /// Conditioning of the waveforms.
    pub audio: AudioConfig,
    /// What is good enough to train on.
    pub quality: QualityThresholds,
    /// Training, validation, test.
    pub split: SplitConfig,
    /// How utterances become batches.
    pub batch: BatchConfig,
    /// How often utterances are drawn.
    pub sampling: SamplingConfig,
    /// Where prompts come from.
    pub prompt: PromptConfig,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            corpus_dir: "corpus".into(),
            layout: CorpusLayout::default(),
            corpora: BTreeMap::new(),
            follow_links_outside: false,
            cache_dir: "runs/cache".into(),
            shard_rows: 256,
            audio: AudioConfig::default(),
            quality: QualityThresholds::default(),
            split: SplitConfig::default(),
            batch: BatchConfig::default(),
            sampling: SamplingConfig::default(),
            prompt: PromptConfig::default(),
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
        let split = &self.split;
        relations.require(
            split.kind != SplitKind::Lists || !split.valid_list.is_empty(),
            "data.split",
            "kind",
            "lists",
            "with a file in valid_list".into(),
            &["valid_list"],
        );
    }
}
