//! The autoregressive model: writes codebook 1 frame by frame, and the end of speech.
//!
//! Sequence: `[text |] [prompt |] BOS | target`. Text is read in both directions, frames causally; both carry learned
//! absolute and rotary positions that start at 0 (so that repeated words can be told apart).
//! Invariant: no loss on text, prompt or padding.

use crate::diagnosis::{HeadFigures, HeadWatch};
use crate::geometry::{CodeEmbedding, CodeHead, CodecGeometry, look_up};
use crate::input::pad;
use crate::kernels::{AttentionMask, RotaryTable};
use crate::parameters::ParameterFactory;
use crate::transformer::{BlockContext, Dropout, StepCache, Transformer};
use crate::{ArInput, ModelError};
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use harmonica_config_schema::CodecSpec;
use harmonica_config_schema::{
    ArModelConfig, Conditioning, ModelDims, RandomStream, SpeakerConditioning, SpecialTokens,
};
use std::sync::Arc;

impl ArCache {
    /// Positions fed so far, BOS and prompt included.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// Forgets all positions from `position` on.
    pub(crate) fn rewind(&mut self, position: usize) {
        let n = self.position.saturating_sub(position);
        self.position -= n;
        self.caches.iter_mut().for_each(|cache| cache.forget(n));
    }
}

/// Writes codebook 1.
#[derive(Module, Debug)]
pub struct ArModel {
    text_embedding: Param<Tensor<2>>,
    text_positions: Param<Tensor<2>>,
    frame_positions: Param<Tensor<2>>,
    code_embedding: CodeEmbedding,
    speaker_embedding: Option<Param<Tensor<2>>>,
    text_encoder: Option<Transformer>,
    decoder: Transformer,
    head: CodeHead,
    width: usize,
    n_heads: usize,
    max_text_symbols: usize,
    max_frames: usize,
    codebook_size: usize,
    cross: bool,
    dropout: f64,
}

/// One utterance in the middle of being written.
#[derive(Debug, Clone)]
pub struct ArCache {
    caches: Vec<StepCache>,
    speaker: Option<Tensor<3>>,
    code_rows: Tensor<2>,
    n_text: usize,
    /// Frames fed so far, BOS and prompt included.
    position: usize,
}

pub(crate) struct Embedded {
    pub(crate) states: Tensor<3>,
    pub(crate) lengths: Vec<usize>,
    pub(crate) n: usize,
}

pub(crate) fn ints(values: Vec<i32>, shape: [usize; 2], device: &Device) -> Tensor<2, Int> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Padded texts as states `[B, S, D]`: symbols, positions and, where there is one, the speaker.
pub(crate) fn embed_text(
    symbols: Tensor<2>,
    positions: Tensor<2>,
    text: &[Vec<i32>],
    speaker: Option<&Tensor<3>>,
) -> Embedded {
    let padded = pad(text, 0);
    let n = padded.width;
    let ids = ints(padded.values, [text.len(), n], &symbols.device());
    let mut states = look_up(symbols, ids) + positions.narrow(0, 0, n).unsqueeze::<3>();
    if let Some(speaker) = speaker {
        states = states + speaker.clone();
    }
    Embedded { states, lengths: padded.lengths, n }
}

impl ArModel {
    /// A model with fresh weights: a pure function of the configuration and the seed.
    pub fn new(
        config: &ArModelConfig,
        codec: &CodecSpec,
        vocab_size: usize,
        n_speakers: usize,
        geometry: Option<&CodecGeometry>,
        seed: u64,
        device: &Device,
    ) -> Self {
        let make = ParameterFactory::new(RandomStream::new(seed, "ar weights", &[]).next_u64(), device);
        let dims = config.dims();
        let width = dims.width;
        let special = SpecialTokens::above(codec.codebook_size);
        let geometry = geometry.filter(|_| config.codec_geometry);
        let cross = config.conditioning == Conditioning::Cross;
        let deviation = 1.0 / (width as f64).sqrt();
        Self {
            text_embedding: make.normal("text_embedding", [vocab_size, width], deviation),
            text_positions: make.normal("text_positions", [config.max_text_symbols, width], deviation * 0.3),
            frame_positions: make.normal("frame_positions", [config.max_frames + 1, width], deviation * 0.3),
            code_embedding: CodeEmbedding::new(
                &make,
                "code_embedding",
                0,
                special.table_rows(),
                width,
                geometry,
            ),
            speaker_embedding: (config.speaker == SpeakerConditioning::Embedding)
                .then(|| make.normal("speaker_embedding", [n_speakers, width], deviation)),
            text_encoder: cross.then(|| {
                let text = ModelDims { n_layers: dims.n_text_layers, ..dims };
                Transformer::new(&make, "text_encoder", &text, 1, false)
            }),
            decoder: Transformer::new(&make, "decoder", &dims, 1, cross),
            head: CodeHead::new(&make, "head", 0, special.ar_classes(), width, geometry),
            width,
            n_heads: dims.n_heads,
            max_text_symbols: config.max_text_symbols,
            max_frames: config.max_frames,
            codebook_size: codec.codebook_size,
            cross,
            dropout: config.dropout,
        }
    }

    fn special(&self) -> SpecialTokens {
        SpecialTokens::above(self.codebook_size)
    }

    /// Device of the weights.
    pub fn device(&self) -> Device {
        self.text_embedding.val().device()
    }

    /// Longest text, in symbols.
    pub fn max_text_symbols(&self) -> usize {
        self.max_text_symbols
    }

    /// Longest prompt and target together, in frames.
    pub fn max_frames(&self) -> usize {
        self.max_frames
    }

    /// Classes of the head: the codes and the end of speech.
    pub fn n_classes(&self) -> usize {
        self.special().ar_classes()
    }

    /// Id of the end of speech.
    pub fn eos(&self) -> usize {
        self.special().eos
    }

    fn speaker(&self, speakers: &[i32]) -> Option<Tensor<3>> {
        self.speaker_embedding
            .as_ref()
            .map(|table| look_up(table.val(), ints(speakers.to_vec(), [speakers.len(), 1], &self.device())))
    }

    fn embed_text(&self, text: &[Vec<i32>], speaker: Option<&Tensor<3>>) -> Embedded {
        embed_text(self.text_embedding.val(), self.text_positions.val(), text, speaker)
    }

    fn check(&self, text: usize, frames: usize) -> Result<(), ModelError> {
        if text > self.max_text_symbols {
            return Err(ModelError::TooLong { what: "the text", found: text, limit: self.max_text_symbols });
        }
        if frames > self.max_frames {
            return Err(ModelError::TooLong { what: "the audio", found: frames, limit: self.max_frames });
        }
        Ok(())
    }

    /// Scores of every target frame and of the end of speech, teacher-forced.
    ///
    /// `dropout_key` turns dropout on.
    ///
    /// # Shapes
    /// - returns logits `[N, V + 1]` and targets `[N]` over all real target frames of the batch, each utterance's
    ///   frames followed by its EOS
    ///
    /// # Errors
    /// More symbols or frames than the model has positions for.
    pub fn forward(
        &self,
        input: &ArInput,
        dropout_key: Option<u64>,
    ) -> Result<(Tensor<2>, Tensor<1, Int>), ModelError> {
        self.forward_watched(input, dropout_key, None)
    }

    /// What each head of the decoder looks at while the frames of a batch are predicted, teacher-forced.
    ///
    /// # Errors
    /// More symbols or frames than the model has positions for.
    pub fn heads(&self, input: &ArInput) -> Result<Vec<HeadFigures>, ModelError> {
        let watch = HeadWatch::default();
        self.forward_watched(input, None, Some(&watch))?;
        Ok(watch.figures())
    }

    fn forward_watched(
        &self,
        input: &ArInput,
        dropout_key: Option<u64>,
        watch: Option<&HeadWatch>,
    ) -> Result<(Tensor<2>, Tensor<1, Int>), ModelError> {
        let special = self.special();
        let device = self.device();
        let n_items = input.text.len();
        let prompt = |b: usize| input.prompt.as_ref().map_or(&[][..], |p| &p.codes[b][0][..]);
        let sequences: Vec<Vec<i32>> =
            (0..n_items).map(|b| [prompt(b), &[special.bos as i32], &input.codes[b]].concat()).collect();
        let frames = pad(&sequences, special.pad as i32);
        self.check(input.text.iter().map(Vec::len).max().unwrap_or(0), frames.width - 1)?;
        let dropout = dropout_key.map(|key| Dropout { rate: self.dropout, key });
        let speaker = self.speaker(&input.speakers);
        let text = self.embed_text(&input.text, speaker.as_ref());
        let positions = self.frame_positions.val().narrow(0, 0, frames.width).unsqueeze::<3>();
        let ids = ints(frames.values, [n_items, frames.width], &device);
        let mut audio = self.code_embedding.look_up(ids) + positions;
        if let Some(speaker) = &speaker {
            audio = audio + speaker.clone();
        }
        let head_width = self.width / self.n_heads;
        let (states, offset) = if self.cross {
            let encoded = self.encode_text(&text, dropout);
            let mask = Arc::new(AttentionMask {
                n_prefix: 0,
                prefix_lengths: vec![0; n_items],
                rest_lengths: frames.lengths.clone(),
                causal: true,
            });
            let text_mask = Arc::new(AttentionMask::padded(text.n, text.lengths.clone()));
            let table = RotaryTable::new(0..frames.width, self.n_heads, head_width);
            let at = BlockContext {
                mask: &mask,
                table: &table,
                text: Some((&encoded, &text_mask)),
                stage: 0,
                dropout,
                watch,
            };
            (self.decoder.forward(audio, &at), 0)
        } else {
            let mask = Arc::new(AttentionMask {
                n_prefix: text.n,
                prefix_lengths: text.lengths.clone(),
                rest_lengths: frames.lengths.clone(),
                causal: true,
            });
            let table = RotaryTable::new((0..text.n).chain(0..frames.width), self.n_heads, head_width);
            let at = BlockContext { mask: &mask, table: &table, text: None, stage: 0, dropout, watch };
            (self.decoder.forward(Tensor::cat(vec![text.states, audio], 1), &at), text.n)
        };
        let row = states.dims()[1];
        let (mut picked, mut targets) = (Vec::new(), Vec::new());
        for b in 0..n_items {
            let first = b * row + offset + prompt(b).len();
            let n = input.targets[b].len();
            picked.extend((first..=first + n).map(|i| i as i32));
            targets.extend(input.targets[b].iter().copied().chain([special.eos as i32]));
        }
        let n = picked.len();
        let picked = Tensor::<1, Int>::from_data(TensorData::new(picked, [n]), &device);
        let states = states.reshape([n_items * row, self.width]).select(0, picked);
        let targets = Tensor::<1, Int>::from_data(TensorData::new(targets, [n]), &device);
        Ok((self.head.score(states), targets))
    }

    fn encode_text(&self, text: &Embedded, dropout: Option<Dropout>) -> Tensor<3> {
        let Some(encoder) = &self.text_encoder else { return text.states.clone() };
        let mask = Arc::new(AttentionMask::padded(text.n, text.lengths.clone()));
        let table = RotaryTable::new(0..text.n, self.n_heads, self.width / self.n_heads);
        let dropout = dropout.map(|d| Dropout { key: d.key ^ 0x7e87, ..d });
        encoder.forward(
            text.states.clone(),
            &BlockContext { mask: &mask, table: &table, text: None, stage: 0, dropout, watch: None },
        )
    }

    /// Reads the text (and the prompt's codebook 1) of one utterance; then [`Self::step`] writes frames.
    /// The first step's code is BOS.
    ///
    /// # Errors
    /// More symbols or frames than the model has positions for.
    pub fn start(&self, text: &[i32], speaker: i32, prompt: &[i32]) -> Result<ArCache, ModelError> {
        if self.speaker_embedding.is_none() && prompt.is_empty() {
            return Err(ModelError::MissingPrompt);
        }
        self.check(text.len(), prompt.len())?;
        let speaker = self.speaker(&[speaker]);
        let embedded = self.embed_text(&[text.to_vec()], speaker.as_ref());
        let capacity = embedded.n + self.max_frames + 1;
        let caches = if self.cross {
            let encoded = self.encode_text(&embedded, None);
            self.decoder.empty_caches(Some(&encoded), capacity, self.width, &self.device())
        } else {
            let mask = Arc::new(AttentionMask::padded(embedded.n, embedded.lengths.clone()));
            let table = RotaryTable::new(0..embedded.n, self.n_heads, self.width / self.n_heads);
            let at =
                BlockContext { mask: &mask, table: &table, text: None, stage: 0, dropout: None, watch: None };
            self.decoder.prefill(embedded.states, &at, capacity)
        };
        let code_rows = self.code_embedding.rows();
        let mut cache = ArCache { caches, speaker, code_rows, n_text: text.len(), position: 0 };
        for code in prompt {
            self.advance(&mut cache, *code, None);
        }
        Ok(cache)
    }

    fn advance(&self, cache: &mut ArCache, code: i32, weights: Option<&mut Vec<Tensor<4>>>) -> Tensor<3> {
        let mut x = look_up(cache.code_rows.clone(), ints(vec![code], [1, 1], &self.device()))
            + self.frame_positions.val().narrow(0, cache.position, 1).unsqueeze::<3>();
        if let Some(speaker) = &cache.speaker {
            x = x + speaker.clone();
        }
        let table = RotaryTable::new([cache.position], self.n_heads, self.width / self.n_heads);
        cache.position += 1;
        self.decoder.step(x, &table, &mut cache.caches, weights)
    }

    /// Feeds one code and returns the scores `[V + 1]` of what follows it.
    pub fn step(&self, cache: &mut ArCache, code: usize) -> Vec<f32> {
        let state = self.advance(cache, code as i32, None);
        let scores = self.head.score(state.reshape([1, self.width])).into_data();
        scores.iter::<f32>().collect()
    }

    /// As [`Self::step`], and how much each head of each block looked at each symbol of the text.
    ///
    /// # Shapes
    /// - returns scores `[V + 1]` and weights `[L * H * S]`, head by head; those of one head add up to 1, less what it looked at
    ///   beside the text
    pub fn step_attending(&self, cache: &mut ArCache, code: usize) -> (Vec<f32>, Vec<f32>) {
        let mut weights = Vec::new();
        let state = self.advance(cache, code as i32, Some(&mut weights));
        let weights = weights.into_iter().map(|w| w.narrow(3, 0, cache.n_text).reshape([-1]));
        let scores = self.head.score(state.reshape([1, self.width])).reshape([-1]);
        // One transfer from the device, not two.
        let both: Vec<f32> = Tensor::<1>::cat([scores].into_iter().chain(weights).collect(), 0)
            .into_data()
            .iter::<f32>()
            .collect();
        let (scores, weights) = both.split_at(self.n_classes());
        (scores.to_vec(), weights.to_vec())
    }

    /// Heads that may look at the text: those of every block.
    pub fn n_text_heads(&self) -> usize {
        self.n_heads * self.decoder.n_blocks()
    }

    /// Id that the first step takes.
    pub fn bos(&self) -> usize {
        self.special().bos
    }
}
