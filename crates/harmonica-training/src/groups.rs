//! Groups of parameters that learn at their own pace, each split into what decays and what does not.
//!
//! In: a model, the optimizer's configuration. Out: the optimizer, and learning rates for one update. A parameter's path
//! says which group it is in. Invariant: every parameter is in exactly one group; a path that no rule knows is refused
//! before update 0.

use crate::TrainingError;
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::module::{Module, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::optim::{AdamWConfig, ModuleOptimizer};
use burn::tensor::Tensor;
use harmonica_config_schema::{OptimizerConfig, ParamGroupConfig, ParamGroupsConfig};

/// One of the groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ParamGroupName {
    /// Tables of symbols, codes, positions and speakers.
    Embeddings,
    /// Attention of the decoder.
    Attention,
    /// Feed-forward layers of the decoder.
    FeedForward,
    /// Heads, and the norm before them.
    Output,
    /// The text encoder.
    TextEncoder,
    /// The speaker encoder.
    SpeakerEncoder,
}

/// Last path segments of parameters that never decay, whatever their group.
const VECTORS: [&str; 4] = ["bias", "gamma", "beta", "log_scale"];

/// Last path segments of tables: rows that a batch did not look up must not shrink.
const TABLES: [&str; 6] =
    ["table", "text_embedding", "speaker_embedding", "text_positions", "frame_positions", "prompt_mark"];

impl ParamGroupName {
    /// All groups.
    pub const ALL: [Self; 6] = [
        Self::Embeddings,
        Self::Attention,
        Self::FeedForward,
        Self::Output,
        Self::TextEncoder,
        Self::SpeakerEncoder,
    ];

    /// The group of the parameter of a path; none if no rule knows it.
    pub fn of(path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.split('.').collect();
        match segments[..] {
            ["text_encoder", ..] => Some(Self::TextEncoder),
            ["speaker_encoder", ..] => Some(Self::SpeakerEncoder),
            ["head" | "heads" | "latent_head", ..] | ["decoder", "norm", ..] => Some(Self::Output),
            [
                "decoder",
                "blocks",
                _,
                "norm_self" | "self_attention" | "norm_cross" | "cross_attention",
                ..,
            ] => Some(Self::Attention),
            ["decoder", "blocks", _, "norm_feed_forward" | "expand" | "contract", ..] => {
                Some(Self::FeedForward)
            }
            [
                "text_embedding" | "text_positions" | "frame_positions" | "code_embedding"
                | "code_embeddings" | "latent_embedding" | "speaker_embedding" | "prompt_mark",
                ..,
            ] => Some(Self::Embeddings),
            _ => None,
        }
    }

    /// Its configuration.
    fn config(self, groups: &ParamGroupsConfig) -> &ParamGroupConfig {
        match self {
            Self::Embeddings => &groups.embeddings,
            Self::Attention => &groups.attention,
            Self::FeedForward => &groups.feed_forward,
            Self::Output => &groups.output,
            Self::TextEncoder => &groups.text_encoder,
            Self::SpeakerEncoder => &groups.speaker_encoder,
        }
    }
}

/// Weight decay of one parameter.
fn decay_of(path: &str, group: ParamGroupName, config: &OptimizerConfig) -> f64 {
    let last = path.rsplit('.').next().unwrap_or(path);
    let own = group.config(&config.groups).weight_decay;
    if VECTORS.contains(&last) {
        0.0
    } else if TABLES.contains(&last) {
        own.unwrap_or(0.0)
    } else {
        own.unwrap_or(config.weight_decay)
    }
}

#[derive(Default)]
struct Paths {
    path: Vec<String>,
    found: Vec<(String, ParamId)>,
}

impl ModuleVisitor for Paths {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const N: usize>(&mut self, param: &Param<Tensor<N>>) {
        self.found.push((self.path.join("."), param.id));
    }
}

/// The parameters of one model, by group.
#[derive(Debug, Clone)]
pub struct ParamGroups {
    members: Vec<(String, ParamId, ParamGroupName)>,
    config: OptimizerConfig,
}

impl ParamGroups {
    /// Groups the parameters of a model.
    ///
    /// # Errors
    /// Parameters whose paths no rule knows, all of them.
    pub fn new<M: Module>(model: &M, config: &OptimizerConfig) -> Result<Self, TrainingError> {
        let mut paths = Paths::default();
        model.visit(&mut paths);
        let mut unknown = Vec::new();
        let mut members = Vec::new();
        for (path, id) in paths.found {
            match ParamGroupName::of(&path) {
                Some(group) => members.push((path, id, group)),
                None => unknown.push(path),
            }
        }
        if unknown.is_empty() {
            Ok(Self { members, config: config.clone() })
        } else {
            Err(TrainingError::Ungrouped { parameters: unknown })
        }
    }

    /// Paths of a group's parameters.
    pub fn members(&self, group: ParamGroupName) -> impl Iterator<Item = &str> {
        self.members.iter().filter(move |(_, _, g)| *g == group).map(|(path, _, _)| path.as_str())
    }

    /// AdamW (Loshchilov & Hutter 2019) over the groups.
    pub(crate) fn optimizer(&self) -> ModuleOptimizer {
        let config = &self.config;
        let adam = |weight_decay: f64| {
            AdamWConfig::new()
                .with_beta_1(config.beta_1 as f32)
                .with_beta_2(config.beta_2 as f32)
                .with_epsilon(config.epsilon as f32)
                .with_weight_decay(weight_decay as f32)
        };
        let mut decays: Vec<(f64, Vec<ParamId>)> = Vec::new();
        for (path, id, group) in &self.members {
            let decay = decay_of(path, *group, config);
            match decays.iter_mut().find(|(known, _)| *known == decay) {
                Some((_, ids)) => ids.push(*id),
                None => decays.push((decay, vec![*id])),
            }
        }
        let base = adam(config.weight_decay).init();
        decays.into_iter().fold(base, |optimizer, (decay, ids)| {
            optimizer.with_group(ParamGroup::from_ids(ids), adam(decay).build(), None)
        })
    }

    /// Learning rates of one update around the run's.
    pub(crate) fn learning_rates(&self, base: f64) -> ModuleLearningRate {
        let groups = ParamGroupName::ALL.into_iter().filter_map(|group| {
            let multiplier = group.config(&self.config.groups).lr_multiplier;
            let members = self.members.iter().filter(|(_, _, g)| *g == group);
            let ids: Vec<ParamId> = members.map(|(_, id, _)| *id).collect();
            (multiplier != 1.0 && !ids.is_empty()).then_some((ids, base * multiplier))
        });
        groups
            .fold(ModuleLrScheduler::new(base), |rates, (ids, rate)| {
                rates.with_group(ParamGroup::from_ids(ids), rate)
            })
            .step()
    }
}
