//! How tokens are drawn from the models.

use crate::relations::{Checked, Relations};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// Frames looked back on by repetition-aware sampling (VALL-E 2, Chen et al. 2024); 0 turns it off. Default 10.
    #[schemars(extend("x-unit" = "frames"))]
    pub repetition_window: usize,
    /// Share of the window one code may fill before a draw falls back to the unfiltered distribution. Default 0.3.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub repetition_share: f64,
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
            repetition_window: 10,
            repetition_share: 0.3,
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
}

/// How codebooks 2..Q are filled.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NarDecodeConfig {
    /// What the codec gets to hear. Default `expected`.
    pub kind: NarDecodeKind,
}

/// Decode settings; a bundle carries the ones chosen on its validation set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeConfig {
    /// Codebook 1.
    pub ar: ArDecodeConfig,
    /// Codebooks 2..Q.
    pub nar: NarDecodeConfig,
}

impl DecodeConfig {
    /// Checks every value; the list of problems is empty if all are in range.
    pub fn problems(&self) -> Vec<crate::Problem> {
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
    }
}
