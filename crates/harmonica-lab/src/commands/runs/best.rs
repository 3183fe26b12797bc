//! `runs best`: the lowest validation cross-entropy of each group that may be compared.

use super::short;
use crate::commands::train::ModelKind;
use crate::failure::Failure;
use crate::output::Output;
use harmonica_config_schema::record::RunGroup;
use harmonica_training::{best_of, find_runs};
use std::path::Path;

pub(super) fn run(dir: &Path, model: Option<ModelKind>, out: Output) -> Result<(), Failure> {
    let mut found = find_runs(dir)?;
    for run in &found.unreadable {
        out.note(&format!("warning: `{}` is left out: {}", run.path.display(), run.reason));
    }
    found.runs.retain(|run| model.is_none_or(|model| run.model == model.name()));
    let groups = best_of(&found.runs);
    if groups.is_empty() {
        let which = model.map_or_else(String::new, |model| format!("{} ", model.name()));
        return Err(Failure::error(format!(
            "no {which}run below `{0}` has been validated; `harmonica-lab runs list {0}` says what is there",
            dir.display()
        )));
    }
    out.result(&serde_json::json!({ "directory": dir, "groups": groups }), &words(&groups));
    Ok(())
}

fn words(groups: &[RunGroup]) -> String {
    // One group needs no name, but several do.
    if let [only] = groups {
        return lines(only).join("\n");
    }
    let mut all = vec![format!("{} groups, which cannot be compared with each other", groups.len())];
    for group in groups {
        let of = if group.n_runs == 1 { "1 run".to_owned() } else { format!("{} runs", group.n_runs) };
        let codec = group.codec.as_ref().map_or_else(|| "unknown".to_owned(), short);
        all.push(format!("{} on cache {}, codec {codec}, {of}", group.model, short(&group.cache)));
        all.extend(lines(group).into_iter().map(|line| format!("  {line}")));
    }
    all.join("\n")
}

fn lines(group: &RunGroup) -> Vec<String> {
    let mut all = vec![group.best.path.display().to_string()];
    if let Some(best) = &group.best.best {
        all.push(match &best.checkpoint {
            Some(checkpoint) => checkpoint.display().to_string(),
            None => "its checkpoint is gone".to_owned(),
        });
        all.push(format!("cross-entropy {:.4} after {} updates", best.cross_entropy, best.update));
        all.extend(best.chosen_by.iter().map(|why| format!("chosen by {why}")));
    }
    all.extend(group.ties.iter().map(|path| format!("equal: {}", path.display())));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::runs::tests::summary;
    use harmonica_config_schema::record::BestValidation;

    fn group(path: &str, ties: &[&str]) -> RunGroup {
        let mut run = summary(path);
        let checkpoint = Some(run.path.join("step-00000003"));
        run.best = Some(BestValidation { update: 3, cross_entropy: 2.5, chosen_by: None, checkpoint });
        let (model, cache, codec) = (run.model.clone(), run.cache.clone(), run.codec.clone());
        let ties: Vec<_> = ties.iter().map(std::path::PathBuf::from).collect();
        RunGroup { model, cache, codec, n_runs: 1 + ties.len(), best: run, ties }
    }

    #[test]
    fn one_group_is_its_best_and_several_are_named() {
        let one = words(&[group("runs/a", &["runs/b"])]);
        assert_eq!(one, "runs/a\nruns/a/step-00000003\ncross-entropy 2.5000 after 3 updates\nequal: runs/b");
        let mut gone = group("runs/c", &[]);
        if let Some(best) = &mut gone.best.best {
            best.checkpoint = None;
            best.chosen_by = Some("highest accuracy: 0.5000".into());
        }
        let two = words(&[group("runs/a", &[]), gone]);
        assert!(two.starts_with("2 groups") && two.contains("ar on cache") && two.contains("gone"), "{two}");
        assert!(two.ends_with("chosen by highest accuracy: 0.5000"), "{two}");
    }
}
