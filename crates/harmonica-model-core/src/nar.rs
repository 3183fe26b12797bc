//! The non-autoregressive model: fills codebooks 2..Q, a codebook a pass.
//!
//! Stage k sees codebooks below k of every target frame, all codebooks of the speaker's prompt as an in-context prefix, and
//! the text; norms are modulated by the stage (AdaLN). Invariant: no stage sees its own codebook or one above it.

use crate::ar::{Embedded, embed_text, ints};
use crate::diagnosis::{HeadFigures, HeadWatch};
use crate::geometry::{CodeEmbedding, CodeHead, CodecGeometry, look_up};
use crate::input::pad;
use crate::kernels::{AttentionMask, RotaryTable, gelu};
use crate::latent_space::{LatentEmbedding, LatentHead};
use crate::parameters::ParameterFactory;
use crate::transformer::{BlockContext, Dropout, Linear, Transformer};
use crate::{ModelError, NarInput, Prompt};
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use harmonica_config_schema::{
    CodebookIndex, CodecSpec, Conditioning, ModelDims, NarModelConfig, RandomStream, SpeakerConditioning,
    SpeakerPooling, SpecialTokens,
};
use std::sync::Arc;

/// Turns reference frames into a sequence of speaker tokens.
#[derive(Module, Debug)]
pub struct SpeakerEncoder {
    project: Linear,
    score: Option<Linear>,
    mean: bool,
}

impl SpeakerEncoder {
    fn new(make: &ParameterFactory, width: usize, pooling: SpeakerPooling) -> Self {
        let deviation = 1.0 / (width as f64).sqrt();
        Self {
            project: Linear::new(make, "speaker_encoder.project", width, width, deviation),
            score: (pooling == SpeakerPooling::Attention)
                .then(|| Linear::new(make, "speaker_encoder.score", width, 1, deviation)),
            mean: pooling == SpeakerPooling::Mean,
        }
    }

    /// Frames `[B, P, D]` to speaker tokens `[B, P or 1, D]` and their real number.
    fn forward(&self, frames: Tensor<3>, lengths: &[usize]) -> (Tensor<3>, Vec<usize>) {
        let tokens = gelu(self.project.forward(frames));
        let [n_items, n, _] = tokens.dims();
        if !self.mean && self.score.is_none() {
            return (tokens, lengths.to_vec());
        }
        let real: Vec<f32> =
            lengths.iter().flat_map(|l| (0..n).map(move |i| f32::from(u8::from(i < *l)))).collect();
        let real = Tensor::<3>::from_data(TensorData::new(real, [n_items, n, 1]), &tokens.device());
        let weights = match &self.score {
            Some(score) => {
                let scores = score.forward(tokens.clone());
                burn::tensor::activation::softmax(scores + (real.clone() - 1.0) * 1e9, 1)
            }
            None => real.clone() / real.sum_dim(1),
        };
        ((tokens * weights).sum_dim(1), vec![1; n_items])
    }
}

/// Fills codebooks 2..Q.
#[derive(Module, Debug)]
pub struct NarModel {
    text_embedding: Param<Tensor<2>>,
    text_positions: Param<Tensor<2>>,
    frame_positions: Param<Tensor<2>>,
    code_embeddings: Vec<CodeEmbedding>,
    latent_embedding: Option<LatentEmbedding>,
    speaker_embedding: Option<Param<Tensor<2>>>,
    speaker_encoder: Option<SpeakerEncoder>,
    prompt_mark: Param<Tensor<2>>,
    text_encoder: Option<Transformer>,
    decoder: Transformer,
    heads: Vec<CodeHead>,
    latent_head: Option<LatentHead>,
    width: usize,
    n_heads: usize,
    n_codebooks: usize,
    max_text_symbols: usize,
    max_frames: usize,
    codebook_size: usize,
    dropout: f64,
}

impl NarModel {
    /// A model with fresh weights: a pure function of the configuration and the seed.
    pub fn new(
        config: &NarModelConfig,
        codec: &CodecSpec,
        vocab_size: usize,
        n_speakers: usize,
        geometry: Option<&CodecGeometry>,
        seed: u64,
        device: &Device,
    ) -> Self {
        let make = ParameterFactory::new(RandomStream::new(seed, "nar weights", &[]).next_u64(), device);
        let dims = config.dims();
        let width = dims.width;
        let rows = SpecialTokens::above(codec.codebook_size).table_rows();
        let geometry = geometry.filter(|_| config.codec_geometry);
        let cross = config.conditioning == Conditioning::Cross;
        let n_stages = codec.n_codebooks.max(2) - 1;
        // The last codebook is read in a prompt only; with the codec's geometry, latents stand for the upper ones.
        let n_read = if config.speaker == SpeakerConditioning::Prompt { codec.n_codebooks } else { n_stages };
        let n_tables = if geometry.is_some() { 1 } else { n_read };
        let deviation = 1.0 / (width as f64).sqrt();
        let embedding =
            |q: usize| CodeEmbedding::new(&make, &format!("code_embeddings.{q}"), q, rows, width, None);
        let head =
            |q: usize| CodeHead::new(&make, &format!("heads.{q}"), q, codec.codebook_size, width, None);
        Self {
            text_embedding: make.normal("text_embedding", [vocab_size, width], deviation),
            text_positions: make.normal("text_positions", [config.max_text_symbols, width], deviation * 0.3),
            frame_positions: make.normal("frame_positions", [config.max_frames + 1, width], deviation * 0.3),
            code_embeddings: (0..n_tables).map(embedding).collect(),
            latent_embedding: geometry.map(|g| LatentEmbedding::new(&make, n_read, rows, width, g)),
            speaker_embedding: (config.speaker == SpeakerConditioning::Embedding)
                .then(|| make.normal("speaker_embedding", [n_speakers, width], deviation)),
            speaker_encoder: (config.speaker == SpeakerConditioning::Prompt)
                .then(|| SpeakerEncoder::new(&make, width, config.speaker_pooling)),
            prompt_mark: make.normal("prompt_mark", [1, width], deviation),
            text_encoder: cross.then(|| {
                let text = ModelDims { n_layers: dims.n_text_layers, ..dims };
                Transformer::new(&make, "text_encoder", &text, 1, false)
            }),
            decoder: Transformer::new(&make, "decoder", &dims, n_stages, cross),
            heads: (1..codec.n_codebooks).map(head).collect(),
            latent_head: geometry.map(|g| LatentHead::new(&make, n_stages, codec.codebook_size, width, g)),
            width,
            n_heads: dims.n_heads,
            n_codebooks: codec.n_codebooks,
            max_text_symbols: config.max_text_symbols,
            max_frames: config.max_frames,
            codebook_size: codec.codebook_size,
            dropout: config.dropout,
        }
    }

    /// Device of the weights.
    pub fn device(&self) -> Device {
        self.text_embedding.val().device()
    }

    /// Codebooks of a frame, the first included.
    pub fn n_codebooks(&self) -> usize {
        self.n_codebooks
    }

    /// Longest prompt and target together, in frames.
    pub fn max_frames(&self) -> usize {
        self.max_frames
    }

    /// Longest text, in symbols.
    pub fn max_text_symbols(&self) -> usize {
        self.max_text_symbols
    }

    /// Scores of every real target frame for the codebook of one stage, utterance by utterance.
    ///
    /// `dropout_key` turns dropout on.
    ///
    /// # Shapes
    /// - returns logits `[N, V]` over all real target frames of the batch
    ///
    /// # Errors
    /// More symbols or frames than the model has positions for.
    pub fn forward(
        &self,
        input: &NarInput,
        stage: CodebookIndex,
        dropout_key: Option<u64>,
    ) -> Result<Tensor<2>, ModelError> {
        self.forward_watched(input, stage, dropout_key, None)
    }

    /// What each head of the decoder looks at while the frames of a batch are predicted for one stage.
    ///
    /// # Errors
    /// More symbols or frames than the model has positions for.
    pub fn heads(&self, input: &NarInput, stage: CodebookIndex) -> Result<Vec<HeadFigures>, ModelError> {
        let watch = HeadWatch::default();
        self.forward_watched(input, stage, None, Some(&watch))?;
        Ok(watch.figures())
    }

    fn forward_watched(
        &self,
        input: &NarInput,
        stage: CodebookIndex,
        dropout_key: Option<u64>,
        watch: Option<&HeadWatch>,
    ) -> Result<Tensor<2>, ModelError> {
        let device = self.device();
        let n_items = input.text.len();
        let k = stage.zero_based();
        let text_limit = input.text.iter().map(Vec::len).max().unwrap_or(0);
        if text_limit > self.max_text_symbols {
            return Err(ModelError::TooLong {
                what: "the text",
                found: text_limit,
                limit: self.max_text_symbols,
            });
        }
        let dropout = dropout_key.map(|key| Dropout { rate: self.dropout, key });
        let speaker = self
            .speaker_embedding
            .as_ref()
            .map(|table| look_up(table.val(), ints(input.speakers.clone(), [n_items, 1], &device)));
        let (target, lengths) = self.embed_frames(&input.codes, k)?;
        let n_frames = target.dims()[1];
        let mut audio = target;
        if let Some(speaker) = &speaker {
            audio = audio + speaker.clone();
        }
        // Prompt frames and target frames of one item stand one after the other; each part is padded on its own.
        let prompt = match (&self.speaker_encoder, &input.prompt) {
            (Some(encoder), Some(prompt)) => Some(self.embed_prompt(encoder, prompt)?),
            (Some(_), None) => return Err(ModelError::MissingPrompt),
            _ => None,
        };
        let text = self.embed_text(&input.text, speaker.as_ref());
        let head_width = self.width / self.n_heads;
        let encoded = self.text_encoder.as_ref().map(|encoder| {
            let mask = Arc::new(AttentionMask::padded(text.n, text.lengths.clone()));
            let table = RotaryTable::new(0..text.n, self.n_heads, head_width);
            let dropout = dropout.map(|d| Dropout { key: d.key ^ 0x7e87, ..d });
            let at = BlockContext { mask: &mask, table: &table, text: None, stage: 0, dropout, watch: None };
            encoder.forward(text.states.clone(), &at)
        });
        let text_mask = Arc::new(AttentionMask::padded(text.n, text.lengths.clone()));
        let mut parts = Vec::new();
        let mut positions: Vec<usize> = Vec::new();
        let mut prefix_lengths = vec![0; n_items];
        if encoded.is_none() {
            positions.extend(0..text.n);
            prefix_lengths = text.lengths.clone();
            parts.push(text.states);
        }
        let n_prefix = positions.len();
        // With a prompt, the target follows its padding; the mask sees two ranges, so the prompt is packed per item
        // before the target by gathering.
        let (rest, rest_lengths, target_starts) = match prompt {
            None => {
                positions.extend(0..n_frames);
                (audio, lengths.clone(), vec![0; n_items])
            }
            Some((tokens, prompt_lengths)) => {
                let n_prompt = tokens.dims()[1];
                let joined = Tensor::cat(vec![tokens, audio], 1);
                let total = n_prompt + n_frames;
                let order: Vec<i32> = (0..n_items)
                    .flat_map(|b| {
                        let used = prompt_lengths[b];
                        let row = b * total;
                        (0..used)
                            .chain(n_prompt..n_prompt + n_frames)
                            .chain(used..n_prompt)
                            .map(move |i| (row + i) as i32)
                    })
                    .collect();
                let order = Tensor::<1, Int>::from_data(TensorData::new(order, [n_items * total]), &device);
                let packed = joined
                    .reshape([n_items * total, self.width])
                    .select(0, order)
                    .reshape([n_items, total, self.width]);
                positions.extend(0..total);
                let rest: Vec<usize> = prompt_lengths.iter().zip(&lengths).map(|(p, t)| p + t).collect();
                (packed, rest, prompt_lengths)
            }
        };
        parts.push(rest);
        let mask = Arc::new(AttentionMask { n_prefix, prefix_lengths, rest_lengths, causal: false });
        let table = RotaryTable::new(positions, self.n_heads, head_width);
        let at = BlockContext {
            mask: &mask,
            table: &table,
            text: encoded.as_ref().map(|e| (e, &text_mask)),
            stage: k - 1,
            dropout,
            watch,
        };
        let states = self.decoder.forward(Tensor::cat(parts, 1), &at);
        let row = states.dims()[1];
        let picked: Vec<i32> = (0..n_items)
            .flat_map(|b| {
                let first = b * row + n_prefix + target_starts[b];
                (first..first + lengths[b]).map(|i| i as i32)
            })
            .collect();
        let n = picked.len();
        let picked = Tensor::<1, Int>::from_data(TensorData::new(picked, [n]), &device);
        let states = states.reshape([n_items * row, self.width]).select(0, picked);
        let head = &self.heads[k - 1];
        Ok(match &self.latent_head {
            Some(latent) => {
                let (weight, bias) = latent.weight_and_bias(k - 1);
                head.score_with(states, weight, bias)
            }
            None => head.score(states),
        })
    }

    fn embed_text(&self, text: &[Vec<i32>], speaker: Option<&Tensor<3>>) -> Embedded {
        embed_text(self.text_embedding.val(), self.text_positions.val(), text, speaker)
    }

    /// Sum of the embeddings of the first `n_codebooks` (at least one) codebooks `[B, T, D]`, with positions.
    fn embed_frames(
        &self,
        codes: &[Vec<Vec<i32>>],
        n_codebooks: usize,
    ) -> Result<(Tensor<3>, Vec<usize>), ModelError> {
        let pad_id = SpecialTokens::above(self.codebook_size).pad as i32;
        let padded = |q: usize| pad(&codes.iter().map(|item| item[q].clone()).collect::<Vec<_>>(), pad_id);
        let first = padded(0);
        let n = first.width;
        if n > self.max_frames {
            return Err(ModelError::TooLong { what: "the audio", found: n, limit: self.max_frames });
        }
        let lengths = first.lengths.clone();
        let mut ids = vec![ints(first.values, [codes.len(), n], &self.device())];
        ids.extend((1..n_codebooks).map(|q| ints(padded(q).values, [codes.len(), n], &self.device())));
        let mut states = self.frame_positions.val().narrow(0, 0, n).unsqueeze::<3>();
        for (table, ids) in self.code_embeddings.iter().zip(&ids) {
            states = states + table.look_up(ids.clone());
        }
        if let Some(latent) = &self.latent_embedding {
            states = states + latent.forward(&ids);
        }
        Ok((states, lengths))
    }

    fn embed_prompt(
        &self,
        encoder: &SpeakerEncoder,
        prompt: &Prompt,
    ) -> Result<(Tensor<3>, Vec<usize>), ModelError> {
        let (frames, lengths) = self.embed_frames(&prompt.codes, self.n_codebooks)?;
        let (tokens, lengths) = encoder.forward(frames, &lengths);
        Ok((tokens + self.prompt_mark.val().unsqueeze::<3>(), lengths))
    }
}
