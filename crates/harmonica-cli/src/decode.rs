//! Decode settings on the command line: what is named replaces the bundle's, what is not stays.

use crate::failure::Failure;
use clap::{Args, ValueEnum};
use harmonica_inference::{CodebookIndex, DecodeConfig, NarDecodeKind, PerCodebook};

/// What the codec gets to hear.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Nar {
    /// Codebook 1 alone
    None,
    /// The likeliest code of every codebook
    Argmax,
    /// The expected centroid of every codebook
    Expected,
    /// A code of every codebook, drawn
    Sampled,
}

/// How tokens are drawn.
#[derive(Debug, Args)]
#[command(next_help_heading = "How tokens are drawn")]
pub(crate) struct DecodeArguments {
    /// Softmax temperature, for all codebooks (0.9) or by codebook (1=0.9,2..=0.6); 0 is greedy
    #[arg(long, value_name = "VALUES")]
    temperature: Option<String>,
    /// Keep this many likeliest codes, for all codebooks or by codebook; 0 keeps all
    #[arg(long, value_name = "VALUES")]
    top_k: Option<String>,
    /// Keep the smallest set of codes with this total probability, for all codebooks or by codebook
    #[arg(long, value_name = "VALUES")]
    top_p: Option<String>,
    /// Multiply the log-probability of recent codes of codebook 1 by this; 1 leaves them alone
    #[arg(long, value_name = "PENALTY")]
    repetition: Option<f64>,
    /// How often a loop is taken back and drawn again before the utterance is cut; 0 turns the guard off
    #[arg(long, value_name = "N")]
    loop_retries: Option<usize>,
    /// Draw this many utterances and keep the best; needs a temperature above 0
    #[arg(long, value_name = "N")]
    best_of: Option<usize>,
    /// What the codec gets to hear
    #[arg(long)]
    nar: Option<Nar>,
    /// Passes over codebooks 2..Q; more than one needs a model that was trained with masked codes
    #[arg(long, value_name = "N")]
    nar_refine_steps: Option<usize>,
}

impl DecodeArguments {
    /// The bundle's settings with these in their place.
    pub(crate) fn over(&self, base: &DecodeConfig) -> Result<DecodeConfig, Failure> {
        let mut decode = base.clone();
        let mut problems = Vec::new();
        let mut by_codebook = |flag: &str, text: &Option<String>, first: &mut f64, rest: &mut PerCodebook| {
            let Some(text) = text else { return };
            match PerCodebook::parse(text) {
                Err(reason) => problems.push(format!("--{flag}: {reason}")),
                Ok(values) => {
                    *first = values.at(CodebookIndex::FIRST).unwrap_or(*first);
                    if values.reaches(CodebookIndex::from_zero_based(1)) {
                        *rest = values;
                    }
                }
            }
        };
        let (ar, nar) = (&mut decode.ar, &mut decode.nar);
        let mut top_k = ar.top_k as f64;
        by_codebook("temperature", &self.temperature, &mut ar.temperature, &mut nar.temperature);
        by_codebook("top-k", &self.top_k, &mut top_k, &mut nar.top_k);
        by_codebook("top-p", &self.top_p, &mut ar.top_p, &mut nar.top_p);
        if top_k.fract() != 0.0 || top_k < 0.0 {
            problems
                .push(format!("--top-k: {top_k} is no number of codes; write a whole number, 0 keeps all"));
        }
        ar.top_k = top_k as usize;
        ar.repetition_penalty = self.repetition.unwrap_or(ar.repetition_penalty);
        ar.loop_retries = self.loop_retries.unwrap_or(ar.loop_retries);
        nar.refine_steps = self.nar_refine_steps.unwrap_or(nar.refine_steps);
        // Greedy utterances are all the same: who asks for nothing but greedy asks for one.
        let asked = if ar.temperature == 0.0 { 1 } else { decode.best_of };
        decode.best_of = self.best_of.unwrap_or(asked);
        if let Some(kind) = self.nar {
            decode.nar.kind = match kind {
                Nar::None => NarDecodeKind::None,
                Nar::Argmax => NarDecodeKind::Argmax,
                Nar::Expected => NarDecodeKind::Expected,
                Nar::Sampled => NarDecodeKind::Sampled,
            };
        }
        problems.extend(decode.problems().iter().map(|problem| problem.message()));
        if problems.is_empty() { Ok(decode) } else { Err(Failure::error(problems.join("; "))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        decode: DecodeArguments,
    }

    #[test]
    fn greedy_asks_for_one_utterance_of_a_bundle_that_keeps_the_best_of_several() {
        let mut bundle = DecodeConfig { best_of: 5, ..DecodeConfig::default() };
        bundle.ar.temperature = 0.6;
        let best_of = |words: &[&str]| {
            let line = Line::try_parse_from([&["line"], words].concat()).unwrap();
            line.decode.over(&bundle).map(|decode| decode.best_of).map_err(|failure| failure.message)
        };
        assert_eq!(best_of(&[]), Ok(5));
        assert_eq!(best_of(&["--temperature", "0"]), Ok(1));
        assert_eq!(best_of(&["--best-of", "3"]), Ok(3));
        let refused = best_of(&["--temperature", "0", "--best-of", "3"]).unwrap_err();
        assert!(refused.contains("best_of: 3 does not fit"), "{refused}");
    }
}
