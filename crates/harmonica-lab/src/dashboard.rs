//! burn-train's dashboard on a terminal: the only file that knows burn-train.
//!
//! In: what the observer hears. Out: curves, figures and progress on stdout's alternate screen; `q`, then `s`, asks training to stop
//! at the next update, with a checkpoint, and so does Ctrl-C. Invariant: it only shows; `metrics.jsonl` is written by the trainer before it hears of a line.

use burn_train::Interrupter;
use burn_train::metric::{
    MetricDefinition, MetricEntry, MetricId, NumericAttributes, NumericEntry, SerializedEntry,
};
use burn_train::renderer::tui::TuiMetricsRendererWrapper;
use burn_train::renderer::{MetricState, MetricsRenderer};
use harmonica_config_schema::record::{RunEvent, TrainMetrics, ValidationMetrics};
use harmonica_training::Progress;
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::sync::Arc;

/// A terminal that curves are drawn on. Dropping it gives the terminal back.
pub(crate) struct Dashboard {
    renderer: Option<Box<dyn MetricsRenderer>>,
    interrupter: Interrupter,
    registered: BTreeSet<String>,
    has_begun: bool,
}

impl Dashboard {
    /// Takes the terminal; `None` where stdout or stderr is none, and plain lines are right.
    pub(crate) fn open() -> Option<Self> {
        let is_terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        is_terminal.then(|| {
            // Lines of the log would stand in the middle of the curves.
            harmonica_runtime::hold_log();
            let interrupter = Interrupter::new();
            let renderer: Box<dyn MetricsRenderer> =
                Box::new(TuiMetricsRendererWrapper::new(interrupter.clone(), None));
            Self { renderer: Some(renderer), interrupter, registered: BTreeSet::new(), has_begun: false }
        })
    }

    /// Whether its user asked training to stop.
    pub(crate) fn asks_to_stop(&self) -> bool {
        self.interrupter.should_stop()
    }

    /// A figure as the dashboard takes it.
    fn state(&mut self, name: &str, value: f64, higher_is_better: bool) -> MetricState {
        let metric_id = MetricId::new(Arc::new(name.to_owned()));
        if self.registered.insert(name.to_owned()) {
            let definition = MetricDefinition {
                metric_id: metric_id.clone(),
                name: Arc::new(name.to_owned()),
                description: None,
                attributes: NumericAttributes { unit: None, higher_is_better }.into(),
            };
            self.draw(|renderer| renderer.register_metric(definition));
        }
        let words =
            if value != 0.0 && value.abs() < 1e-3 { format!("{value:.2e}") } else { format!("{value:.4}") };
        let entry = MetricEntry::new(metric_id, SerializedEntry::new(words, value.to_string()));
        // A value that is none would take the axes with it.
        MetricState::Numeric(entry, value.is_finite().then_some(NumericEntry::Value(value)))
    }

    fn trained(&mut self, name: &str, value: f64) {
        let state = self.state(name, value, false);
        self.draw(|renderer| renderer.update_train(state));
    }

    fn validated(&mut self, name: &str, value: f64, higher_is_better: bool) {
        let state = self.state(name, value, higher_is_better);
        self.draw(|renderer| renderer.update_valid(state));
    }

    /// A line of training metrics.
    pub(crate) fn train(&mut self, model: &str, metrics: &TrainMetrics, progress: Progress) {
        if !self.has_begun {
            self.has_begun = true;
            // One "epoch": the whole run in updates.
            self.draw(|renderer| {
                renderer.start(1, 1, None, Some(model));
                renderer.start_split("train", progress.max_updates as usize);
            });
        }
        self.trained("cross-entropy", metrics.cross_entropy);
        self.trained("objective", metrics.objective);
        self.trained("gradient norm", metrics.grad_norm);
        self.trained("learning rate", metrics.learning_rate);
        self.draw(|renderer| renderer.update_split(progress.update as usize));
    }

    /// A validation, codebook by codebook.
    pub(crate) fn validation(&mut self, metrics: &ValidationMetrics) {
        self.validated("cross-entropy", metrics.cross_entropy, false);
        for codebook in &metrics.codebooks {
            let of = |figure: &str| format!("codebook {} {figure}", codebook.codebook);
            self.validated(&of("cross-entropy"), codebook.cross_entropy, false);
            self.validated(&of("top-10 accuracy"), codebook.top10_accuracy, true);
            self.validated(&of("codes used"), codebook.utilization_ratio, true);
        }
        let verdict = &metrics.verdict;
        self.tell(format!("verdict {}", verdict.verdict));
        for alert in &metrics.alerts {
            self.tell(format!("alert {} {}", alert.codebook, alert.alert));
        }
    }

    /// Something that happened, in short: the dashboard counts how often each kind did.
    pub(crate) fn event(&mut self, event: &RunEvent) {
        let short = event.message.split([':', ';']).next().unwrap_or_default();
        self.tell(short.to_owned());
    }

    fn tell(&mut self, what: String) {
        self.draw(|renderer| renderer.log_event_training(what));
    }

    /// The renderer takes every key for itself, Ctrl-C too, which shall go on to end training where nothing is lost. Its own thread sets the
    /// terminal up, so this is asked for again and again.
    #[cfg(unix)]
    fn let_interrupts_through() {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let stdin = std::io::stdin();
        if let Ok(mut modes) = tcgetattr(&stdin)
            && !modes.local_modes.contains(LocalModes::ISIG)
        {
            modes.local_modes.insert(LocalModes::ISIG);
            // A terminal that refuses still has `q`.
            let _ = tcsetattr(&stdin, OptionalActions::Now, &modes);
        }
    }

    #[cfg(not(unix))]
    fn let_interrupts_through() {}

    fn draw(&mut self, on: impl FnOnce(&mut dyn MetricsRenderer)) {
        if let Some(renderer) = &mut self.renderer {
            on(renderer.as_mut());
            Self::let_interrupts_through();
        }
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        // The terminal first, then what was kept from it.
        self.renderer = None;
        harmonica_runtime::release_log();
    }
}
