//! What the models take: host arrays, made by whoever has the data.

/// Reference frames of another utterance of the same speaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Codes of each item, codebook by codebook `[Q][P]`.
    pub codes: Vec<Vec<Vec<i32>>>,
}

/// Input of the AR model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArInput {
    /// Symbol ids of each item, unpadded.
    pub text: Vec<Vec<i32>>,
    /// Codes of codebook 1 of each item, unpadded; what the model reads (noise is already in it).
    pub codes: Vec<Vec<i32>>,
    /// Codes of codebook 1 of each item, unpadded; what the model should write.
    pub targets: Vec<Vec<i32>>,
    /// Speaker of each item (`speaker = "embedding"`).
    pub speakers: Vec<i32>,
    /// Reference of each item (`speaker = "prompt"`).
    pub prompt: Option<Prompt>,
}

/// Input of the NAR model for one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NarInput {
    /// Symbol ids of each item, unpadded.
    pub text: Vec<Vec<i32>>,
    /// Codes of each item `[Q][T]`; codebooks from the stage on are ignored as input.
    pub codes: Vec<Vec<Vec<i32>>>,
    /// Speaker of each item (`speaker = "embedding"`).
    pub speakers: Vec<i32>,
    /// Reference of each item (`speaker = "prompt"`).
    pub prompt: Option<Prompt>,
}

/// Rows padded to one length.
pub(crate) struct Padded {
    pub(crate) values: Vec<i32>,
    pub(crate) width: usize,
    pub(crate) lengths: Vec<usize>,
}

pub(crate) fn pad(rows: &[Vec<i32>], value: i32) -> Padded {
    let lengths: Vec<usize> = rows.iter().map(Vec::len).collect();
    let width = lengths.iter().copied().max().unwrap_or(0);
    let mut values = vec![value; rows.len() * width];
    for (to, from) in values.chunks_exact_mut(width.max(1)).zip(rows) {
        to[..from.len()].copy_from_slice(from);
    }
    Padded { values, width, lengths }
}
