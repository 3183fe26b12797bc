//! The normalizer, the tokenizer and stored vocabularies.
//!
//! What is normalized stays as it is when it is normalized again and holds no digit, no capital and no doubled space; ids spell
//! it. Input: a text, or a text and a vocabulary joined by the separator.
#![no_main]

use harmonica_fuzz::files;
use harmonica_text::{TextTokenizer, Vocab, normalize};
use libfuzzer_sys::fuzz_target;

fn spells(vocab: &Vocab, text: &str) {
    let Ok(tokens) = TextTokenizer::new(vocab.clone()).tokenize(text) else { return };
    let spelled: String = tokens.ids.iter().map(|id| vocab.characters[id - Vocab::FIRST_CHARACTER]).collect();
    assert_eq!(spelled, tokens.normalized);
    assert!(!tokens.ids.is_empty());
}

fuzz_target!(|data: &[u8]| {
    let [text, vocab] = files::<2>(data);
    let text = String::from_utf8_lossy(text);
    let once = normalize(&text);
    assert_eq!(normalize(&once), once, "normalizing twice: {text:?}");
    assert!(
        !once.chars().any(|c| c.is_ascii_digit() || c.is_ascii_uppercase() || c.is_control()),
        "{once:?}"
    );
    assert!(!once.contains("  ") && once.trim() == once, "{once:?}");
    spells(&Vocab::english(), &text);
    if let Ok(vocab) = Vocab::from_json(&String::from_utf8_lossy(vocab)) {
        for (i, c) in vocab.characters.iter().enumerate() {
            assert_eq!(vocab.id(*c), Some(i + Vocab::FIRST_CHARACTER));
        }
        let json = serde_json::to_string(&vocab).expect("a vocabulary is written");
        assert_eq!(Vocab::from_json(&json).expect("a vocabulary is read back"), vocab);
        spells(&vocab, &text);
    }
});
