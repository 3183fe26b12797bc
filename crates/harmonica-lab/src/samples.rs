//! One fixed sentence, spoken at each validation, so that one can hear a model learn.
//!
//! In: a model and an utterance of the validation split. Out: a wav a validation in `RUN_DIR/samples/`, and for AR models the
//! picture of what was looked at in the text beside it. An AR model speaks codebook 1 alone; a NAR model fills what stands above
//! the recording's own codebook 1, so that what is heard is its own doing.

use harmonica_audio::{Waveform, save};
use harmonica_codec::AudioCodec;
use harmonica_config_schema::{ArDecodeConfig, CodebookIndex, NarDecodeConfig};
use harmonica_eval::{ALIGNMENT, alignment_bmp};
use harmonica_model_core::decode::{ArDecoder, ArRequest, Centroids, NarDecoder};
use harmonica_model_core::{ArModel, NarModel};
use harmonica_storage::{make_directory, publish};
use harmonica_training::{Sample, TensorBoard};
use std::path::PathBuf;
use std::sync::Arc;

/// Seed of what is drawn: the same at every validation.
const SEED: u64 = 1;

/// A model that can speak a sample.
pub(crate) trait Speaks {
    /// Latents for the codec, and what was looked at in the text, a row a frame.
    fn speak(&self, sample: &Sample, codec: &dyn AudioCodec) -> Result<Spoken, String>;
}

/// What a model said.
pub(crate) struct Spoken {
    latents: Vec<f32>,
    alignment: Vec<Vec<f32>>,
}

impl Speaks for ArModel {
    fn speak(&self, sample: &Sample, codec: &dyn AudioCodec) -> Result<Spoken, String> {
        let request = ArRequest {
            text: &sample.text,
            n_transcript: sample.n_transcript,
            speaker: sample.speaker,
            prompt: sample.first_of_prompt(),
        };
        let written = ArDecoder::new(ArDecodeConfig::default())
            .decode(self, &request, SEED, |_| true)
            .map_err(|e| e.to_string())?;
        let width = codec.latent_width();
        let vectors = codec.codebook_vectors(CodebookIndex::FIRST);
        let vector = |code: &i32| vectors[*code as usize * width..][..width].iter().copied();
        let attention = &written.attention;
        Ok(Spoken {
            latents: written.codes.iter().flat_map(vector).collect(),
            alignment: (0..attention.n_frames()).map(|frame| attention.total(frame)).collect(),
        })
    }
}

impl Speaks for NarModel {
    fn speak(&self, sample: &Sample, codec: &dyn AudioCodec) -> Result<Spoken, String> {
        let codebooks: Vec<&[f32]> = (0..codec.spec().n_codebooks)
            .map(|q| codec.codebook_vectors(CodebookIndex::from_zero_based(q)))
            .collect();
        let centroids = Centroids { codebooks: &codebooks, width: codec.latent_width() };
        let filled = NarDecoder::new(NarDecodeConfig::default(), SEED)
            .decode(self, &sample.text, sample.speaker, sample.prompt.as_ref(), &sample.codes[0], centroids)
            .map_err(|e| e.to_string())?;
        Ok(Spoken { latents: filled.latents, alignment: Vec::new() })
    }
}

/// The fixed sentence of a run.
pub(crate) struct HearItLearn {
    pub(crate) codec: Arc<dyn AudioCodec>,
    pub(crate) sample: Sample,
    pub(crate) dir: PathBuf,
}

impl HearItLearn {
    /// Writes the sentence into a file, and into the event file.
    pub(crate) fn speak<M: Speaks>(
        &self,
        model: &M,
        update: u64,
        board: &mut TensorBoard,
    ) -> Result<(), String> {
        let spoken = model.speak(&self.sample, self.codec.as_ref())?;
        let waveform: Waveform = self.codec.decode_latent(&spoken.latents);
        make_directory(&self.dir).map_err(|e| e.to_string())?;
        let path = self.dir.join(format!("update-{update:08}.wav"));
        save(&path, &waveform).map_err(|e| e.to_string())?;
        let wav = std::fs::read(&path).map_err(|e| e.to_string())?;
        board.sound("sample", update, &wav, waveform.sample_rate_hz(), waveform.samples().len());
        if let Some(first) = spoken.alignment.first() {
            let bitmap = alignment_bmp(&spoken.alignment);
            publish(&path.with_extension(ALIGNMENT), &bitmap).map_err(|e| e.to_string())?;
            board.picture("alignment", update, &bitmap, spoken.alignment.len(), first.len());
        }
        Ok(())
    }
}
