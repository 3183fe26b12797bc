//! Figures of training and validation, and what they say about a model's health.
//!
//! Ratios are to the targets of the same window. Invariant: what was not measured is absent; records of before a figure was
//! known can still be read.

use serde::{Deserialize, Serialize};

/// Training figures, means over the updates since the last line.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TrainMetrics {
    /// Updates done.
    pub update: u64,
    /// Objective that was minimised.
    pub objective: f64,
    /// Its plain cross-entropy, in nats a token.
    pub cross_entropy: f64,
    /// Global gradient norm before clipping.
    pub grad_norm: f64,
    /// Learning rate of the last update.
    pub learning_rate: f64,
    /// What plateau and instability policies have left of the scheduled learning rate, in the last update.
    #[serde(default = "one")]
    pub lr_scale: f64,
    /// Modules of the model in the last update.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<ModuleMetrics>,
}

fn one() -> f64 {
    1.0
}

/// Health of one module's last update.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModuleMetrics {
    /// Beginning of its parameters' paths, such as `decoder.blocks.0`.
    pub module: String,
    /// Gradient norm before clipping.
    pub grad_norm: f64,
    /// Norm of the update over the norm of the weights; absent where the update was skipped.
    pub update_ratio: Option<f64>,
}

/// Validation figures.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ValidationMetrics {
    /// Updates done.
    pub update: u64,
    /// Whether the averaged weights were judged.
    pub ema: bool,
    /// Mean cross-entropy over all codebooks, in nats a token.
    pub cross_entropy: f64,
    /// Figures of each codebook that the model writes.
    pub codebooks: Vec<CodebookMetrics>,
    /// `healthy`, `undertrained` or `collapsed`, with reasons.
    pub verdict: VerdictRecord,
    /// The same of the raw weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<RawValidation>,
    /// What the model writes without seeing the utterance's own codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub free_running: Vec<FreeRunningMetrics>,
    /// What the heads of each layer look at, in the probed batches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attention: Vec<AttentionMetrics>,
    /// Alerts that stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<AlertRecord>,
}

/// Validation of the weights that the optimizer moves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RawValidation {
    /// Mean cross-entropy over all codebooks, in nats a token.
    pub cross_entropy: f64,
    /// Figures of each codebook that the model writes.
    pub codebooks: Vec<CodebookMetrics>,
}

/// Figures of one codebook over a fixed window of held-out tokens.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CodebookMetrics {
    /// Codebook, counted from 1.
    pub codebook: usize,
    /// Tokens in the window.
    pub n_tokens: usize,
    /// Cross-entropy, in nats a token.
    pub cross_entropy: f64,
    /// Entropy of the unigram distribution of the targets of this window, in nats.
    pub target_entropy: f64,
    /// Share of likeliest codes that are right.
    pub accuracy: f64,
    /// Distinct sampled codes over distinct target codes.
    pub utilization_ratio: f64,
    /// Exponentiated entropy of the mean prediction over that of the targets.
    pub effective_codes_ratio: f64,
    /// Kullback-Leibler divergence of the mean prediction from the target marginal, KL(prediction || target), in nats; half a
    /// count is added to every target class.
    pub marginal_kl: f64,
    /// Classes that the head scores.
    #[serde(default)]
    pub n_classes: usize,
    /// Entropy of the targets with a part of the bias of so few tokens taken out (Chao and Shen 2003), in nats.
    #[serde(default)]
    pub target_entropy_unbiased: f64,
    /// Share of right codes among the ten likeliest.
    #[serde(default)]
    pub top10_accuracy: f64,
    /// Distinct sampled codes.
    #[serde(default)]
    pub sampled_codes: usize,
    /// Distinct target codes.
    #[serde(default)]
    pub target_codes: usize,
    /// Exponentiated entropy of the sampled codes over that of the targets: both have the bias of one window.
    #[serde(default)]
    pub sampled_effective_ratio: f64,
    /// Share of sampled tokens whose code occurs among the targets.
    #[serde(default)]
    pub overlap: f64,
    /// Share of the targets' probability that their window has seen, by Good's estimate: what `overlap` may reach.
    #[serde(default)]
    pub target_coverage: f64,
    /// Cross-entropy of guessing by the frequencies of the training split, in nats a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unigram_floor: Option<f64>,
    /// Cross-entropy of guessing from the code before by the training split, in nats a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bigram_floor: Option<f64>,
    /// Distinct likeliest codes of the first 375 tokens over those that could be: what the predecessor's alarm watched. For
    /// comparison only; no verdict uses it.
    #[serde(default)]
    pub argmax_utilization: f64,
}

/// Codes of one codebook that a model wrote without seeing the utterance's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FreeRunningMetrics {
    /// Codebook, counted from 1.
    pub codebook: usize,
    /// Tokens that were written.
    pub n_tokens: usize,
    /// Tokens of the same utterances' targets.
    pub n_target_tokens: usize,
    /// Distinct codes over distinct target codes.
    pub utilization_ratio: f64,
    /// Exponentiated entropy over that of the targets.
    pub effective_codes_ratio: f64,
    /// Kullback-Leibler divergence of the written codes from the target marginal, in nats; half a count is added to every
    /// target class.
    pub marginal_kl: f64,
}

/// What an attention reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttentionOf {
    /// The frames, and what stands before them in the same sequence: a prompt, or the text.
    #[default]
    Frames,
    /// The text, by cross-attention.
    Text,
}

impl AttentionOf {
    /// Name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Frames => "frames",
            Self::Text => "text",
        }
    }
}

/// How wide the heads of one attention look and how different they are, means over the frames that ask.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct AttentionMetrics {
    /// Layer, counted from 1.
    pub layer: usize,
    /// What is looked at.
    pub reads: AttentionOf,
    /// Frames that asked.
    pub n_queries: usize,
    /// Entropy of each head, in nats.
    pub head_entropies: Vec<f64>,
    /// Entropy of a head that looks at everything alike, in nats: the mean logarithm of the number of keys.
    pub uniform_entropy: f64,
    /// Jensen-Shannon divergence of the heads, in nats: 0 where all look at the same, at most the logarithm of their number.
    pub diversity: f64,
}

impl AttentionMetrics {
    /// Mean entropy of the heads, in nats.
    pub fn mean_entropy(&self) -> f64 {
        self.head_entropies.iter().sum::<f64>() / self.head_entropies.len().max(1) as f64
    }

    /// Entropy of the head that looks narrowest, in nats.
    pub fn lowest_entropy(&self) -> f64 {
        self.head_entropies.iter().copied().reduce(f64::min).unwrap_or_default()
    }

    /// Diversity as a share of the most that so many heads can have; 0 for one head.
    pub fn relative_diversity(&self) -> f64 {
        let most = (self.head_entropies.len().max(1) as f64).ln();
        if most > 0.0 { self.diversity / most } else { 0.0 }
    }

    /// Mean entropy as a share of looking at everything alike; 0 where there is one key only.
    pub fn relative_entropy(&self) -> f64 {
        if self.uniform_entropy > 0.0 { self.mean_entropy() / self.uniform_entropy } else { 0.0 }
    }
}

/// Whether a condition shows in the predictions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConditionUse {
    /// Another one makes the predictions worse.
    Used,
    /// Another one makes no difference.
    Ignored,
    /// Not measured, too few tokens, or too young a model to say.
    #[default]
    Unknown,
}

impl ConditionUse {
    /// Name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Used => "used",
            Self::Ignored => "ignored",
            Self::Unknown => "unknown",
        }
    }
}

/// What another text or another voice costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ProbeRecord {
    /// Tokens compared.
    pub n_tokens: usize,
    /// Cross-entropy with the wrong condition less that with the right one, in nats a token.
    pub gap_nats: f64,
    /// Standard error of that mean.
    pub standard_error: f64,
}

/// A flag and what it rests on.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct UseFlag {
    /// The flag.
    pub flag: ConditionUse,
    /// The measurement, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeRecord>,
}

/// A verdict on a model's health.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct VerdictRecord {
    /// `healthy`, `undertrained` or `collapsed`.
    pub verdict: String,
    /// Why, in words with figures.
    pub reasons: Vec<String>,
    /// Whether the text shows in the predictions.
    #[serde(default)]
    pub text_use: UseFlag,
    /// Whether the prompt, or the speaker where there is none, shows in the predictions.
    #[serde(default)]
    pub prompt_use: UseFlag,
}

/// An alert: raised after several bad validations in a row, cleared after several good ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AlertRecord {
    /// Codebook, counted from 1; 0 for the model as a whole.
    pub codebook: usize,
    /// What is wrong, such as `collapsed`.
    pub alert: String,
    /// Updates done when it was raised.
    pub since_update: u64,
}
