//! A new run that begins with another run's weights.
//!
//! In: a fresh model and a checkpoint of the same kind of model. Out: the model with every weight that means the same in both,
//! and a list of what was loaded, resized and skipped. Invariant: tables are only taken over where their rows mean the
//! same symbols, codes or speakers; nothing is left unsaid.

use crate::{Checkpoint, Task, Trainer, TrainingError, WeightKind};
use burn::module::Module;
use harmonica_model_core::{InterfaceContract, WeightStore};
use serde::Serialize;
use std::collections::BTreeMap;

/// What became of each tensor, by its path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Initialisation {
    /// The checkpoint that the weights come from.
    pub from: String,
    /// Taken over as they are.
    pub loaded: Vec<String>,
    /// Taken over as far as both reach: shape there, shape here.
    pub resized: BTreeMap<String, [Vec<usize>; 2]>,
    /// Left as a fresh model has them, and why.
    pub skipped: BTreeMap<String, String>,
    /// Tensors of the checkpoint that this model does not have.
    pub unused: Vec<String>,
}

/// Why the rows of a table mean other things there, if they do.
fn other_rows(path: &str, there: &InterfaceContract, here: &InterfaceContract) -> Option<&'static str> {
    match path {
        "text_embedding" if there.vocabulary != here.vocabulary => Some("the text vocabulary differs"),
        "speaker_embedding" if there.speakers != here.speakers => Some("the speakers differ"),
        _ => None,
    }
}

/// Whether a tensor can be cut or extended row by row.
fn has_rows(path: &str, there: &[usize], here: &[usize]) -> bool {
    let is_positions = path.ends_with("_positions");
    is_positions && there.len() == 2 && here.len() == 2 && there[1] == here[1]
}

fn take_over<M: Module>(
    model: M,
    from: &Checkpoint,
    contract: &InterfaceContract,
) -> Result<(M, Initialisation), TrainingError> {
    let theirs = from.contract();
    let differs = [
        ("codec", theirs.codec_fingerprint != contract.codec_fingerprint || theirs.codec != contract.codec),
        ("special ids", theirs.special != contract.special),
        ("prompt format", theirs.prompt_format != contract.prompt_format),
    ];
    let differing: Vec<&str> =
        differs.into_iter().filter(|(_, differs)| *differs).map(|(what, _)| what).collect();
    if !differing.is_empty() {
        let reason =
            format!("its contract differs in {}: its weights mean other things here", differing.join(", "));
        return Err(TrainingError::Checkpoint { path: from.dir().to_owned(), reason });
    }
    let given = from.weights(WeightKind::Averaged)?;
    let mut store = WeightStore::of(&model);
    let shapes: BTreeMap<String, Vec<usize>> =
        store.tensors().iter().map(|(path, (_, shape))| (path.clone(), shape.clone())).collect();
    let mut told = Initialisation { from: from.dir().display().to_string(), ..Initialisation::default() };
    store.map(|path, values| {
        let here = &shapes[path];
        let Some((given, there)) = given.tensors().get(path) else {
            told.skipped.insert(path.to_owned(), "the checkpoint does not have it".to_owned());
            return;
        };
        if let Some(why) = other_rows(path, theirs, contract) {
            told.skipped.insert(path.to_owned(), why.to_owned());
        } else if there == here {
            values.copy_from_slice(given);
            told.loaded.push(path.to_owned());
        } else if has_rows(path, there, here) {
            let n = values.len().min(given.len());
            values[..n].copy_from_slice(&given[..n]);
            told.resized.insert(path.to_owned(), [there.clone(), here.clone()]);
        } else {
            told.skipped.insert(path.to_owned(), format!("its shape is {there:?} there and {here:?} here"));
        }
    });
    told.unused = given.tensors().keys().filter(|path| !shapes.contains_key(*path)).cloned().collect();
    Ok((store.load_into(model)?, told))
}

impl<T: Task + 'static> Trainer<T> {
    /// Begins with the averaged weights of a checkpoint, and keeps that beginning as a checkpoint of update 0 with a list of
    /// what was taken over in `init.json`. A run that is under way is left as it is.
    ///
    /// # Errors
    /// A checkpoint of another kind of model, or one whose contract gives its weights other meanings.
    pub fn begin_with(&mut self, from: &Checkpoint) -> Result<Option<Initialisation>, TrainingError> {
        if self.state.update > 0 || self.run.checkpoint(0).is_dir() {
            return Ok(None);
        }
        if from.state().model != self.task.name() {
            let reason =
                format!("it is of the {} model, this run trains {}", from.state().model, self.task.name());
            return Err(TrainingError::Checkpoint { path: from.dir().to_owned(), reason });
        }
        let (model, told) = take_over(self.model.clone(), from, self.task.contract())?;
        self.ema = crate::Ema::new(&model, self.task.optimizer().ema_decay);
        self.model = model;
        self.run.replace_json("init.json", &told)?;
        self.checkpoint(&mut ())?;
        Ok(Some(told))
    }
}
