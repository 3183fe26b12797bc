//! Who watches training from the lab: plain lines, and sentences spoken while the model learns.

use crate::interrupt::Interrupt;
use crate::output::Output;
use harmonica_audio::save;
use harmonica_codec::AudioCodec;
use harmonica_config_schema::record::{RunEvent, TrainMetrics, ValidationMetrics};
use harmonica_config_schema::{ArDecodeConfig, CodebookIndex};
use harmonica_model_core::ArModel;
use harmonica_model_core::decode::{ArDecoder, ArRequest};
use harmonica_storage::make_directory;
use harmonica_training::{Progress, TensorBoard, TrainObserver};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One fixed sentence, spoken by codebook 1 alone at each validation.
pub(crate) struct HearItLearn {
    pub(crate) codec: Arc<dyn AudioCodec>,
    pub(crate) text: Vec<i32>,
    pub(crate) speaker: i32,
    pub(crate) dir: PathBuf,
}

impl HearItLearn {
    /// Writes the sentence into a file; returns its bytes, sample rate and number of samples.
    fn speak(&self, model: &ArModel, update: u64) -> Result<(Vec<u8>, u32, usize), String> {
        let written = ArDecoder::new(ArDecodeConfig::default())
            .decode(model, &ArRequest::new(&self.text, self.speaker), 1, |_| true)
            .map_err(|e| e.to_string())?;
        let width = self.codec.latent_width();
        let vectors = self.codec.codebook_vectors(CodebookIndex::FIRST);
        let latents: Vec<f32> = written
            .codes
            .iter()
            .flat_map(|c| vectors[*c as usize * width..][..width].iter().copied())
            .collect();
        make_directory(&self.dir).map_err(|e| e.to_string())?;
        let path = self.dir.join(format!("update-{update:08}.wav"));
        let waveform = self.codec.decode_latent(&latents);
        save(&path, &waveform).map_err(|e| e.to_string())?;
        let wav = std::fs::read(&path).map_err(|e| e.to_string())?;
        Ok((wav, waveform.sample_rate_hz(), waveform.samples().len()))
    }
}

/// Lines with rate and time left; AR runs also speak.
pub(crate) struct LabObserver {
    pub(crate) out: Output,
    pub(crate) name: &'static str,
    pub(crate) interrupt: Interrupt,
    pub(crate) sentence: Option<HearItLearn>,
    pub(crate) board: TensorBoard,
}

impl LabObserver {
    fn interrupted(&self) -> Option<String> {
        self.interrupt.signal().map(|signal| format!("{signal} asked it to stop"))
    }

    fn train(&self, metrics: &TrainMetrics, progress: Progress) {
        let left = (progress.max_updates - progress.update) as f64 / progress.updates_per_s.max(1e-9);
        self.out.note(&format!(
            "{} {}/{} loss {:.3} ce {:.3} grad {:.2} lr {:.1e} {:.2} updates/s {} left",
            self.name,
            metrics.update,
            progress.max_updates,
            metrics.objective,
            metrics.cross_entropy,
            metrics.grad_norm,
            metrics.learning_rate,
            progress.updates_per_s,
            minutes(left)
        ));
    }

    fn event(&self, event: &RunEvent) {
        self.out.note(&format!("{} {} {}", self.name, event.update, event.message));
    }

    fn validation(&self, metrics: &ValidationMetrics) {
        for c in &metrics.codebooks {
            self.out.note(&format!(
                "{} {} valid codebook {}: ce {:.3} (unigram {:.2}, bigram {:.2}) accuracy {:.3} top-10 {:.3} used {:.2} effective {:.2}",
                self.name,
                metrics.update,
                c.codebook,
                c.cross_entropy,
                c.unigram_floor.unwrap_or(f64::NAN),
                c.bigram_floor.unwrap_or(f64::NAN),
                c.accuracy,
                c.top10_accuracy,
                c.utilization_ratio,
                c.sampled_effective_ratio
            ));
        }
        if let Some(raw) = &metrics.raw {
            let ce = (metrics.cross_entropy, raw.cross_entropy);
            self.out.note(&format!(
                "{} {} valid ce: averaged {:.3}, raw {:.3}",
                self.name, metrics.update, ce.0, ce.1
            ));
        }
        for free in &metrics.free_running {
            self.out.note(&format!(
                "{} {} freely codebook {}: used {:.2} effective {:.2} kl {:.2}",
                self.name,
                metrics.update,
                free.codebook,
                free.utilization_ratio,
                free.effective_codes_ratio,
                free.marginal_kl
            ));
        }
        let verdict = &metrics.verdict;
        self.out.note(&format!(
            "{} {} verdict: {}; text {}, voice {}; {}",
            self.name,
            metrics.update,
            verdict.verdict,
            verdict.text_use.flag.name(),
            verdict.prompt_use.flag.name(),
            verdict.reasons.first().map_or("", String::as_str)
        ));
    }
}

fn minutes(seconds: f64) -> String {
    format!("{:.0}:{:02.0}", (seconds / 60.0).floor(), seconds % 60.0)
}

impl TrainObserver<ArModel> for LabObserver {
    fn on_train(&mut self, metrics: &TrainMetrics, progress: Progress) {
        self.train(metrics, progress);
        self.board.train(metrics);
    }

    fn on_validation(&mut self, metrics: &ValidationMetrics, model: &ArModel) {
        self.validation(metrics);
        self.board.validation(metrics, model);
        let Some(sentence) = &self.sentence else { return };
        match sentence.speak(model, metrics.update) {
            Ok((wav, sample_rate_hz, n_samples)) => {
                self.board.sound("sample", metrics.update, &wav, sample_rate_hz, n_samples);
            }
            Err(reason) => {
                self.out.note(&format!("warning: the sample sentence was not spoken: {reason}"));
            }
        }
    }

    fn on_checkpoint(&mut self, path: &Path) {
        tracing::debug!("checkpoint {}", path.display());
    }

    fn on_event(&mut self, event: &RunEvent) {
        self.event(event);
    }

    fn stop_reason(&self) -> Option<String> {
        self.interrupted()
    }
}

impl TrainObserver<harmonica_model_core::NarModel> for LabObserver {
    fn on_train(&mut self, metrics: &TrainMetrics, progress: Progress) {
        self.train(metrics, progress);
        self.board.train(metrics);
    }

    fn on_validation(&mut self, metrics: &ValidationMetrics, model: &harmonica_model_core::NarModel) {
        self.validation(metrics);
        self.board.validation(metrics, model);
    }

    fn on_event(&mut self, event: &RunEvent) {
        self.event(event);
    }

    fn stop_reason(&self) -> Option<String> {
        self.interrupted()
    }
}
