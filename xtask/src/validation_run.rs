//! A training run as an experiment: one configuration, fixed names, fixed slices, stop criteria said beforehand, a page at
//! the end.
//!
//! In: a configuration. Out: `runs/NAME/` with `ar/`, `nar/`, `bundle/`, an evaluation for each slice, and the report. Every
//! stage goes on where it was interrupted. Invariant: nothing is trained before everything that can be checked is.

use crate::shell::{self, build};
use crate::{Result, root, say};
use clap::Args;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Arguments of `validation-run`.
#[derive(Args)]
pub(crate) struct ValidationRunArguments {
    /// Configuration of the run
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Overrides, as TOML
    #[arg(long = "set", value_name = "A.B=VALUE")]
    set: Vec<String>,
    /// Where everything goes; runs/NAME of the configuration's name if left out
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Sentences to evaluate on, a slice a file; slices of the run's own test split if left out, and the committed open ones
    /// where it has none
    #[arg(long = "suite", value_name = "FILE")]
    suites: Vec<PathBuf>,
    /// Recognizer command with {wav} or {list} in it, to measure word errors
    #[arg(long, default_value = "")]
    recognizer: String,
    /// Backend feature to build with: flex, wgpu, vulkan, metal or cuda
    #[arg(long, default_value = "flex")]
    backend: String,
    /// Device to train on; that of the backend if left out
    #[arg(long)]
    device: Option<String>,
    /// Stop after the checks
    #[arg(long)]
    check_only: bool,
}

/// The slices that a run without others and without a test split of its own is evaluated on.
const SLICES: [&str; 3] = ["open-short", "open-medium", "open-repeats"];

struct Run<'a> {
    arguments: &'a ValidationRunArguments,
    binaries: PathBuf,
    config: Value,
    dir: PathBuf,
}

impl Run<'_> {
    fn lab(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(self.binaries.join("harmonica-lab"));
        command.args(verb);
        command
    }

    fn configured(&self, verb: &[&str]) -> Command {
        let mut command = self.lab(verb);
        configure(&mut command, self.arguments);
        command
    }

    /// A text of the resolved configuration.
    fn text(&self, pointer: &str) -> Result<&str> {
        let value = self.config.pointer(pointer).and_then(Value::as_str);
        value.ok_or_else(|| format!("the resolved configuration has no {pointer}"))
    }
}

/// Where models are trained: a GPU that a backend was asked for is never passed over.
fn device(arguments: &ValidationRunArguments) -> &str {
    match (&arguments.device, arguments.backend.as_str()) {
        (Some(device), _) => device,
        (None, "flex") => "cpu",
        (None, backend) => backend,
    }
}

fn configure(command: &mut Command, arguments: &ValidationRunArguments) {
    command.arg("--config").arg(&arguments.config);
    for set in &arguments.set {
        command.args(["--set", set]);
    }
}

/// When each model stops, in words.
fn stop_criteria(config: &Value) -> Vec<String> {
    let words = |model: &str| {
        let at = |key: &str| {
            let pointer = format!("/training/{model}/{key}");
            config.pointer(&pointer).and_then(Value::as_u64).unwrap_or_default()
        };
        let most = format!("{model} stops after {} updates", at("max_updates"));
        match at("control/early_stop/patience_updates") {
            0 => most,
            loss => format!(
                "{most}, or when cross-entropy has not fallen for {loss} and utilization not risen for {}",
                at("control/early_stop/utilization_patience_updates")
            ),
        }
    };
    ["ar", "nar"].map(words).to_vec()
}

/// Everything that can be known to go wrong before hours are spent on it; all problems at once.
fn preflight(run: &Run<'_>, suites: &[PathBuf]) -> Result<()> {
    let mut problems = Vec::new();
    let corpus = Path::new(run.text("/data/corpus_dir")?);
    if !corpus.is_dir() {
        problems.push(format!(
            "the corpus `{}` is missing; put it there or set data.corpus_dir",
            corpus.display()
        ));
    }
    let missing = suites.iter().filter(|suite| !suite.is_file());
    problems.extend(
        missing.map(|suite| format!("the slice `{}` is missing; name another --suite", suite.display())),
    );
    if let Err(e) = std::fs::create_dir_all(&run.dir) {
        problems.push(format!("cannot write `{}`: {e}; choose another --output", run.dir.display()));
    }
    problems.extend(must_be_fitted(run.text("/codec/kind")?, Path::new(run.text("/codec/dir")?)).err());
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n  ")) }
}

/// Slices of what the run's own corpus holds out for the test; the committed ones where that is nothing.
fn own_slices(run: &Run<'_>) -> Result<Vec<PathBuf>> {
    let mut fix = run.configured(&["data", "slices", "--json"]);
    fix.arg("--output").arg(run.dir.join("slices"));
    let told = fix.output().map_err(|e| format!("cannot run {fix:?}: {e}"))?;
    let value: Value = serde_json::from_slice(&told.stdout).map_err(|e| format!("{fix:?}: {e}"))?;
    if told.status.success() {
        let slices = value.get("slices").and_then(Value::as_array).into_iter().flatten();
        return Ok(slices.filter_map(|slice| Some(slice.get("path")?.as_str()?.into())).collect());
    }
    if value.get("empty_split").is_some() {
        say("the corpus holds nothing out for the test: the committed slices are used");
        return Ok(SLICES.map(|slice| root().join(format!("configs/suites/{slice}.jsonl"))).to_vec());
    }
    let why = value.get("error").and_then(Value::as_str).unwrap_or("it failed without a word");
    Err(format!("cannot fix slices in `{}`: {why}", run.dir.join("slices").display()))
}

/// The checkpoint that a run's own rule chose.
fn best_checkpoint(run: &Path) -> Result<PathBuf> {
    let path = run.join("best.json");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("`{}`: {e}", path.display()))?;
    let best: Value = serde_json::from_str(&text).map_err(|e| format!("`{}`: {e}", path.display()))?;
    let say_so = |key: &str| best.get(key).map(Value::to_string).unwrap_or_default();
    say(&format!(
        "{}: {} ({} {})",
        run.display(),
        say_so("checkpoint"),
        say_so("criterion"),
        say_so("value")
    ));
    let name = best.get("checkpoint").and_then(Value::as_str);
    name.map(|name| run.join(name)).ok_or_else(|| format!("`{}` names no checkpoint", path.display()))
}

/// Whether the codec of a run is still to be made from its corpus, which only the embedded one can be. A codec from elsewhere must stand
/// there sealed, because the bundle at the end takes no other.
fn must_be_fitted(kind: &str, codec: &Path) -> Result<bool> {
    match kind {
        _ if codec.join("codec.json").exists() => Ok(false),
        "mel_rvq" if codec.starts_with("hf:") => {
            Err(format!("codec.dir = `{}` is no directory to fit a codec in; name one", codec.display()))
        }
        "mel_rvq" => Ok(true),
        _ => Err(format!(
            "codec.dir = `{}` is no sealed codec of the kind `{kind}`; make one with `harmonica-lab codec import --from DIR --output DIR` \
             (DIR may be hf://org/name after --from) and set codec.dir to it",
            codec.display()
        )),
    }
}

/// `cargo xtask validation-run`.
pub(crate) fn run(arguments: &ValidationRunArguments) -> Result<()> {
    let binaries = build(&arguments.backend)?;
    let mut show = Command::new(binaries.join("harmonica-lab"));
    show.args(["config", "show", "--json"]);
    configure(&mut show, arguments);
    let config: Value = serde_json::from_str(&shell::capture(&mut show)?).map_err(|e| e.to_string())?;
    let name = config.get("name").and_then(Value::as_str).unwrap_or("unnamed");
    let dir = arguments.output.clone().unwrap_or_else(|| Path::new("runs").join(name));
    let run = Run { arguments, binaries, config, dir };
    preflight(&run, &arguments.suites)?;
    stop_criteria(&run.config).iter().for_each(|words| say(words));
    if arguments.check_only {
        say("everything that can be checked is in order");
        return Ok(());
    }
    let (corpus, codec) =
        (PathBuf::from(run.text("/data/corpus_dir")?), PathBuf::from(run.text("/codec/dir")?));
    if must_be_fitted(run.text("/codec/kind")?, &codec)? {
        let mut fit = run.configured(&["codec", "fit"]);
        shell::run(fit.arg("--corpus").arg(&corpus).arg("--output").arg(&codec))?;
    }
    shell::run(run.configured(&["preprocess"]).arg("--report-dir").arg(run.dir.join("quality")))?;
    // Before hours of training, so that nobody chooses them afterwards.
    let suites = if arguments.suites.is_empty() { own_slices(&run)? } else { arguments.suites.clone() };
    // Codec and cache are there now: device, disk, memory and cost are looked at before hours are spent.
    shell::run(run.configured(&["doctor", "--device", device(arguments)]).stdout(Stdio::null()))?;
    let mut checkpoints = Vec::new();
    for model in ["ar", "nar"] {
        let at = run.dir.join(model);
        shell::run(
            run.configured(&["train", "--resume", "--model", model, "--device", device(arguments)])
                .arg("--run-dir")
                .arg(&at),
        )?;
        checkpoints.push(best_checkpoint(&at)?);
    }
    let bundle = run.dir.join("bundle");
    let mut make = run.lab(&["bundle", "--ar"]);
    make.arg(&checkpoints[0]).arg("--nar").arg(&checkpoints[1]);
    shell::run(make.arg("--codec").arg(&codec).arg("--output").arg(&bundle))?;
    for (i, suite) in suites.iter().enumerate() {
        // The first slice stands on the report's page.
        let slice = suite.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let output = if i == 0 { run.dir.clone() } else { run.dir.join(format!("eval-{slice}")) };
        let mut evaluate = run.lab(&["evaluate", "--criteria", "--bundle"]);
        evaluate.arg(&bundle).arg("--suite").arg(suite).arg("--output").arg(&output);
        for model in ["ar", "nar"] {
            evaluate.arg("--metrics").arg(run.dir.join(model).join("metrics.jsonl"));
        }
        if !arguments.recognizer.is_empty() {
            evaluate.args(["--recognizer", &arguments.recognizer]);
        }
        shell::run(&mut evaluate)?;
    }
    shell::run(run.lab(&["report"]).arg(&run.dir))?;
    say(&format!("the run is told in {}", run.dir.join("report.md").display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_embedded_codec_is_fitted_and_another_is_imported_first() {
        let missing = Path::new("hf://facebook/encodec_24khz");
        assert_eq!(must_be_fitted("mel_rvq", Path::new("runs/none/codec")), Ok(true));
        assert!(must_be_fitted("mel_rvq", missing).is_err());
        let error = must_be_fitted("encodec", missing).unwrap_err();
        assert!(error.contains("codec import") && error.contains("hf://facebook/encodec_24khz"), "{error}");
        let sealed = std::env::temp_dir().join(format!("harmonica-sealed-{}", std::process::id()));
        std::fs::create_dir_all(&sealed).unwrap();
        std::fs::write(sealed.join("codec.json"), "{}").unwrap();
        let found = ["mel_rvq", "encodec"].map(|kind| must_be_fitted(kind, &sealed));
        std::fs::remove_dir_all(&sealed).unwrap();
        assert_eq!(found, [Ok(false), Ok(false)]);
    }
}
