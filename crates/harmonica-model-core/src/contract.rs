//! What a model promises about its interface, and whether two models may meet.
//!
//! Stored in every checkpoint and bundle. Invariant: a violated rule is refused with every such field and both values.

use crate::ModelError;
use harmonica_config_schema::{
    CodecSpec, Conditioning, Fingerprint, LengthControl, SpeakerConditioning, SpecialTokens,
};
use serde::{Deserialize, Serialize};

/// How a field of two contracts must relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContractRule {
    /// Both sides have the same value.
    Equal,
    /// The NAR model's limit is at least the AR model's.
    NarCoversAr,
    /// Written down, free to differ.
    Recorded,
}

/// The interface of one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterfaceContract {
    /// Version of this record.
    pub format_version: u32,
    /// What the codes mean.
    pub codec: CodecSpec,
    /// Hash of the codec's weights and settings.
    pub codec_fingerprint: Fingerprint,
    /// Ids above the codes.
    pub special: SpecialTokens,
    /// Hash of the text vocabulary.
    pub vocabulary: Fingerprint,
    /// Ids of the text vocabulary.
    pub vocabulary_size: usize,
    /// Version of the text normalizer.
    pub normalizer: String,
    /// Layout of the AR sequence.
    pub prompt_format: String,
    /// Names of the speakers, in the order of their ids.
    pub speakers: Vec<String>,
    /// Longest prompt and target together, in frames.
    pub max_frames: usize,
    /// Longest text, in symbols.
    pub max_text_symbols: usize,
    /// Width of the hidden states.
    pub width: usize,
    /// How text reaches the frames.
    pub conditioning: Conditioning,
    /// How the voice reaches the model.
    pub speaker: SpeakerConditioning,
    /// How an utterance ends; absent for a NAR model, which does not decide it.
    pub length_control: Option<LengthControl>,
}

impl InterfaceContract {
    /// The one layout of the AR sequence that this version knows.
    pub const PROMPT_FORMAT: &'static str = "prompt|bos|target|eos";

    /// Name, rule and both values of every field.
    fn fields(ar: &Self, nar: &Self) -> Vec<(&'static str, ContractRule, String, String)> {
        use ContractRule::{Equal, NarCoversAr, Recorded};
        macro_rules! field {
            ($name:literal, $rule:expr, $($path:ident).+) => {
                ($name, $rule, format!("{:?}", ar.$($path).+), format!("{:?}", nar.$($path).+))
            };
        }
        vec![
            field!("format_version", Equal, format_version),
            field!("codec.id", Equal, codec.id),
            field!("codec.fingerprint", Equal, codec_fingerprint),
            field!("codec.sample_rate_hz", Equal, codec.sample_rate_hz),
            field!("codec.hop_samples", Equal, codec.hop_samples),
            field!("codec.n_codebooks", Equal, codec.n_codebooks),
            field!("codec.codebook_size", Equal, codec.codebook_size),
            field!("special", Equal, special),
            field!("vocabulary", Equal, vocabulary),
            field!("vocabulary_size", Equal, vocabulary_size),
            field!("normalizer", Equal, normalizer),
            field!("prompt_format", Equal, prompt_format),
            field!("speakers", Equal, speakers),
            field!("max_frames", NarCoversAr, max_frames),
            field!("max_text_symbols", NarCoversAr, max_text_symbols),
            field!("width", Recorded, width),
            field!("conditioning", Recorded, conditioning),
            field!("speaker", Recorded, speaker),
            field!("length_control", Recorded, length_control),
        ]
    }

    /// Whether an AR model with this contract may meet a NAR model with `nar`.
    ///
    /// # Errors
    /// Every violated field with both values.
    pub fn check_nar(&self, nar: &Self) -> Result<(), ModelError> {
        let holds = |rule, left: &str, right: &str| match rule {
            ContractRule::Equal => left == right,
            ContractRule::NarCoversAr => right.parse::<usize>().ok() >= left.parse::<usize>().ok(),
            ContractRule::Recorded => true,
        };
        let violations: Vec<String> = Self::fields(self, nar)
            .into_iter()
            .filter(|(_, rule, left, right)| !holds(*rule, left, right))
            .map(|(name, rule, left, right)| match rule {
                ContractRule::NarCoversAr => {
                    format!("{name} of the NAR model is {right}, at least {left} is needed")
                }
                _ => format!("{name} is {left} on one side and {right} on the other"),
            })
            .collect();
        refuse_if_any("the AR model", "the NAR model", violations)
    }

    /// Whether this model speaks the tokens of a codec.
    ///
    /// # Errors
    /// Every violated field with both values.
    pub fn check_codec(&self, spec: &CodecSpec, fingerprint: &Fingerprint) -> Result<(), ModelError> {
        let mut violations = Vec::new();
        if self.codec != *spec {
            violations.push(format!("the model was trained on {:?}, the codec is {spec:?}", self.codec));
        }
        if self.codec_fingerprint != *fingerprint {
            violations.push(format!(
                "codec.fingerprint is {} in the model's contract and {fingerprint} on disk",
                self.codec_fingerprint
            ));
        }
        refuse_if_any("the model", "the codec", violations)
    }

    /// Whether this model reads the ids of a vocabulary and normalizer.
    ///
    /// # Errors
    /// Every violated field with both values.
    pub fn check_text(&self, vocabulary: &Fingerprint, normalizer: &str) -> Result<(), ModelError> {
        let mut violations = Vec::new();
        if self.vocabulary != *vocabulary {
            violations
                .push(format!("vocabulary is {} in the contract and {vocabulary} on disk", self.vocabulary));
        }
        if self.normalizer != normalizer {
            violations.push(format!(
                "normalizer is {} in the contract, this program has {normalizer}",
                self.normalizer
            ));
        }
        refuse_if_any("the model", "the text vocabulary", violations)
    }
}

fn refuse_if_any(left: &str, right: &str, violations: Vec<String>) -> Result<(), ModelError> {
    if violations.is_empty() {
        return Ok(());
    }
    Err(ModelError::ContractViolated { left: left.into(), right: right.into(), violations })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn contract() -> InterfaceContract {
        let codec = CodecSpec {
            id: "mel_rvq".into(),
            sample_rate_hz: 16_000,
            hop_samples: 640,
            n_codebooks: 4,
            codebook_size: 64,
        };
        InterfaceContract {
            format_version: 1,
            special: SpecialTokens::above(codec.codebook_size),
            codec,
            codec_fingerprint: Fingerprint::of_bytes(b"codec"),
            vocabulary: Fingerprint::of_bytes(b"vocabulary"),
            vocabulary_size: 40,
            normalizer: "english-1".into(),
            prompt_format: InterfaceContract::PROMPT_FORMAT.into(),
            speakers: vec!["a".into()],
            max_frames: 100,
            max_text_symbols: 50,
            width: 32,
            conditioning: Conditioning::Prefix,
            speaker: SpeakerConditioning::Embedding,
            length_control: Some(LengthControl::StopToken),
        }
    }

    fn with(pointer: &str, value: Value) -> InterfaceContract {
        let mut json = serde_json::to_value(contract()).unwrap();
        *json.pointer_mut(pointer).unwrap() = value;
        serde_json::from_value(json).unwrap()
    }

    /// Every field with the place of its value and another value.
    const CHANGES: [(&str, &str, &str); 19] = [
        ("format_version", "/format_version", "2"),
        ("codec.id", "/codec/id", "\"other\""),
        ("codec.fingerprint", "/codec_fingerprint", "\"00\""),
        ("codec.sample_rate_hz", "/codec/sample_rate_hz", "24000"),
        ("codec.hop_samples", "/codec/hop_samples", "320"),
        ("codec.n_codebooks", "/codec/n_codebooks", "8"),
        ("codec.codebook_size", "/codec/codebook_size", "128"),
        ("special", "/special/eos", "9"),
        ("vocabulary", "/vocabulary", "\"00\""),
        ("vocabulary_size", "/vocabulary_size", "41"),
        ("normalizer", "/normalizer", "\"english-2\""),
        ("prompt_format", "/prompt_format", "\"other\""),
        ("speakers", "/speakers", "[\"b\"]"),
        ("max_frames", "/max_frames", "99"),
        ("max_text_symbols", "/max_text_symbols", "49"),
        ("width", "/width", "64"),
        ("conditioning", "/conditioning", "\"cross\""),
        ("speaker", "/speaker", "\"prompt\""),
        ("length_control", "/length_control", "null"),
    ];

    #[test]
    fn each_field_has_one_change_that_its_rule_refuses_and_one_that_it_permits() {
        let base = contract();
        let fields = InterfaceContract::fields(&base, &base);
        let names: Vec<&str> = fields.iter().map(|(name, ..)| *name).collect();
        assert_eq!(names, CHANGES.map(|(name, ..)| name), "every field, in order");
        for ((name, rule, ..), (_, pointer, value)) in fields.into_iter().zip(CHANGES) {
            let other = with(pointer, serde_json::from_str::<Value>(value).unwrap());
            assert_ne!(other, base, "{name}");
            let (one_way, other_way) = (base.check_nar(&other), other.check_nar(&base));
            let refused = |checked: Result<(), ModelError>| {
                let words = checked.unwrap_err().to_string();
                assert!(words.contains(name), "{name}: {words}");
                words
            };
            match rule {
                ContractRule::Equal => {
                    refused(one_way);
                    refused(other_way);
                    other.check_nar(&other).unwrap();
                }
                ContractRule::NarCoversAr => {
                    let words = refused(one_way);
                    assert!(words.contains(value) && words.contains("at least"), "{words}");
                    other_way.unwrap();
                }
                ContractRule::Recorded => {
                    one_way.unwrap();
                    other_way.unwrap();
                }
            }
        }
    }

    #[test]
    fn codec_and_text_are_held_to_the_same_values() {
        let base = contract();
        base.check_codec(&base.codec, &base.codec_fingerprint).unwrap();
        base.check_text(&base.vocabulary, &base.normalizer).unwrap();
        for (name, pointer, value) in CHANGES {
            let other = with(pointer, serde_json::from_str::<Value>(value).unwrap());
            let codec = base.check_codec(&other.codec, &other.codec_fingerprint);
            assert_eq!(codec.is_err(), name.starts_with("codec."), "{name}");
            let text = base.check_text(&other.vocabulary, &other.normalizer);
            assert_eq!(text.is_err(), ["vocabulary", "normalizer"].contains(&name), "{name}");
        }
    }
}
