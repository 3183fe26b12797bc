//! Which parameters decay. Matrices do; biases, norms, embeddings and positions do not.
//! Invariant: the two groups partition the parameters.

use burn::module::ParamGroup;
use burn::optim::{AdamWConfig, ModuleOptimizer};
use harmonica_config_schema::OptimizerConfig;

/// Last path segments of parameters without weight decay.
const WITHOUT_DECAY: [&str; 10] = [
    "bias",
    "gamma",
    "beta",
    "table",
    "text_embedding",
    "speaker_embedding",
    "text_positions",
    "frame_positions",
    "prompt_mark",
    "log_scale",
];

/// The optimizer's parameter groups.
#[derive(Debug, Clone)]
pub struct ParamGroups {
    without_decay: ParamGroup,
}

impl ParamGroups {
    /// The standard groups.
    ///
    /// # Panics
    /// Never: the pattern is a constant, which a test compiles.
    pub fn standard() -> Self {
        let pattern = format!(r"(^|\.)({})$", WITHOUT_DECAY.join("|"));
        match ParamGroup::from_regex(&pattern) {
            Ok(without_decay) => Self { without_decay },
            Err(error) => unreachable!("the constant pattern {pattern} compiles: {error:?}"),
        }
    }

    /// Whether weight decay leaves the parameter of this path alone.
    pub fn is_without_decay(path: &str) -> bool {
        path.rsplit('.').next().is_some_and(|last| WITHOUT_DECAY.contains(&last))
    }

    /// AdamW over the groups.
    pub(crate) fn optimizer(&self, config: &OptimizerConfig) -> ModuleOptimizer {
        let adam = |weight_decay: f64| {
            AdamWConfig::new()
                .with_beta_1(config.beta_1 as f32)
                .with_beta_2(config.beta_2 as f32)
                .with_epsilon(config.epsilon as f32)
                .with_weight_decay(weight_decay as f32)
        };
        adam(config.weight_decay).init().with_group(self.without_decay.clone(), adam(0.0).build(), None)
    }
}
