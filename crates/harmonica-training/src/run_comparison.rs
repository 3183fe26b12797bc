//! Two runs side by side: configuration, validations, environment.
//!
//! In: two [`RunReading`]s; out: a [`RunComparison`]. Invariant: whether cross-entropies may be compared is always said, and
//! nothing is left out because they may not.

use crate::RunReading;
use harmonica_config_schema::ConfigDiff;
use harmonica_config_schema::record::{
    CodebookPair, ConfigDifference, CurveDistance, Difference, Environment, FORMAT_VERSION, MetricsLine,
    RunComparison, Sitting, ValidationMetrics, ValidationPair,
};
use std::collections::{BTreeMap, BTreeSet};

/// Compares two runs.
pub fn compare(left: &RunReading, right: &RunReading) -> RunComparison {
    RunComparison {
        format_version: FORMAT_VERSION,
        left: left.summary.clone(),
        right: right.summary.clone(),
        incomparable: incomparable(left, right),
        config: config(left, right),
        validations: validations(left, right),
        training: curve_distance(&left.metrics, &right.metrics),
        environment: environment(left, right),
    }
}

/// A difference, unless there is none.
fn difference(what: &str, left: Option<String>, right: Option<String>) -> Option<Difference> {
    (left != right).then(|| Difference { what: what.to_owned(), left, right })
}

fn incomparable(left: &RunReading, right: &RunReading) -> Vec<Difference> {
    let (a, b) = (&left.summary, &right.summary);
    let both = |what: &str, left: &dyn ToString, right: &dyn ToString| {
        difference(what, Some(left.to_string()), Some(right.to_string()))
    };
    let codec = match (&a.codec, &b.codec) {
        (Some(left), Some(right)) => both("codec", left, right),
        // The cache's fingerprint covers the codec that it was made with.
        _ => None,
    };
    let found = [both("model", &a.model, &b.model), both("cache", &a.cache, &b.cache), codec];
    found.into_iter().flatten().collect()
}

fn config(left: &RunReading, right: &RunReading) -> Option<Vec<ConfigDifference>> {
    let diff = ConfigDiff::between_maps(left.config.as_ref()?, right.config.as_ref()?);
    let with_places = diff.entries.into_iter().map(|entry| ConfigDifference {
        left_place: left.provenance.get(&entry.key).cloned(),
        right_place: right.provenance.get(&entry.key).cloned(),
        key: entry.key,
        left: entry.left,
        right: entry.right,
    });
    Some(with_places.collect())
}

fn validations(left: &RunReading, right: &RunReading) -> Vec<ValidationPair> {
    let others: BTreeMap<u64, &ValidationMetrics> = right.validations().map(|v| (v.update, v)).collect();
    let mine: BTreeMap<u64, &ValidationMetrics> = left.validations().map(|v| (v.update, v)).collect();
    let common = mine.into_iter().filter_map(|(update, left)| Some((left, *others.get(&update)?)));
    common.map(|(left, right)| pair(left, right)).collect()
}

/// Where the training curves lie furthest apart. A figure that is no number is as far as can be.
fn curve_distance(left: &[MetricsLine], right: &[MetricsLine]) -> Option<CurveDistance> {
    let curve = |lines: &[MetricsLine]| -> BTreeMap<u64, f64> {
        let of = |line: &MetricsLine| match line {
            MetricsLine::Train(metrics) => Some((metrics.update, metrics.cross_entropy)),
            _ => None,
        };
        lines.iter().filter_map(of).collect()
    };
    let (mine, others) = (curve(left), curve(right));
    let keys = |curve: &BTreeMap<u64, f64>| curve.keys().copied().collect::<BTreeSet<u64>>();
    let n_unmatched = keys(&mine).symmetric_difference(&keys(&others)).count();
    let at = |(update, left): (u64, f64)| {
        let right = *others.get(&update)?;
        let share = (right - left).abs() / left.abs().max(1e-12);
        let share = if share.is_nan() { f64::INFINITY } else { share };
        Some(CurveDistance { n_updates: 0, n_unmatched, update, left, right, share })
    };
    let all: Vec<CurveDistance> = mine.into_iter().filter_map(at).collect();
    let furthest = all.iter().copied().max_by(|a, b| a.share.total_cmp(&b.share))?;
    Some(CurveDistance { n_updates: all.len(), ..furthest })
}

fn pair(left: &ValidationMetrics, right: &ValidationMetrics) -> ValidationPair {
    let of = |validation: &ValidationMetrics| -> BTreeMap<usize, f64> {
        validation.codebooks.iter().map(|c| (c.codebook, c.cross_entropy)).collect()
    };
    let (mine, others) = (of(left), of(right));
    let codebooks: BTreeSet<usize> = mine.keys().chain(others.keys()).copied().collect();
    let pairs = codebooks.into_iter().map(|codebook| CodebookPair {
        codebook,
        left: mine.get(&codebook).copied(),
        right: others.get(&codebook).copied(),
    });
    ValidationPair {
        update: left.update,
        left: left.cross_entropy,
        right: right.cross_entropy,
        left_verdict: left.verdict.verdict.clone(),
        right_verdict: right.verdict.verdict.clone(),
        codebooks: pairs.collect(),
    }
}

/// A property of a machine or a process, in words.
type Property = (&'static str, fn(&Environment) -> Option<String>);

/// What of an environment may change a run's numbers or its speed; process and command line always differ.
const PROPERTIES: [Property; 9] = [
    ("host", |e| e.host.clone()),
    ("os", |e| Some(e.os.clone())),
    ("architecture", |e| Some(e.architecture.clone())),
    ("cpu", |e| e.cpu.clone()),
    ("cpus", |e| e.n_cpus.map(|n| n.to_string())),
    ("threads", |e| Some(e.n_threads.to_string())),
    ("simd", |e| Some(e.simd.join(" "))),
    ("backend", |e| Some(e.backend.clone())),
    ("commit", |e| {
        let commit = e.commit.as_ref()?;
        let modified = if commit.modified == Some(true) { ", modified" } else { "" };
        Some(format!("{}{modified}", commit.id))
    }),
];

fn environment(left: &RunReading, right: &RunReading) -> Vec<Difference> {
    let (a, b) = (&left.summary, &right.summary);
    let manifests = [
        difference("program", Some(a.program.clone()), Some(b.program.clone())),
        difference("device", Some(a.device.clone()), Some(b.device.clone())),
    ];
    let n_sittings = |run: &RunReading| run.summary.n_sittings.map(|n| n.to_string());
    let sittings = difference("sittings", n_sittings(left), n_sittings(right));
    let properties = PROPERTIES
        .iter()
        .map(|(what, of)| difference(what, values(&left.sittings, *of), values(&right.sittings, *of)));
    manifests.into_iter().chain(properties).chain([sittings]).flatten().collect()
}

/// The values of all sittings, each once, in their order.
fn values(sittings: &[Sitting], of: fn(&Environment) -> Option<String>) -> Option<String> {
    let mut found: Vec<String> = Vec::new();
    for value in sittings.iter().filter_map(|sitting| of(&sitting.environment)) {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    (!found.is_empty()).then(|| found.join(", then "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use harmonica_config_schema::record::TrainMetrics;

    fn curve(values: &[(u64, f64)]) -> Vec<MetricsLine> {
        let line = |(update, cross_entropy): &(u64, f64)| {
            let (update, cross_entropy) = (*update, *cross_entropy);
            MetricsLine::Train(TrainMetrics { update, cross_entropy, ..TrainMetrics::default() })
        };
        values.iter().map(line).collect()
    }

    #[test]
    fn curves_are_as_far_apart_as_where_they_differ_most() {
        let left = curve(&[(1, 5.0), (2, 4.0), (3, 2.0), (9, 1.0)]);
        let found = curve_distance(&left, &curve(&[(1, 5.1), (2, 3.8), (3, 2.0), (4, 0.1)])).unwrap();
        assert_eq!((found.n_updates, found.update, found.left, found.right), (3, 2, 4.0, 3.8));
        assert!((found.share - 0.05).abs() < 1e-12);
        let broken = curve_distance(&left, &curve(&[(1, 5.0), (2, f64::NAN)])).unwrap();
        assert_eq!((broken.update, broken.share), (2, f64::INFINITY));
        assert_eq!(curve_distance(&left, &curve(&[(7, 1.0)])), None);
    }
}
