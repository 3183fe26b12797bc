//! Who watches training from the lab: plain lines or a dashboard, TensorBoard, and sentences spoken while the model learns.

use crate::dashboard::Dashboard;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::samples::{HearItLearn, Speaks};
use burn::module::Module;
use harmonica_config_schema::record::{RunEvent, TrainMetrics, ValidationMetrics};
use harmonica_training::{Progress, TensorBoard, TrainObserver};
use std::path::Path;

/// Lines with rate and time left, or a dashboard where there is one.
pub(crate) struct LabObserver {
    pub(crate) out: Output,
    pub(crate) name: &'static str,
    pub(crate) interrupt: Interrupt,
    pub(crate) sentence: Option<HearItLearn>,
    pub(crate) board: TensorBoard,
    pub(crate) dashboard: Option<Dashboard>,
}

impl LabObserver {
    fn line(&self, words: &str) {
        self.out.note(&format!("{} {words}", self.name));
    }

    fn train(&self, metrics: &TrainMetrics, progress: Progress) {
        let left = (progress.max_updates - progress.update) as f64 / progress.updates_per_s.max(1e-9);
        self.line(&format!(
            "{}/{} loss {:.3} ce {:.3} grad {:.2} lr {:.1e} {:.2} updates/s {} left",
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

    fn validation(&self, metrics: &ValidationMetrics) {
        for c in &metrics.codebooks {
            self.line(&format!(
            "{} valid codebook {}: ce {:.3} (unigram {:.2}, bigram {:.2}) accuracy {:.3} top-10 {:.3} used {:.2} effective {:.2}",
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
            self.line(&format!("{} valid ce: averaged {:.3}, raw {:.3}", metrics.update, ce.0, ce.1));
        }
        for free in &metrics.free_running {
            self.line(&format!(
                "{} freely codebook {}: used {:.2} effective {:.2} kl {:.2}",
                metrics.update,
                free.codebook,
                free.utilization_ratio,
                free.effective_codes_ratio,
                free.marginal_kl
            ));
        }
        let verdict = &metrics.verdict;
        self.line(&format!(
            "{} verdict: {}; text {}, voice {}; {}",
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

impl<M: Module + Speaks> TrainObserver<M> for LabObserver {
    fn on_train(&mut self, metrics: &TrainMetrics, progress: Progress) {
        match &mut self.dashboard {
            Some(dashboard) => dashboard.train(self.name, metrics, progress),
            None => self.train(metrics, progress),
        }
        self.board.train(metrics);
    }

    fn on_validation(&mut self, metrics: &ValidationMetrics, model: &M) {
        match &mut self.dashboard {
            Some(dashboard) => dashboard.validation(metrics),
            None => self.validation(metrics),
        }
        self.board.validation(metrics, model);
        if let Some(sentence) = &self.sentence
            && let Err(reason) = sentence.speak(model, metrics.update, &mut self.board)
        {
            tracing::warn!("the sample sentence was not spoken: {reason}");
        }
    }

    fn on_checkpoint(&mut self, path: &Path) {
        tracing::debug!("checkpoint {}", path.display());
    }

    fn on_event(&mut self, event: &RunEvent) {
        match &mut self.dashboard {
            Some(dashboard) => dashboard.event(event),
            None => self.line(&format!("{} {}", event.update, event.message)),
        }
    }

    fn stop_reason(&self) -> Option<String> {
        if self.dashboard.as_ref().is_some_and(Dashboard::asks_to_stop) {
            return Some("whoever watches the dashboard asked it to stop".to_owned());
        }
        self.interrupt.signal().map(|signal| format!("{signal} asked it to stop"))
    }
}
