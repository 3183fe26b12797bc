//! The main job from zero, on the embedded default. Its stages end by update count, never by the clock.

use crate::shell::{self, build};
use crate::{Result, root, say};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Instant;

/// Arguments of `demo`.
#[derive(Args)]
pub(crate) struct DemoArguments {
    /// Where everything goes
    #[arg(long, default_value = "runs/demo")]
    output: PathBuf,
    /// Build, and stop there
    #[arg(long)]
    build_only: bool,
    /// The same road in three minutes: fewer updates and sentences
    #[arg(long)]
    smoke: bool,
    /// Recognizer command with {wav} or {list} in it, to measure word errors
    #[arg(long, default_value = "")]
    recognizer: String,
    /// Seed of every random draw
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A sentence that the committed bundle says first of all.
const GREETING: &str = "open the red box near the river";

struct Demo {
    binaries: PathBuf,
    dir: PathBuf,
    settings: Vec<String>,
    started: Instant,
}

impl Demo {
    fn lab(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(self.binaries.join("harmonica-lab"));
        command.current_dir(root()).args(verb);
        command
    }

    fn configured(&self, verb: &[&str]) -> Command {
        let mut command = self.lab(verb);
        command.args(["--config", "configs/demo.toml"]);
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        command
    }

    fn stage(&self, name: &str) {
        say(&format!("== {:4.0} s  {name}", self.started.elapsed().as_secs_f64()));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

fn greet(binaries: &Path, dir: &Path) -> Result<()> {
    let bundle = root().join("assets/demo-bundle");
    if !bundle.join("bundle.json").exists() {
        return Err(format!(
            "the committed bundle `{}` is missing; restore it from the repository",
            bundle.display()
        ));
    }
    let output = dir.join("hello.wav");
    shell::run(
        Command::new(binaries.join("harmonica"))
            .args(["synthesize", "--text", GREETING, "--model"])
            .arg(&bundle)
            .arg("--output")
            .arg(&output),
    )?;
    say(&format!("the committed bundle said \"{GREETING}\": {}", output.display()));
    Ok(())
}

fn road(arguments: &DemoArguments, binaries: PathBuf) -> Result<()> {
    let dir = std::path::absolute(&arguments.output).map_err(|e| e.to_string())?;
    std::fs::create_dir_all(&dir)
        .map_err(|e| format!("cannot write `{}`: {e}; choose another --output", dir.display()))?;
    greet(&binaries, &dir)?;
    let at = |name: &str| dir.join(name).display().to_string();
    let mut settings = vec![
        format!("seed={}", arguments.seed),
        format!("data.corpus_dir={:?}", at("corpus")),
        format!("data.cache_dir={:?}", at("cache")),
        format!("codec.dir={:?}", at("codec")),
    ];
    if arguments.smoke {
        settings.extend(
            [
                "training.ar.max_updates=120",
                "training.nar.max_updates=90",
                "training.validate_every_updates=60",
                "training.checkpoint_every_updates=60",
                "training.log_every_updates=30",
                "codec.mel_rvq.kmeans_iterations=4",
                "codec.mel_rvq.codebook_size=256",
            ]
            .map(str::to_owned),
        );
    }
    let demo = Demo { binaries, dir, settings, started: Instant::now() };
    demo.stage("corpus");
    shell::run(
        demo.lab(&["data", "unpack", "--packed", "assets/demo-corpus", "--corpus"]).arg(demo.path("corpus")),
    )?;
    demo.stage("codec fit");
    if !demo.path("codec/codec.json").exists() {
        let mut fit = demo.configured(&["codec", "fit"]);
        shell::run(fit.arg("--corpus").arg(demo.path("corpus")).arg("--output").arg(demo.path("codec")))?;
    }
    demo.stage("quality report and token cache");
    shell::run(demo.configured(&["preprocess"]).arg("--report-dir").arg(demo.path("quality")))?;
    demo.stage("AR and NAR, a thread each");
    train_both(&demo)?;
    demo.stage("bundle");
    shell::run(&mut bundle(&demo)?)?;
    demo.stage("evaluation on sentences that nobody trained on");
    evaluate(&demo, arguments)?;
    // The same bundle once more: now it tells how it was judged.
    shell::run(bundle(&demo)?.arg("--evaluation").arg(demo.path("eval.json")))?;
    demo.stage("report");
    shell::run(demo.lab(&["report"]).arg(&demo.dir))?;
    demo.stage("done");
    say(&format!("open {} in a browser; speech is in {}", at_html(&demo), demo.path("samples").display()));
    Ok(())
}

fn at_html(demo: &Demo) -> String {
    demo.path("report.html").display().to_string()
}

/// Both models at once, each on one thread, so that the result never depends on the machine's load.
fn train_both(demo: &Demo) -> Result<()> {
    let spawn = |model: &str| -> Result<(String, Child)> {
        let mut command = demo.configured(&["train", "--resume", "--model", model]);
        command.arg("--run-dir").arg(demo.path(model)).env("RAYON_NUM_THREADS", "1");
        let child = command.spawn().map_err(|e| format!("cannot run {command:?}: {e}"))?;
        Ok((model.to_owned(), child))
    };
    let children = [spawn("ar")?, spawn("nar")?];
    let mut failed = Vec::new();
    for (model, mut child) in children {
        let status = child.wait().map_err(|e| e.to_string())?;
        if !status.success() {
            failed.push(format!("training of {model} ended with {status}"));
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
}

fn last_checkpoint(run: &Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(run).map_err(|e| format!("cannot read `{}`: {e}", run.display()))?;
    let mut steps: Vec<PathBuf> = entries
        .flatten()
        .map(|e| e.path())
        .filter(|p| {
            p.extension().is_none() && p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("step-"))
        })
        .collect();
    steps.sort();
    steps.pop().ok_or_else(|| format!("`{}` holds no checkpoint", run.display()))
}

/// Makes a bundle of the last checkpoints.
fn bundle(demo: &Demo) -> Result<Command> {
    let mut command = demo.lab(&["bundle"]);
    for model in ["ar", "nar"] {
        command.arg(format!("--{model}")).arg(last_checkpoint(&demo.path(model))?);
    }
    command.arg("--codec").arg(demo.path("codec")).arg("--output").arg(demo.path("bundle"));
    Ok(command)
}

/// Speaks the held-out sentences, judges them, and puts what the bundle said into `samples/`.
fn evaluate(demo: &Demo, arguments: &DemoArguments) -> Result<()> {
    let metadata = std::fs::read_to_string(demo.path("corpus/metadata.csv")).map_err(|e| e.to_string())?;
    let mut suite = String::new();
    let mut tests: Vec<(String, String, String)> = Vec::new();
    for line in metadata.lines() {
        if let [id, text, _, speaker, "test"] = line.split('|').collect::<Vec<_>>()[..] {
            tests.push((id.to_owned(), text.to_owned(), speaker.to_owned()));
        }
    }
    if arguments.smoke {
        // A few of every voice.
        tests = tests.into_iter().step_by(12).collect();
    }
    for (id, text, speaker) in &tests {
        suite.push_str(&format!(
            "{{\"id\": \"{id}\", \"text\": \"{text}\", \"speaker\": \"{speaker}\", \"audio\": \"corpus/wavs/{id}.wav\"}}\n"
        ));
    }
    let path = demo.path("test.jsonl");
    std::fs::write(&path, suite).map_err(|e| format!("cannot write `{}`: {e}", path.display()))?;
    let mut command = demo.lab(&["evaluate", "--bundle"]);
    command.arg(demo.path("bundle")).arg("--suite").arg(&path).arg("--output").arg(&demo.dir);
    for model in ["ar", "nar"] {
        command.arg("--metrics").arg(demo.path(model).join("metrics.jsonl"));
    }
    if !arguments.recognizer.is_empty() {
        command.args(["--recognizer", &arguments.recognizer]);
    }
    shell::run(&mut command)?;
    let samples = demo.path("samples");
    std::fs::create_dir_all(&samples).map_err(|e| e.to_string())?;
    let mut manifest = String::new();
    for (id, text, _) in &tests {
        let from = demo.path("wavs/generated-expected").join(format!("{id}.wav"));
        std::fs::copy(&from, samples.join(format!("{id}.wav")))
            .map_err(|e| format!("{}: {e}", from.display()))?;
        manifest.push_str(&format!("{id}.wav\t{text}\n"));
    }
    std::fs::write(samples.join("manifest.tsv"), manifest).map_err(|e| e.to_string())
}

/// Runs the demo.
pub(crate) fn run(arguments: &DemoArguments) -> Result<()> {
    let binaries = build("flex")?;
    if arguments.build_only {
        return Ok(());
    }
    road(arguments, binaries)
}

/// The demo in small, for CI.
pub(crate) fn smoke(output: PathBuf) -> Result<()> {
    run(&DemoArguments { output, build_only: false, smoke: true, recognizer: String::new(), seed: 1 })
}
