//! Recognizers: programs that nobody here wrote.

use crate::EvalError;
use harmonica_storage::publish;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Hears words in recordings.
pub trait Transcriber {
    /// Name in records.
    fn name(&self) -> String;

    /// What was heard in each recording, in order.
    ///
    /// # Errors
    /// A recognizer that fails or does not answer for every file.
    fn transcribe(&self, wavs: &[PathBuf]) -> Result<Vec<String>, EvalError>;
}

/// An external command. `{wav}` in it stands for one file, whose words it prints; `{list}` for a text file of paths, for
/// which it prints a line each.
#[derive(Debug, Clone)]
pub struct CommandTranscriber {
    template: String,
}

impl CommandTranscriber {
    /// A recognizer from its command template; arguments are separated by white space.
    pub fn new(template: impl Into<String>) -> Self {
        Self { template: template.into() }
    }

    fn run(&self, placeholder: &str, value: &Path) -> Result<String, EvalError> {
        let failed = |reason: String| EvalError::Recognizer { command: self.template.clone(), reason };
        let path = value.display().to_string();
        let mut words = self.template.split_whitespace().map(|w| w.replace(placeholder, &path));
        let program = words.next().ok_or_else(|| failed("it is empty".into()))?;
        let output = Command::new(program).args(words).output().map_err(|e| failed(e.to_string()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(failed(format!("{}: {}", output.status, said.trim())));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Transcriber for CommandTranscriber {
    fn name(&self) -> String {
        self.template.clone()
    }

    fn transcribe(&self, wavs: &[PathBuf]) -> Result<Vec<String>, EvalError> {
        if !["{wav}", "{list}"].iter().any(|place| self.template.contains(place)) {
            let reason = "it names neither {wav} nor {list}".to_owned();
            return Err(EvalError::Recognizer { command: self.template.clone(), reason });
        }
        if !self.template.contains("{list}") {
            return wavs.iter().map(|wav| Ok(self.run("{wav}", wav)?.trim().to_owned())).collect();
        }
        let list = std::env::temp_dir().join(format!("harmonica-wavs-{}.txt", std::process::id()));
        let text: String = wavs.iter().map(|w| format!("{}\n", w.display())).collect();
        publish(&list, text.as_bytes())?;
        let heard = self.run("{list}", &list);
        // Best effort: a left-over list of paths harms nobody.
        let _ = std::fs::remove_file(&list);
        let lines: Vec<String> = heard?.lines().map(|l| l.trim().to_owned()).collect();
        if lines.len() != wavs.len() {
            let reason = format!("it printed {} lines for {} files", lines.len(), wavs.len());
            return Err(EvalError::Recognizer { command: self.template.clone(), reason });
        }
        Ok(lines)
    }
}
