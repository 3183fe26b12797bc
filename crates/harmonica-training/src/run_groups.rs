//! The best run of each group whose cross-entropies may be compared.
//!
//! In: summaries; out: a [`RunGroup`] for each (model, cache, codec). Invariant: runs of different groups are never ranked
//! against each other, and runs that were not validated are in none.

use harmonica_config_schema::Fingerprint;
use harmonica_config_schema::record::{BestValidation, RunGroup, RunSummary};
use std::collections::BTreeMap;

/// What runs share whose cross-entropies may be compared.
type Kin<'a> = (&'a str, &'a Fingerprint, Option<&'a Fingerprint>);

/// The best run of each group, by model, cache and codec; of equal ones the first.
pub fn best_of(runs: &[RunSummary]) -> Vec<RunGroup> {
    let mut groups: BTreeMap<Kin<'_>, Vec<(&RunSummary, f64)>> = BTreeMap::new();
    for run in runs {
        if let Some(BestValidation { cross_entropy, .. }) = run.best {
            let kin = (run.model.as_str(), &run.cache, run.codec.as_ref());
            groups.entry(kin).or_default().push((run, cross_entropy));
        }
    }
    let mut best = Vec::new();
    for ((model, cache, codec), members) in groups {
        let Some((winner, value)) = members.iter().min_by(|a, b| a.1.total_cmp(&b.1)) else { continue };
        let ties = members.iter().filter(|(run, other)| other == value && run.path != winner.path);
        best.push(RunGroup {
            model: model.to_owned(),
            cache: cache.clone(),
            codec: codec.cloned(),
            n_runs: members.len(),
            best: (*winner).clone(),
            ties: ties.map(|(run, _)| run.path.clone()).collect(),
        });
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(path: &str, model: &str, cache: &str, best: Option<f64>) -> RunSummary {
        let fingerprint = |text: &str| Fingerprint::of_bytes(text.as_bytes());
        RunSummary {
            best: best.map(|cross_entropy| BestValidation {
                update: 9,
                cross_entropy,
                chosen_by: None,
                checkpoint: None,
            }),
            codec: Some(fingerprint("codec")),
            ..RunSummary::unread(path.into(), model.into(), fingerprint(path), fingerprint(cache))
        }
    }

    #[test]
    fn only_comparable_runs_are_ranked() {
        let mut runs = vec![
            run("a", "nar", "old", Some(3.0)),
            run("b", "nar", "new", Some(2.5)),
            run("c", "nar", "new", Some(2.0)),
            run("d", "nar", "new", Some(2.0)),
            run("e", "ar", "new", Some(9.0)),
            run("f", "ar", "new", None),
        ];
        let shown = |runs: &[RunSummary]| -> Vec<(String, usize, usize)> {
            best_of(runs)
                .iter()
                .map(|g| (g.best.path.display().to_string(), g.n_runs, g.ties.len()))
                .collect()
        };
        let mut groups = shown(&runs);
        groups.sort();
        assert_eq!(groups, [("a".into(), 1, 0), ("c".into(), 3, 1), ("e".into(), 1, 0)]);
        runs[2].codec = None;
        assert_eq!(shown(&runs).len(), 4, "another codec is another group");
        assert!(best_of(&runs[5..]).is_empty());
    }
}
