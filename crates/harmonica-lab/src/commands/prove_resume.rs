//! `prove-resume`: kills real training processes, resumes them, and compares every byte with a run that was never stopped.

use crate::failure::Failure;
use crate::output::Output;
use crate::setup::ConfigArguments;
use clap::Args;
use harmonica_config_schema::RandomStream;
use harmonica_config_schema::record::MetricsLine;
use harmonica_storage::{FileDigest, list_scratch};
use harmonica_training::{RunDir, TENSORBOARD};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often a running process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Files and directories that tell of the sitting, not of the run.
const OF_THE_SITTING: [&str; 4] = ["environment.json", "owner.json", ".lock", TENSORBOARD];

/// Arguments of `prove-resume`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: harmonica-lab prove-resume --model ar --config configs/demo.toml --set training.checkpoint_every_updates=10 --max-updates 60 --kills 20 --work-dir runs/proof"
)]
pub(crate) struct ProveResumeArguments {
    /// Which model
    #[arg(long, value_parser = ["ar", "nar"])]
    model: String,
    #[command(flatten)]
    config: ConfigArguments,
    /// Length of the run
    #[arg(long, value_name = "N")]
    max_updates: Option<u64>,
    /// How many processes to kill
    #[arg(long, value_name = "N", default_value_t = 10)]
    kills: usize,
    /// Where the runs go; it must be new
    #[arg(long, value_name = "DIR", default_value = "runs/prove-resume")]
    work_dir: PathBuf,
}

/// A file of the finished runs.
#[derive(Debug, Serialize)]
struct ComparedFile {
    file: String,
    blake3: String,
    equal: bool,
}

/// What was seen.
#[derive(Debug, Serialize)]
struct Proof {
    model: String,
    kills: usize,
    /// Kills that met a checkpoint being written.
    kills_inside_a_write: usize,
    /// Runs that were finished in spite of their kills.
    runs: usize,
    /// Most updates that were done, seen in the metrics, and done again.
    most_updates_repeated: u64,
    checkpoint_every_updates: u64,
    /// Most bytes of unfinished files that a kill left.
    most_scratch_bytes: u64,
    checkpoint_bytes: u64,
    /// Threads of the run that was never killed, and of the resumed processes in turn.
    threads: [Vec<usize>; 2],
    files: Vec<ComparedFile>,
    equal: bool,
}

impl ProveResumeArguments {
    fn train(&self, run: &Path, threads: usize) -> Result<Child, Failure> {
        let lab = std::env::current_exe().map_err(|e| Failure::error(format!("cannot find myself: {e}")))?;
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.work_dir.join("train.log"))
            .map_err(|e| Failure::error(format!("cannot write `{}`: {e}", self.work_dir.display())))?;
        let mut command = Command::new(lab);
        command.args(["train", "--resume", "--device", "cpu", "--model", &self.model, "--run-dir"]).arg(run);
        for config in &self.config.config {
            command.arg("--config").arg(config);
        }
        for key in &self.config.overrides {
            command.args(["--set", key]);
        }
        if let Some(seed) = self.config.seed {
            command.args(["--seed", &seed.to_string()]);
        }
        if let Some(n) = self.max_updates {
            command.args(["--max-updates", &n.to_string()]);
        }
        command.env("RAYON_NUM_THREADS", threads.to_string());
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        spawned.map_err(|e| Failure::error(format!("cannot start a training process: {e}")))
    }

    fn finish(&self, mut child: Child) -> Result<(), Failure> {
        let status = child.wait().map_err(|e| Failure::error(format!("cannot wait for training: {e}")))?;
        if status.success() {
            return Ok(());
        }
        let log = self.work_dir.join("train.log");
        Err(Failure::error(format!("training ended with {status}; read `{}`", log.display())))
    }
}

pub(crate) fn run(arguments: &ProveResumeArguments, out: Output) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    let work = &arguments.work_dir;
    if work.exists() {
        let message = format!("`{}` exists already; remove it, or name another --work-dir", work.display());
        return Err(Failure::error(message));
    }
    harmonica_storage::make_directory(work)?;
    let whole = work.join("whole");
    let started = Instant::now();
    arguments.finish(arguments.train(&whole, 1)?)?;
    let duration = started.elapsed();
    out.note(&format!("never killed: {:.1} s", duration.as_secs_f64()));
    let reference = content(&whole)?;
    let newest = RunDir::new(&whole)?.latest();
    let mut proof = Proof {
        model: arguments.model.clone(),
        kills: 0,
        kills_inside_a_write: 0,
        runs: 0,
        most_updates_repeated: 0,
        checkpoint_every_updates: config.training.checkpoint_every_updates,
        most_scratch_bytes: 0,
        checkpoint_bytes: newest.map_or(0, |dir| bytes_below(&dir)),
        threads: [vec![1], vec![2, 1]],
        files: reference
            .iter()
            .map(|(file, blake3)| ComparedFile { file: file.clone(), blake3: blake3.clone(), equal: true })
            .collect(),
        equal: true,
    };
    while proof.kills < arguments.kills {
        let run = work.join(format!("killed-{}", proof.runs));
        killed_run(arguments, &run, (duration, config.seed), &mut proof, out)?;
        compare(&content(&run)?, &reference, &mut proof);
        proof.runs += 1;
        std::fs::remove_dir_all(&run)
            .map_err(|e| Failure::error(format!("cannot remove `{}`: {e}", run.display())))?;
    }
    tell(&proof, out)
}

/// One run from its beginning to its end, killed on the way as often as it happens.
fn killed_run(
    arguments: &ProveResumeArguments,
    run: &Path,
    (duration, seed): (Duration, u64),
    proof: &mut Proof,
    out: Output,
) -> Result<(), Failure> {
    loop {
        let threads = proof.threads[1][proof.kills % 2];
        let mut child = arguments.train(run, threads)?;
        if proof.kills >= arguments.kills {
            return arguments.finish(child);
        }
        let mut stream = RandomStream::new(seed, "prove-resume", &[proof.runs as u64, proof.kills as u64]);
        // Every other kill waits for a checkpoint that is being written.
        let wants_write = proof.kills % 2 == 1;
        let moment = duration.mul_f64(0.6 * stream.uniform());
        let inside = Duration::from_micros(stream.below(20_000) as u64);
        let started = Instant::now();
        loop {
            if child.try_wait().map_err(|e| Failure::error(e.to_string()))?.is_some() {
                // It was quicker than the moment: the run is done.
                return arguments.finish(child);
            }
            if wants_write && started.elapsed() > moment / 4 && !list_scratch(run).is_empty() {
                std::thread::sleep(inside);
                break;
            }
            if !wants_write && started.elapsed() > moment {
                break;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        child.kill().and_then(|()| child.wait()).map_err(|e| Failure::error(e.to_string()))?;
        proof.kills += 1;
        let scratch = list_scratch(run);
        proof.kills_inside_a_write += usize::from(!scratch.is_empty());
        let left: u64 = scratch.iter().map(|path| bytes_below(path)).sum();
        proof.most_scratch_bytes = proof.most_scratch_bytes.max(left);
        let (done, saved) = progress(run);
        proof.most_updates_repeated = proof.most_updates_repeated.max(done.saturating_sub(saved));
        out.note(&format!(
            "kill {}/{}: at update {done}, saved {saved}{}",
            proof.kills,
            arguments.kills,
            if scratch.is_empty() { "" } else { ", inside a write" }
        ));
    }
}

/// The last update that the metrics tell of, and that of the newest checkpoint.
fn progress(run: &Path) -> (u64, u64) {
    let Some(run) = RunDir::existing(run) else { return (0, 0) };
    let done = run.metrics().iter().map(MetricsLine::update).max().unwrap_or(0);
    (done, run.checkpoints().last().copied().unwrap_or(0))
}

fn bytes_below(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else {
        return std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    };
    entries.flatten().map(|entry| bytes_below(&entry.path())).sum()
}

/// Hash of every file of a run.
fn content(run: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let mut files = BTreeMap::new();
    let mut dirs = vec![run.to_owned()];
    let unreadable =
        |path: &Path, e: std::io::Error| Failure::error(format!("cannot read `{}`: {e}", path.display()));
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).map_err(|e| unreadable(&dir, e))? {
            let path = entry.map_err(|e| unreadable(&dir, e))?.path();
            let name = path.strip_prefix(run).unwrap_or(&path).display().to_string();
            if OF_THE_SITTING.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                dirs.push(path);
            } else {
                let bytes = std::fs::read(&path).map_err(|e| unreadable(&path, e))?;
                files.insert(name, FileDigest::of(&bytes).blake3);
            }
        }
    }
    Ok(files)
}

fn compare(found: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>, proof: &mut Proof) {
    for compared in &mut proof.files {
        compared.equal &= found.get(&compared.file) == Some(&compared.blake3);
    }
    for (file, blake3) in found.iter().filter(|(file, _)| !wanted.contains_key(*file)) {
        proof.files.push(ComparedFile { file: file.clone(), blake3: blake3.clone(), equal: false });
    }
    proof.equal = proof.files.iter().all(|compared| compared.equal);
}

fn tell(proof: &Proof, out: Output) -> Result<(), Failure> {
    let mut lines: Vec<String> = proof
        .files
        .iter()
        .map(|f| format!("{} {} {}", if f.equal { "equal " } else { "DIFFERS" }, f.blake3, f.file))
        .collect();
    lines.push(format!(
        "{} kills in {} runs, {} inside a write; at most {} updates done twice (a checkpoint every {}), at most {} bytes left over (a checkpoint has {})",
        proof.kills,
        proof.runs,
        proof.kills_inside_a_write,
        proof.most_updates_repeated,
        proof.checkpoint_every_updates,
        proof.most_scratch_bytes,
        proof.checkpoint_bytes
    ));
    let words = lines.join("\n");
    if proof.equal {
        out.result(proof, &words);
        return Ok(());
    }
    if !out.json {
        out.note(&words);
    }
    let result = match serde_json::to_value(proof) {
        Ok(serde_json::Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    };
    let message = "a resumed run differs from one that was never stopped; see the files above".to_owned();
    Err(Failure { code: 1, result, ..Failure::error(message) })
}
