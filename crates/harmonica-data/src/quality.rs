//! Decides which utterances may be trained on. In: [`QualityStats`]; out: [`QualityVerdict`].
//!
//! Measuring is `harmonica_audio`'s job; this module only judges, and what one utterance alone can tell.
//! Invariant: the same stats and thresholds always give the same verdict and the same reasons.

use crate::DataError;
use harmonica_audio::QualityStats;
use harmonica_config_schema::QualityThresholds;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Judges utterances by thresholds, and by what people decided.
#[derive(Debug, Clone)]
pub struct QualityFilter {
    thresholds: QualityThresholds,
    by_hand: BTreeMap<String, Decision>,
}

/// What somebody decided about an utterance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Train on it, whatever the thresholds say.
    Keep,
    /// Leave it out.
    Drop,
}

/// Whether an utterance may be trained on. Kept if no reason speaks against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QualityVerdict {
    /// Short names of what speaks against it, such as `clipped`.
    pub reasons: Vec<String>,
}

impl QualityVerdict {
    /// Whether the utterance may be trained on.
    pub fn kept(&self) -> bool {
        self.reasons.is_empty()
    }
}

impl QualityFilter {
    /// A filter with these thresholds, without decisions by hand.
    pub fn new(thresholds: QualityThresholds) -> Self {
        Self { thresholds, by_hand: BTreeMap::new() }
    }

    /// A filter with these thresholds and the decisions of the file that they name.
    ///
    /// # Errors
    /// A file of decisions that cannot be read or understood.
    pub fn open(thresholds: &QualityThresholds) -> Result<Self, DataError> {
        let mut filter = Self::new(thresholds.clone());
        if !thresholds.overrides.is_empty() {
            let path = Path::new(&thresholds.overrides);
            let text = std::fs::read_to_string(path)
                .map_err(|source| DataError::Read { path: path.to_owned(), source })?;
            filter.by_hand = decisions(path, &text)?;
        }
        Ok(filter)
    }

    /// What somebody decided about an utterance.
    pub(crate) fn decision(&self, id: &str) -> Option<Decision> {
        self.by_hand.get(id).copied()
    }

    /// The thresholds.
    pub fn thresholds(&self) -> &QualityThresholds {
        &self.thresholds
    }

    /// Judges one utterance by its figures and the length of its normalized text.
    pub fn judge(&self, stats: &QualityStats, n_characters: usize) -> QualityVerdict {
        let t = &self.thresholds;
        let chars_per_s = chars_per_s(stats, n_characters);
        let checks = [
            (stats.duration_s < t.min_duration_s, "too_short"),
            (stats.duration_s > t.max_duration_s, "too_long"),
            (stats.longest_silence_s > t.max_silence_s, "long_silence"),
            (stats.clipped_share > t.max_clipped_share, "clipped"),
            (stats.snr_db < t.min_snr_db, "noisy"),
            (stats.voiced_share < t.min_voiced_share, "not_speech"),
            (stats.sample_rate_hz < t.min_sample_rate_hz, "low_sample_rate"),
            (chars_per_s < t.min_chars_per_s, "text_too_short"),
            (chars_per_s > t.max_chars_per_s, "text_too_long"),
        ];
        let reasons =
            checks.into_iter().filter(|(against, _)| *against).map(|(_, reason)| reason.to_owned()).collect();
        QualityVerdict { reasons }
    }
}

/// Characters a second.
pub(crate) fn chars_per_s(stats: &QualityStats, n_characters: usize) -> f64 {
    n_characters as f64 / stats.duration_s.max(1e-9)
}

/// Reads `keep ID` and `drop ID`, a line each; `#` begins a remark.
fn decisions(path: &Path, text: &str) -> Result<BTreeMap<String, Decision>, DataError> {
    let mut by_hand = BTreeMap::new();
    for (i, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let refuse = |reason: String| DataError::Manifest { path: path.to_owned(), line: i + 1, reason };
        let decision = match line.split_once(char::is_whitespace) {
            Some(("keep", id)) => (id.trim().to_owned(), Decision::Keep),
            Some(("drop", id)) => (id.trim().to_owned(), Decision::Drop),
            _ => return Err(refuse("expected `keep ID` or `drop ID`".into())),
        };
        if by_hand.insert(decision.0.clone(), decision.1).is_some_and(|earlier| earlier != decision.1) {
            return Err(refuse(format!("`{}` is to be kept and to be dropped; decide", decision.0)));
        }
    }
    Ok(by_hand)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> QualityStats {
        QualityStats {
            duration_s: 2.0,
            peak: 0.7,
            rms_db: -20.0,
            clipped_share: 0.0,
            longest_silence_s: 0.1,
            snr_db: 40.0,
            voiced_share: 0.6,
            sample_rate_hz: 24_000,
        }
    }

    #[test]
    fn each_threshold_drops_with_its_own_reason() {
        let filter = QualityFilter::new(QualityThresholds {
            min_voiced_share: 0.1,
            min_sample_rate_hz: 16_000,
            ..QualityThresholds::default()
        });
        assert!(filter.judge(&good(), 30).kept());
        for (stats, n_characters, reason) in [
            (QualityStats { duration_s: 0.1, ..good() }, 2, "too_short"),
            (QualityStats { duration_s: 16.0, ..good() }, 200, "too_long"),
            (QualityStats { longest_silence_s: 3.0, ..good() }, 30, "long_silence"),
            (QualityStats { clipped_share: 0.01, ..good() }, 30, "clipped"),
            (QualityStats { snr_db: 3.0, ..good() }, 30, "noisy"),
            (QualityStats { voiced_share: 0.05, ..good() }, 30, "not_speech"),
            (QualityStats { sample_rate_hz: 8000, ..good() }, 30, "low_sample_rate"),
            (good(), 2, "text_too_short"),
            (good(), 200, "text_too_long"),
        ] {
            assert_eq!(filter.judge(&stats, n_characters).reasons, [reason]);
        }
    }

    #[test]
    fn decisions_by_hand_are_read_and_contradictions_refused() {
        let read = |text: &str| decisions(Path::new("by-hand.txt"), text).map_err(|e| e.to_string());
        let found = read("# heard on Monday\nkeep a-1\n\ndrop b  # cut off\n").unwrap();
        assert_eq!((found["a-1"], found["b"]), (Decision::Keep, Decision::Drop));
        assert!(read("keep a\ndrop a\n").unwrap_err().contains("line 2"));
        assert!(read("a\n").unwrap_err().contains("`keep ID` or `drop ID`"));
    }
}
