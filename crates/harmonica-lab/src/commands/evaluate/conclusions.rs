//! What `evaluate` concludes once everything is spoken and judged: similarity to voices, criteria, the gate.

use crate::failure::Failure;
use crate::table::{Column, Cut, lines};
use harmonica_config_schema::record::{
    BestRecord, CriterionRecord, EvaluationRecord, MetricsLine, SimilarityRecord, SystemEvaluation,
};
use harmonica_eval::{
    CheckpointSelection, CriteriaInput, EvalSuite, SpeakerEmbedder, VoiceBank, criteria,
    similarity_of_system, vector_of_file,
};
use std::path::{Path, PathBuf};

/// The system that stands for the product, where it was judged.
const PRODUCT: &str = "generated, expected";

/// Similarity of all systems to the voices of the suite; `None` if the suite has no recordings to compare with.
pub(super) fn similarity(
    suite: &EvalSuite,
    systems: &[SystemEvaluation],
    root: &Path,
    embedder: &dyn SpeakerEmbedder,
) -> Result<Option<SimilarityRecord>, Failure> {
    let mut recordings = Vec::new();
    for sentence in suite.sentences.iter().filter(|s| !s.speaker.is_empty()) {
        if let Some(audio) = &sentence.audio {
            let vector = vector_of_file(embedder, &suite.root.join(audio))?;
            recordings.extend(vector.map(|v| (sentence.id.clone(), sentence.speaker.clone(), v)));
        }
    }
    let Some(bank) = VoiceBank::new(embedder, recordings) else { return Ok(None) };
    let mut compared = Vec::new();
    for system in systems {
        compared.extend(similarity_of_system(system, root, embedder, &bank)?);
    }
    Ok(Some(SimilarityRecord { embedder: embedder.name(), voices: bank.voices(), systems: compared }))
}

/// How the runs whose metrics were given chose their best checkpoints. What cannot be read is absent.
fn selections(metrics: &[PathBuf]) -> Vec<CheckpointSelection> {
    let one = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let read: Vec<MetricsLine> =
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let dir = path.parent().unwrap_or(Path::new("."));
        let best: Option<BestRecord> =
            std::fs::read(dir.join("best.json")).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let name = dir.file_name().map_or_else(|| "run".into(), |n| n.to_string_lossy().into_owned());
        CheckpointSelection::new(name, &read, best.as_ref())
    };
    metrics.iter().map(one).collect()
}

/// Every criterion.
pub(super) fn judged_criteria(
    record: &EvaluationRecord,
    baseline: Option<&EvaluationRecord>,
    metrics: &[PathBuf],
) -> Vec<CriterionRecord> {
    let names = || record.systems.iter().map(|s| s.system.as_str());
    let generated = names().rev().find(|name| name.starts_with("generated"));
    let system = names().find(|name| *name == PRODUCT).or(generated).unwrap_or(PRODUCT);
    let selections = selections(metrics);
    criteria(&CriteriaInput { evaluation: record, system, baseline, selections: &selections })
}

/// The criteria for people.
pub(super) fn criteria_words(all: &[CriterionRecord]) -> String {
    let row = |c: &CriterionRecord| {
        vec![c.state.name().to_owned(), c.criterion.clone(), c.figure.clone(), c.threshold.clone()]
    };
    let columns = [
        Column::words("state"),
        Column::words("criterion"),
        Column::words("figure").cut(Cut::End(40)),
        Column::words("threshold"),
    ];
    lines(&columns, &all.iter().map(row).collect::<Vec<_>>(), 200).join("\n")
}

/// Similarities for people.
pub(super) fn similarity_words(record: &SimilarityRecord) -> String {
    let row = |s: &harmonica_config_schema::record::SystemSimilarity| {
        vec![
            s.system.clone(),
            format!("{:.3}", s.target),
            format!("{:+.3}", s.margin.value),
            format!("{:+.3} to {:+.3}", s.margin.low, s.margin.high),
            format!("{:.1}%", 100.0 * s.nearest_share),
            s.utterances.len().to_string(),
        ]
    };
    let columns = [
        Column::words(format!("similarity by {}", record.embedder)),
        Column::numbers("to the speaker"),
        Column::numbers("minus best other"),
        Column::numbers("95% interval"),
        Column::numbers("nearest to own voice"),
        Column::numbers("utterances"),
    ];
    lines(&columns, &record.systems.iter().map(row).collect::<Vec<_>>(), 200).join("\n")
}
