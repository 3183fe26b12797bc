//! How tokens are drawn from the models.

use crate::error::{Place, Problem, ProblemKind};
use crate::relations::{Checked, Relations};
use crate::{ConfigError, ConfigLoader, ExperimentConfig, PerCodebook};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// How codebook 1 is drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ArDecodeConfig {
    /// Softmax temperature; 0 is greedy, exactly. Default 0.
    #[schemars(range(min = 0.0, max = 5.0))]
    pub temperature: f64,
    /// Keep this many likeliest codes; 0 keeps all. Default 0.
    #[schemars(extend("x-unit" = "codes"))]
    pub top_k: usize,
    /// Keep the smallest set of codes with this total probability, 0 to 1; 1 keeps all. Default 1.
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    pub top_p: f64,
    /// What the log-probability of a code of the last `repetition_window` frames is multiplied by; 1 leaves it alone. Default 1.
    #[schemars(range(min = 1.0, max = 100.0))]
    pub repetition_penalty: f64,
    /// Frames looked back on by the penalty and by repetition-aware sampling (VALL-E 2, Chen et al. 2024); 0 turns both off.
    /// Default 10.
    #[schemars(extend("x-unit" = "frames"))]
    pub repetition_window: usize,
    /// Share of the window one code may fill before a draw falls back to the unfiltered distribution. Default 0.3.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub repetition_share: f64,
    /// How often a loop, a pattern of at most 24 codes that stands three times in a row, is taken back and drawn again, warmer each
    /// time, before the utterance is cut; 0 turns the guard off. Default 3.
    #[schemars(range(min = 0, max = 16), extend("x-unit" = "draws"))]
    pub loop_retries: usize,
    /// Fewest frames that count as a loop, whatever its pattern. Default 10.
    #[schemars(range(min = 3, max = 1000), extend("x-unit" = "frames"))]
    pub loop_frames: usize,
    /// Longest that the reading of the text may stand at one place, in characters at `max_frames_per_char` each, before it is
    /// drawn again as a loop is; 0 turns this off. Default 10.
    #[schemars(range(min = 0.0, max = 1000.0), extend("x-unit" = "characters"))]
    pub stall_chars: f64,
    /// Fewest frames a character of text. Default 0.4.
    #[schemars(range(min = 0.0, max = 100.0), extend("x-unit" = "frames a character"))]
    pub min_frames_per_char: f64,
    /// Most frames a character of text. Default 8.
    #[schemars(extend("exclusiveMinimum" = 0.0, "x-unit" = "frames a character"))]
    pub max_frames_per_char: f64,
}

impl Default for ArDecodeConfig {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            repetition_penalty: 1.0,
            repetition_window: 10,
            repetition_share: 0.3,
            loop_retries: 3,
            loop_frames: 10,
            stall_chars: 10.0,
            min_frames_per_char: 0.4,
            max_frames_per_char: 8.0,
        }
    }
}

/// What the NAR model hands to the codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NarDecodeKind {
    /// Codebook 1 alone; the NAR model does not run.
    None,
    /// The likeliest code of every codebook.
    Argmax,
    /// The expected centroid of every codebook; the next stage sees the likeliest code.
    #[default]
    Expected,
    /// A code of every codebook, drawn.
    Sampled,
}

/// How codebooks 2..Q are filled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NarDecodeConfig {
    /// What the codec gets to hear. Default `expected`.
    pub kind: NarDecodeKind,
    /// Softmax temperature by codebook, such as `2=0.8,3..=0.5`; 0 is the likeliest code, exactly. Default `1`.
    #[schemars(with = "String", extend("x-per-codebook" = json!({ "minimum": 0.0, "maximum": 5.0 })))]
    pub temperature: PerCodebook,
    /// Keep this many likeliest codes, by codebook; 0 keeps all. Default `0`.
    #[schemars(with = "String", extend("x-per-codebook" = json!({ "type": "integer", "minimum": 0, "x-unit": "codes" })))]
    pub top_k: PerCodebook,
    /// Keep the smallest set of codes with this total probability, by codebook. Default `1`.
    #[schemars(with = "String", extend("x-per-codebook" = json!({ "exclusiveMinimum": 0.0, "maximum": 1.0 })))]
    pub top_p: PerCodebook,
    /// Passes over the codebooks; more than one needs a model that was trained with masked codes, and is refused with every other. Default 1.
    #[schemars(range(min = 1, max = 64), extend("x-unit" = "passes"))]
    pub refine_steps: usize,
}

impl Default for NarDecodeConfig {
    fn default() -> Self {
        Self {
            kind: NarDecodeKind::default(),
            temperature: PerCodebook::uniform(1.0),
            top_k: PerCodebook::uniform(0.0),
            top_p: PerCodebook::uniform(1.0),
            refine_steps: 1,
        }
    }
}

/// Decode settings; a bundle carries the ones chosen on its validation set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeConfig {
    /// Utterances that are drawn, of which the best is kept; more than one needs a temperature above 0. Default 1.
    #[schemars(range(min = 1, max = 64), extend("x-unit" = "utterances"))]
    pub best_of: usize,
    /// Codebook 1.
    pub ar: ArDecodeConfig,
    /// Codebooks 2..Q.
    pub nar: NarDecodeConfig,
}

impl Default for DecodeConfig {
    fn default() -> Self {
        Self { best_of: 1, ar: ArDecodeConfig::default(), nar: NarDecodeConfig::default() }
    }
}

impl DecodeConfig {
    /// These settings with `decode.KEY=VALUE` arguments in their place.
    ///
    /// # Errors
    /// Every argument that is malformed, out of range, or about anything but decoding.
    pub fn overridden(&self, arguments: &[String]) -> Result<Self, ConfigError> {
        let (own, foreign): (Vec<&String>, Vec<&String>) =
            arguments.iter().partition(|argument| argument.trim_start().starts_with("decode."));
        let refused = |argument: &&String| Problem {
            place: Place::Override { argument: (*argument).clone() },
            key: String::new(),
            kind: ProblemKind::Override { reason: "only keys under `decode.` can be set here".into() },
        };
        ConfigError::unless_empty(foreign.iter().map(refused).collect())?;
        let whole = ExperimentConfig { decode: self.clone(), ..ExperimentConfig::default() };
        let unspelled = |error: toml::ser::Error| ConfigError {
            problems: vec![Problem {
                place: Place::Program,
                key: "decode".into(),
                kind: ProblemKind::Refused { reason: error.to_string() },
            }],
        };
        let text = toml::to_string(&whole).map_err(unspelled)?;
        let loader = ConfigLoader::new().bytes("the settings before", text);
        Ok(loader.overrides(own.into_iter().cloned()).load()?.decode)
    }

    /// Checks every value; the list of problems is empty if all are in range.
    pub fn problems(&self) -> Vec<Problem> {
        crate::loader::problems_of(self, "decode")
    }
}

impl Checked for DecodeConfig {
    fn relations(&self, at: &str, relations: &mut Relations) {
        relations.require(
            self.ar.max_frames_per_char > self.ar.min_frames_per_char,
            &format!("{at}.ar"),
            "max_frames_per_char",
            self.ar.max_frames_per_char,
            format!("above {} frames a character (min_frames_per_char)", self.ar.min_frames_per_char),
            &["min_frames_per_char"],
        );
        relations.require(
            self.best_of == 1 || self.ar.temperature > 0.0,
            at,
            "best_of",
            self.best_of,
            "1, or set ar.temperature above 0: greedy utterances are all the same".into(),
            &["ar.temperature"],
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_replace_single_settings_and_nothing_but_decoding() {
        let base = DecodeConfig { best_of: 3, ..DecodeConfig::default() };
        let base = DecodeConfig { ar: ArDecodeConfig { temperature: 0.5, ..base.ar.clone() }, ..base };
        let set = |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
            base.overridden(&arguments).map_err(|error| error.to_string())
        };
        assert_eq!(set(&[]).unwrap(), base);
        let changed = set(&["decode.ar.temperature=1", "decode.nar.top_p=\"2..=0.9\""]).unwrap();
        assert_eq!((changed.best_of, changed.ar.temperature), (3, 1.0));
        assert_eq!(changed.nar.top_p.to_string(), "2..=0.9");
        for (arguments, word) in [
            (["seed=3"], "only keys under `decode.`"),
            (["decode.ar.temperature=9"], "from 0 to 5"),
            (["decode.ar.temperature=0"], "best_of"),
            (["decode.ar.temprature=1"], "did you mean"),
        ] {
            let error = set(&arguments).unwrap_err();
            assert!(error.contains(word), "{arguments:?}: {error}");
        }
    }
}
