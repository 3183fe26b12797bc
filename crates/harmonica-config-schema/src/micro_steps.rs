//! Spans of training that are written in batches, as optimizer updates.
//!
//! In: a merged configuration and its layers; out: the same configuration with every span in updates. Of two spellings the
//! later layer's wins. Invariant: a conversion is exact; a span that does not end with an update is refused.

use crate::error::{Problem, ProblemKind};
use crate::inspection::last_place;
use crate::layer::Layer;
use crate::relations::Relations;
use crate::{ExperimentConfig, Place};

/// One span in both spellings.
struct Span<'a> {
    table: String,
    updates: (&'static str, &'a mut u64),
    micro_steps: (&'static str, &'a mut Option<u64>),
    accumulation: u64,
}

fn spans(config: &mut ExperimentConfig) -> [Span<'_>; 4] {
    let training = &mut config.training;
    let (ar, nar) = (&mut training.ar, &mut training.nar);
    let accumulations = [ar.grad_accumulation as u64, nar.grad_accumulation as u64];
    let whole = |model: &str, updates, micro_steps, accumulation| Span {
        table: format!("training.{model}"),
        updates: ("max_updates", updates),
        micro_steps: ("max_micro_steps", micro_steps),
        accumulation,
    };
    let warm_up = |model: &str, updates, micro_steps, accumulation| Span {
        table: format!("training.{model}.optimizer.learning_rate"),
        updates: ("warmup_updates", updates),
        micro_steps: ("warmup_micro_steps", micro_steps),
        accumulation,
    };
    let (ar_rate, nar_rate) = (&mut ar.optimizer.learning_rate, &mut nar.optimizer.learning_rate);
    [
        whole("ar", &mut ar.max_updates, &mut ar.max_micro_steps, accumulations[0]),
        warm_up("ar", &mut ar_rate.warmup_updates, &mut ar_rate.warmup_micro_steps, accumulations[0]),
        whole("nar", &mut nar.max_updates, &mut nar.max_micro_steps, accumulations[1]),
        warm_up("nar", &mut nar_rate.warmup_updates, &mut nar_rate.warmup_micro_steps, accumulations[1]),
    ]
}

/// Requires that every span in batches ends with an update.
pub(crate) fn relations(config: &ExperimentConfig, relations: &mut Relations) {
    for span in spans(&mut config.clone()) {
        let (Some(batches), per_update) = (*span.micro_steps.1, span.accumulation.max(1)) else { continue };
        let below = batches - batches % per_update;
        let near = if below == 0 { String::new() } else { format!("{below} or ") };
        let allowed =
            format!("a multiple of {per_update} (grad_accumulation), such as {near}{}", below + per_update);
        relations.require(below == batches, &span.table, span.micro_steps.0, batches, allowed, &[]);
    }
}

/// Writes every span in updates; returns each one that stands in both spellings in one layer.
pub(crate) fn to_updates(config: &mut ExperimentConfig, layers: &[Layer]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for span in spans(config) {
        let Some(batches) = span.micro_steps.1.take() else { continue };
        let key = |name: &str| format!("{}.{name}", span.table);
        let set_in = |name: &str| {
            let key = key(name);
            let path: Vec<&str> = key.split('.').collect();
            // Layer 0 is the defaults.
            (1..layers.len()).rev().find(|i| last_place(&layers[*i..=*i], &path).is_some())
        };
        let (here, other) = (set_in(span.micro_steps.0), set_in(span.updates.0));
        if other > here {
            continue;
        }
        if other.is_none() || other != here {
            // Relations have refused a remainder.
            *span.updates.1 = batches / span.accumulation.max(1);
            continue;
        }
        let allowed =
            format!("one of `{}` and `{}`, not both in one layer", span.micro_steps.0, span.updates.0);
        let key = key(span.micro_steps.0);
        let place = last_place(layers, &key.split('.').collect::<Vec<_>>()).unwrap_or(Place::Program);
        let kind = ProblemKind::Misfit { value: batches.to_string(), allowed, because: None };
        problems.push(Problem { place, key, kind });
    }
    problems
}

#[cfg(test)]
mod tests {
    use crate::{ConfigLoader, ExperimentConfig};
    use proptest::prelude::*;

    fn load(toml: &str, overrides: &[&str]) -> Result<ExperimentConfig, String> {
        let loader = ConfigLoader::new().bytes("layer.toml", toml);
        loader.overrides(overrides.iter().map(|s| (*s).to_owned())).load().map_err(|e| e.to_string())
    }

    #[test]
    fn batches_become_updates_exactly_whatever_the_accumulation() {
        for accumulation in [1, 3, 16] {
            let toml = format!(
                "[training.nar]\ngrad_accumulation = {accumulation}\nmax_micro_steps = {}\n\
                 [training.nar.optimizer.learning_rate]\nwarmup_micro_steps = {}",
                480 * accumulation,
                7 * accumulation
            );
            let config = load(&toml, &[]).unwrap();
            assert_eq!(config.training.nar.max_updates, 480);
            assert_eq!(config.training.nar.optimizer.learning_rate.warmup_updates, 7);
            let plain = format!(
                "[training.nar]\ngrad_accumulation = {accumulation}\nmax_updates = 480\n\
                 [training.nar.optimizer.learning_rate]\nwarmup_updates = 7"
            );
            assert_eq!(config, load(&plain, &[]).unwrap(), "both spellings are one configuration");
        }
    }

    #[test]
    fn a_remainder_is_refused_with_its_neighbours() {
        let error = load("[training.ar]\ngrad_accumulation = 3\nmax_micro_steps = 100", &[]).unwrap_err();
        assert!(error.contains("layer.toml:3:1: training.ar.max_micro_steps: 100"), "{error}");
        assert!(error.contains("a multiple of 3 (grad_accumulation), such as 99 or 102"), "{error}");
        let few = load("[training.ar]\ngrad_accumulation = 16\nmax_micro_steps = 5", &[]).unwrap_err();
        assert!(few.contains("such as 16"), "{few}");
    }

    #[test]
    fn the_later_spelling_wins_and_two_in_one_layer_are_refused() {
        let toml = "[training.ar]\ngrad_accumulation = 3\nmax_micro_steps = 300";
        let updates = |overrides| load(toml, overrides).unwrap().training.ar.max_updates;
        assert_eq!(updates(&[]), 100);
        assert_eq!(updates(&["training.ar.max_updates=7"]), 7);
        assert_eq!(updates(&["training.ar.max_updates=7", "training.ar.max_micro_steps=9"]), 3);
        assert_eq!(updates(&["training.ar.grad_accumulation=30"]), 10, "the merged accumulation counts");
        let both = load("[training.ar]\nmax_updates = 5\nmax_micro_steps = 5", &[]).unwrap_err();
        assert!(both.contains("not both in one layer"), "{both}");
    }

    proptest! {
        #[test]
        fn a_span_is_either_exact_or_refused(accumulation in 1_u64..40, batches in 1_u64..100_000) {
            let toml = format!("[training.ar]\ngrad_accumulation = {accumulation}\nmax_micro_steps = {batches}");
            match load(&toml, &[]) {
                Ok(config) => prop_assert_eq!(config.training.ar.max_updates * accumulation, batches),
                Err(_) => prop_assert!(batches % accumulation != 0),
            }
        }
    }
}
