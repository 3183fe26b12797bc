//! Alerts that neither flicker nor cry wolf.
//!
//! In: validations in order. Out: alerts that stand, and which were raised or cleared. An alert is raised after several bad
//! validations in a row and cleared after several good ones. Invariant: the state is plain data, so that a resumed run goes
//! on exactly where it stood.

use super::verdict::{Verdict, is_stuck, judge};
use harmonica_config_schema::record::{AlertRecord, ConditionUse, ValidationMetrics};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Bad validations in a row that raise an alert.
const RAISED_AFTER: u32 = 3;
/// Good validations in a row that clear it.
const CLEARED_AFTER: u32 = 2;

/// Codebook, counted from 1 (0 for the model as a whole), and what is wrong.
type Finding = (usize, String);

/// One thing that may be wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Watched {
    codebook: usize,
    alert: String,
    /// Validations in a row that contradict how it stands.
    against: u32,
    since_update: Option<u64>,
}

/// An alert that was raised or cleared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertChange {
    /// The alert.
    pub alert: AlertRecord,
    /// Whether it was raised; else it was cleared.
    pub is_raised: bool,
}

/// What is watched over a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alerts {
    watched: Vec<Watched>,
}

fn findings(validation: &ValidationMetrics) -> BTreeSet<Finding> {
    let collapsed = validation.codebooks.iter().filter(|c| judge(c).0 == Verdict::Collapsed);
    let stuck = validation.free_running.iter().filter(|f| is_stuck(f));
    let flags = [
        (&validation.verdict.text_use, "its text is ignored"),
        (&validation.verdict.prompt_use, "its voice is ignored"),
    ];
    let ignored = flags.into_iter().filter(|(flag, _)| flag.flag == ConditionUse::Ignored);
    collapsed
        .map(|c| (c.codebook, "collapsed".to_owned()))
        .chain(stuck.map(|f| (f.codebook, "collapsed when it runs freely".to_owned())))
        .chain(ignored.map(|(_, words)| (0, words.to_owned())))
        .collect()
}

impl Alerts {
    /// Takes in a validation; returns what changed.
    pub fn observe(&mut self, validation: &ValidationMetrics) -> Vec<AlertChange> {
        let found = findings(validation);
        for (codebook, alert) in &found {
            if !self.watched.iter().any(|w| (&w.codebook, &w.alert) == (codebook, alert)) {
                let (codebook, alert) = (*codebook, alert.clone());
                self.watched.push(Watched { codebook, alert, against: 0, since_update: None });
            }
        }
        let mut changes = Vec::new();
        for watched in &mut self.watched {
            let is_bad = found.contains(&(watched.codebook, watched.alert.clone()));
            watched.against = if is_bad == watched.since_update.is_some() { 0 } else { watched.against + 1 };
            let (raised_at, is_raised) = match watched.since_update {
                None if watched.against >= RAISED_AFTER => (validation.update, true),
                Some(since) if watched.against >= CLEARED_AFTER => (since, false),
                _ => continue,
            };
            watched.against = 0;
            watched.since_update = is_raised.then_some(raised_at);
            let (codebook, alert) = (watched.codebook, watched.alert.clone());
            let alert = AlertRecord { codebook, alert, since_update: raised_at };
            changes.push(AlertChange { alert, is_raised });
        }
        self.watched.retain(|w| w.against > 0 || w.since_update.is_some());
        changes
    }

    /// The alerts that stand.
    pub fn standing(&self) -> Vec<AlertRecord> {
        let record = |w: &Watched| {
            let (codebook, alert) = (w.codebook, w.alert.clone());
            Some(AlertRecord { codebook, alert, since_update: w.since_update? })
        };
        let mut standing: Vec<AlertRecord> = self.watched.iter().filter_map(record).collect();
        standing.sort();
        standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harmonica_config_schema::record::CodebookMetrics;

    fn validation(update: u64, is_bad: bool) -> ValidationMetrics {
        let ratio = if is_bad { 0.1 } else { 1.0 };
        let codebook = CodebookMetrics {
            codebook: 2,
            n_tokens: 1000,
            utilization_ratio: ratio,
            effective_codes_ratio: ratio,
            sampled_effective_ratio: ratio,
            overlap: 1.0,
            ..CodebookMetrics::default()
        };
        ValidationMetrics { update, codebooks: vec![codebook], ..ValidationMetrics::default() }
    }

    fn changes(series: &[bool]) -> Vec<(u64, bool)> {
        let mut alerts = Alerts::default();
        let mut changes = Vec::new();
        for (i, is_bad) in series.iter().enumerate() {
            // A resumed run reads its state back.
            alerts = serde_json::from_str(&serde_json::to_string(&alerts).unwrap()).unwrap();
            let changed = alerts.observe(&validation(i as u64 + 1, *is_bad));
            changes.extend(changed.iter().map(|c| (i as u64 + 1, c.is_raised)));
        }
        changes
    }

    #[test]
    fn an_alert_takes_three_bad_validations_and_goes_after_two_good_ones() {
        assert_eq!(changes(&[true, true, false, true, true, false, true]), []);
        assert_eq!(changes(&[true, true, true]), [(3, true)]);
        let flickering = [true, true, true, false, true, false, true, true, false, false, true];
        assert_eq!(changes(&flickering), [(3, true), (10, false)]);
    }

    #[test]
    fn a_standing_alert_says_since_when() {
        let mut alerts = Alerts::default();
        (1..=5).for_each(|update| drop(alerts.observe(&validation(update, true))));
        let standing = alerts.standing();
        assert_eq!((standing.len(), standing[0].codebook, standing[0].since_update), (1, 2, 3));
    }
}
