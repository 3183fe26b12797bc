//! The verdict: what the figures of a window say about a model.
//!
//! In: [`CodebookMetrics`] and the cost of wrong conditions; out: verdict, flags and the figures they rest on. The thresholds
//! were fixed on one family of planted models and hold on another (`planted.rs`). Invariant: the same figures always give
//! the same words.

use harmonica_config_schema::record::{
    CodebookMetrics, ConditionUse, FreeRunningMetrics, ProbeRecord, UseFlag, VerdictRecord,
};

/// Effective codes, sampled or predicted, below this share of the targets' count as collapse.
const COLLAPSED_EFFECTIVE_RATIO: f64 = 0.5;
/// Sampled utilization below this share of the targets' counts as collapse.
const COLLAPSED_UTILIZATION_RATIO: f64 = 0.4;
/// Sampled effective codes above this multiple of the targets' count as guessing over everything.
const SPREAD_EFFECTIVE_RATIO: f64 = 2.0;
/// Share of what samples could have in common with the targets below which a model speaks other codes than the corpus does.
const STRAYED_OVERLAP: f64 = 0.5;
/// Nats from the prediction marginal to the targets' above which a model speaks other codes than the corpus does; what
/// the size of the window explains comes on top.
const STRAYED_KL_NATS: f64 = 1.5;
/// Nats that cross-entropy must lie under guessing by frequency before a model counts as trained.
const TRAINED_GAIN_NATS: f64 = 0.5;
/// Nats that a wrong condition must cost, beyond doubt, to count as used.
const USED_NATS: f64 = 0.02;
/// Nats that a wrong condition may cost, beyond doubt, and still count as ignored.
const IGNORED_NATS: f64 = 0.05;
/// Share of the codes that could be below which the predecessor warned, and the fewest tokens for which it did.
const PREDECESSOR_RULE: (f64, usize) = (0.30, 64);

/// Outcome of a diagnosis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Uses its codes as the targets do and predicts them better than their frequencies.
    Healthy,
    /// Not collapsed, but no better than guessing by frequency, or from the code before, yet.
    Undertrained,
    /// Predicts far fewer codes than the targets hold.
    Collapsed,
}

impl Verdict {
    /// Name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Undertrained => "undertrained",
            Self::Collapsed => "collapsed",
        }
    }
}

/// What wrong conditions cost, where it was measured.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Probes {
    /// Another utterance's text.
    pub text: Option<ProbeRecord>,
    /// Another voice.
    pub prompt: Option<ProbeRecord>,
}

/// Collects, token by token, what a wrong condition costs.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PairedCost {
    n: usize,
    sum: f64,
    sum_of_squares: f64,
}

impl PairedCost {
    /// Adds tokens by their costs in nats, with the right condition and with the wrong one.
    pub fn observe(&mut self, right: &[f64], wrong: &[f64]) {
        for difference in wrong.iter().zip(right).map(|(wrong, right)| wrong - right) {
            self.n += 1;
            self.sum += difference;
            self.sum_of_squares += difference * difference;
        }
    }

    /// The mean and how sure it is; none of fewer than two tokens.
    pub fn record(&self) -> Option<ProbeRecord> {
        let n = self.n as f64;
        let mean = self.sum / n;
        let variance = (self.sum_of_squares / n - mean * mean).max(0.0) * n / (n - 1.0);
        let record = ProbeRecord { n_tokens: self.n, gap_nats: mean, standard_error: (variance / n).sqrt() };
        (self.n > 1).then_some(record)
    }
}

/// Guessing by frequency, in nats a token: of the corpus where it is known, else of the window itself.
fn guessing(metrics: &CodebookMetrics) -> (f64, &'static str) {
    match metrics.unigram_floor {
        Some(floor) => (floor, "guessing by the corpus's frequencies"),
        None => (metrics.target_entropy_unbiased, "the targets' entropy"),
    }
}

/// Judges the figures of one codebook.
pub fn judge(metrics: &CodebookMetrics) -> (Verdict, String) {
    let (guess, of_what) = guessing(metrics);
    let gain = guess - metrics.cross_entropy;
    let strayed = STRAYED_KL_NATS + metrics.target_entropy.exp() / (2 * metrics.n_tokens.max(1)) as f64;
    let name = format!("codebook {}", metrics.codebook);
    if !gain.is_finite() {
        return (Verdict::Undertrained, format!("{name}: its cross-entropy is not a number"));
    }
    let effective = metrics.effective_codes_ratio.min(metrics.sampled_effective_ratio);
    if effective < COLLAPSED_EFFECTIVE_RATIO || metrics.utilization_ratio < COLLAPSED_UTILIZATION_RATIO {
        let reason = format!(
            "{name}: effective codes {effective:.2} and sampled codes {:.2} of the targets' ({} of {})",
            metrics.utilization_ratio, metrics.sampled_codes, metrics.target_codes
        );
        return (Verdict::Collapsed, reason);
    }
    // Before the next question: who still guesses over everything is far from any narrow corpus, and young.
    if metrics.sampled_effective_ratio > SPREAD_EFFECTIVE_RATIO {
        let reason = format!(
            "{name}: it spreads over {:.1} times the targets' effective codes",
            metrics.sampled_effective_ratio
        );
        return (Verdict::Undertrained, reason);
    }
    if metrics.marginal_kl > strayed && metrics.overlap < STRAYED_OVERLAP * metrics.target_coverage {
        let reason = format!(
            "{name}: its predictions lie {:.2} nats from the targets' frequencies, {strayed:.2} are allowed; {:.0}% of what it samples occurs among the targets",
            metrics.marginal_kl,
            100.0 * metrics.overlap
        );
        return (Verdict::Collapsed, reason);
    }
    if gain < TRAINED_GAIN_NATS {
        let reason = format!(
            "{name}: cross-entropy {:.2} is {gain:.2} nats under {of_what} {guess:.2}, {TRAINED_GAIN_NATS} are needed",
            metrics.cross_entropy
        );
        return (Verdict::Undertrained, reason);
    }
    if let Some(floor) = metrics.bigram_floor.filter(|floor| metrics.cross_entropy >= *floor) {
        let reason = format!(
            "{name}: cross-entropy {:.2} is not under guessing from the code before, {floor:.2}",
            metrics.cross_entropy
        );
        return (Verdict::Undertrained, reason);
    }
    let bigram = metrics.bigram_floor.map_or_else(String::new, |floor| {
        format!(", {:.2} under guessing from the code before", floor - metrics.cross_entropy)
    });
    let reason = format!(
        "{name}: cross-entropy {gain:.2} nats under {of_what}{bigram}, effective codes {:.2} of the targets'",
        metrics.sampled_effective_ratio
    );
    (Verdict::Healthy, reason)
}

/// Judges a model by all its codebooks: the worst one decides.
pub fn verdict(codebooks: &[CodebookMetrics], probes: &Probes) -> VerdictRecord {
    let judged: Vec<(Verdict, String)> = codebooks.iter().map(judge).collect();
    let worst = [Verdict::Collapsed, Verdict::Undertrained]
        .into_iter()
        .find(|v| judged.iter().any(|(j, _)| j == v))
        .unwrap_or(Verdict::Healthy);
    let reasons = judged.into_iter().filter(|(j, _)| *j == worst).map(|(_, reason)| reason).collect();
    let flag = |probe: Option<ProbeRecord>| UseFlag {
        flag: probe.map_or(ConditionUse::Unknown, |probe| use_of(&probe, worst)),
        probe,
    };
    VerdictRecord {
        verdict: worst.name().into(),
        reasons,
        text_use: flag(probes.text),
        prompt_use: flag(probes.prompt),
    }
}

/// What a probe says: two standard errors decide, and a model that has learned nothing yet is not said to ignore anything.
fn use_of(probe: &ProbeRecord, verdict: Verdict) -> ConditionUse {
    let doubt = 2.0 * probe.standard_error;
    if probe.gap_nats - doubt > USED_NATS {
        ConditionUse::Used
    } else if probe.gap_nats + doubt < IGNORED_NATS && verdict != Verdict::Undertrained {
        ConditionUse::Ignored
    } else {
        ConditionUse::Unknown
    }
}

/// Whether what a model writes by itself has collapsed.
pub(crate) fn is_stuck(free: &FreeRunningMetrics) -> bool {
    free.effective_codes_ratio < COLLAPSED_EFFECTIVE_RATIO
        || free.utilization_ratio < COLLAPSED_UTILIZATION_RATIO
}

/// Whether the predecessor's alarm would have warned: few distinct teacher-forced argmaxes in one small batch. For
/// comparison only.
pub fn predecessor_warns(metrics: &CodebookMetrics) -> bool {
    let (share, fewest) = PREDECESSOR_RULE;
    metrics.n_tokens >= fewest && metrics.argmax_utilization < share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_knows_no_more_than_which_code_follows_which_is_undertrained() {
        let sound = |cross_entropy| CodebookMetrics {
            codebook: 1,
            n_tokens: 1000,
            cross_entropy,
            utilization_ratio: 1.0,
            effective_codes_ratio: 1.0,
            sampled_effective_ratio: 1.0,
            overlap: 1.0,
            unigram_floor: Some(5.4),
            bigram_floor: Some(2.7),
            ..CodebookMetrics::default()
        };
        let probe = ProbeRecord { n_tokens: 1000, gap_nats: 0.0, standard_error: 0.001 };
        let probes = Probes { text: Some(probe), prompt: None };
        let young = verdict(&[sound(3.5)], &probes);
        assert_eq!((young.verdict.as_str(), young.text_use.flag), ("undertrained", ConditionUse::Unknown));
        assert!(young.reasons[0].contains("not under guessing from the code before, 2.70"));
        let trained = verdict(&[sound(2.5)], &probes);
        assert_eq!((trained.verdict.as_str(), trained.text_use.flag), ("healthy", ConditionUse::Ignored));
        assert_eq!(trained.prompt_use.flag, ConditionUse::Unknown);
    }
}
