//! The scorecard of what must not go wrong: each row is run, its figures are written down.
//!
//! Rows are tests of the workspace (run with larger numbers by `--full`) and real processes of the lab that are killed, signalled
//! and started side by side. Out: `reliability.json` and `reliability.md`. Invariant: a row without a result says so and why;
//! it is never counted as passed.

use crate::shell::{self, build, cargo};
use crate::{Result, root, say};
use clap::Args;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Arguments of `reliability`.
#[derive(Args)]
pub(crate) struct ReliabilityArguments {
    /// Release size: hours instead of minutes
    #[arg(long)]
    full: bool,
    /// Only these rows, such as R5
    #[arg(long, value_name = "ROW")]
    only: Vec<String>,
    /// Where reliability.json and reliability.md go
    #[arg(long, value_name = "DIR", default_value = "runs/reliability")]
    output: PathBuf,
}

/// A row that is a set of tests: number, what it is about, test names, and what a release tries more of.
struct Tests {
    row: &'static str,
    about: &'static str,
    filters: &'static [&'static str],
    full: &'static [(&'static str, &'static str)],
}

const TESTS: [Tests; 14] = [
    Tests {
        row: "R1",
        about: "damaged audio of eight formats: no abort, no hang, no short decode",
        filters: &["format_tests::"],
        full: &[("HARMONICA_MUTATIONS", "20000")],
    },
    Tests {
        row: "R2",
        about: "damaged checkpoints, caches, bundles, voices and codecs: every changed byte is found and named (R3 too)",
        filters: &["damage::"],
        full: &[("HARMONICA_N_DAMAGED", "20000")],
    },
    Tests {
        row: "R4",
        about: "damaged configurations: every problem with its place",
        filters: &["mutations::"],
        full: &[("HARMONICA_N_DAMAGED", "20000")],
    },
    Tests {
        row: "R5a",
        about: "death after every write, fsync, rename and removal of a checkpoint",
        filters: &["crashes::"],
        full: &[],
    },
    Tests {
        row: "R8",
        about: "disks that fill up or turn read-only at any write",
        filters: &["disk::"],
        full: &[("HARMONICA_DISK_STRIDE", "1")],
    },
    Tests {
        row: "R5b",
        about: "preprocessing killed at random moments, shared by processes and machines, from older caches: the same bytes",
        filters: &["preprocessing::"],
        full: &[("HARMONICA_N_KILLS", "200")],
    },
    Tests {
        row: "R10",
        about: "hostile manifests",
        filters: &["manifest::", "layouts::", "hostile"],
        full: &[],
    },
    Tests { row: "R11", about: "headers and files that claim too much", filters: &["bombs"], full: &[] },
    Tests {
        row: "R12",
        about: "losses and gradients that are not finite",
        filters: &["poison::"],
        full: &[],
    },
    Tests {
        row: "R13",
        about: "faults in the data, and counts that add up",
        filters: &["faults::", "quality::"],
        full: &[],
    },
    Tests {
        row: "R14",
        about: "parts that do not belong together",
        filters: &["contract::", "parts_that_do_not_belong_together", "each_key_of_the_fingerprint"],
        full: &[],
    },
    Tests {
        row: "R16",
        about: "models that never end or loop",
        filters: &["never_ends", "loops_are_left_or_cut"],
        full: &[],
    },
    Tests {
        row: "R19",
        about: "the committed bundle is read by this version",
        filters: &["committed"],
        full: &[],
    },
    Tests {
        row: "R20",
        about: "the same bytes from the same seed, whatever the threads and the order of asking",
        filters: &["resume::", "threads", "plan::", "strata::", "random::"],
        full: &[],
    },
];

/// Rows that are measured on processes; they share a corpus, so that all of them are run if one is wanted.
const PROCESSES: [&str; 4] = ["R5", "R6", "R7", "R9"];
/// The row of all dependencies.
const SUPPLY_CHAIN: &str = "R18";

/// What became of a row.
struct Outcome {
    row: &'static str,
    about: &'static str,
    result: std::result::Result<Map<String, Value>, String>,
    seconds: f64,
}

/// `cargo xtask reliability`.
pub(crate) fn run(arguments: &ReliabilityArguments) -> Result<()> {
    let rows: Vec<&str> =
        TESTS.iter().map(|tests| tests.row).chain(PROCESSES).chain([SUPPLY_CHAIN]).collect();
    if let Some(unknown) =
        arguments.only.iter().find(|only| !rows.iter().any(|row| row.eq_ignore_ascii_case(only)))
    {
        return Err(format!("no row `{unknown}`; there are {}", rows.join(", ")));
    }
    let output = std::path::absolute(&arguments.output).map_err(|e| e.to_string())?;
    std::fs::create_dir_all(&output)
        .map_err(|e| format!("cannot write `{}`: {e}; choose another --output", output.display()))?;
    let wants = |row: &str| {
        arguments.only.is_empty() || arguments.only.iter().any(|only| row.eq_ignore_ascii_case(only))
    };
    let mut outcomes = Vec::new();
    for tests in TESTS.iter().filter(|tests| wants(tests.row)) {
        outcomes.push(timed(tests.row, tests.about, || run_tests(tests, arguments.full, &output)));
    }
    if PROCESSES.into_iter().any(wants) {
        outcomes.extend(processes(if arguments.full { 50 } else { 4 })?);
    }
    if wants(SUPPLY_CHAIN) {
        outcomes.push(timed(
            SUPPLY_CHAIN,
            "licences, advisories and sources of all dependencies",
            supply_chain,
        ));
    }
    write(&outcomes, &output)?;
    let failed: Vec<&str> = outcomes.iter().filter(|o| o.result.is_err()).map(|o| o.row).collect();
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("these rows have no good result: {}", failed.join(", ")))
    }
}

/// Real processes, killed `kills` times a model, signalled, and side by side. Part of CI.
pub(crate) fn in_small() -> Result<()> {
    let outcomes = processes(2)?;
    let failed = outcomes.iter().find_map(|o| o.result.as_ref().err().map(|why| format!("{}: {why}", o.row)));
    failed.map_or(Ok(()), Err)
}

fn timed(
    row: &'static str,
    about: &'static str,
    run: impl FnOnce() -> Result<Map<String, Value>>,
) -> Outcome {
    say(&format!("-- {row} {about}"));
    let started = Instant::now();
    let result = run();
    match &result {
        Ok(figures) => say(&format!("   passed: {}", words(figures))),
        Err(why) => say(&format!("   FAILED: {why}")),
    }
    Outcome { row, about, result, seconds: started.elapsed().as_secs_f64() }
}

fn run_tests(tests: &Tests, full: bool, output: &Path) -> Result<Map<String, Value>> {
    let log = output.join(format!("{}.log", tests.row));
    let _ = std::fs::remove_file(&log);
    let mut command = cargo();
    command.args(["test", "--release", "--workspace", "--exclude", "xtask", "--"]).args(tests.filters);
    command.env("HARMONICA_RELIABILITY_LOG", &log);
    if full {
        command.envs(tests.full.iter().copied());
    }
    let shown = format!("{command:?}");
    let done = command.stderr(Stdio::null()).output().map_err(|e| format!("cannot run {shown}: {e}"))?;
    let text = String::from_utf8_lossy(&done.stdout);
    if !done.status.success() {
        let tail: Vec<&str> = text.lines().rev().take(12).collect();
        return Err(tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }
    let passed = text.lines().filter(|line| line.starts_with("test ") && line.ends_with("... ok")).count();
    if passed == 0 {
        return Err("no test of these names was found".into());
    }
    let mut figures = Map::from_iter([("tests".to_owned(), json!(passed))]);
    for line in std::fs::read_to_string(&log).unwrap_or_default().lines() {
        let logged: Value = serde_json::from_str(line).map_err(|e| format!("{}: {e}", log.display()))?;
        for (name, value) in logged["figures"].as_object().into_iter().flatten() {
            figures.insert(name.clone(), value.clone());
        }
    }
    if full {
        figures.extend(tests.full.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
    }
    Ok(figures)
}

/// A corpus, a codec and a cache to train small models on, removed when it is dropped.
struct Bench {
    lab: PathBuf,
    dir: PathBuf,
    settings: Vec<String>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Bench {
    fn new() -> Result<Self> {
        let lab = build("flex")?.join("harmonica-lab");
        let dir = std::env::temp_dir().join(format!("harmonica-reliability-{}", std::process::id()));
        std::fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
        let at = |name: &str| dir.join(name).display().to_string();
        let mut settings = vec![
            format!("data.corpus_dir={:?}", at("corpus")),
            format!("data.cache_dir={:?}", at("cache")),
            format!("codec.dir={:?}", at("codec")),
        ];
        settings.extend(
            [
                "codec.mel_rvq.kmeans_iterations=2",
                "codec.mel_rvq.codebook_size=128",
                "model.ar.preset='test'",
                "model.nar.preset='test'",
                "model.ar.dropout=0.1",
                "model.nar.dropout=0.1",
                "training.ar.token_noise=0.05",
                "training.nar.token_noise=0.05",
                "training.ar.grad_accumulation=3",
                "training.nar.grad_accumulation=3",
                "training.log_every_updates=1",
                "training.validate_every_updates=15",
                "training.checkpoint_every_updates=6",
            ]
            .map(str::to_owned),
        );
        let bench = Self { lab, dir, settings };
        say("   preparing a corpus of 120 utterances");
        bench.corpus()?;
        shell::run(
            bench
                .command(&["codec", "fit"])
                .arg("--corpus")
                .arg(bench.at("corpus"))
                .arg("--output")
                .arg(bench.at("codec")),
        )?;
        shell::run(&mut bench.command(&["preprocess"]))?;
        Ok(bench)
    }

    /// Every thirtieth utterance of the demo's corpus, so that preparing is a matter of seconds.
    fn corpus(&self) -> Result<()> {
        let whole = self.at("whole");
        let mut unpack = Command::new(&self.lab);
        unpack.current_dir(root()).args(["data", "unpack", "--packed", "assets/demo-corpus", "--corpus"]);
        shell::run(unpack.arg(&whole))?;
        let broken = |e: std::io::Error| format!("cannot make the small corpus: {e}");
        let metadata = std::fs::read_to_string(whole.join("metadata.csv")).map_err(broken)?;
        std::fs::create_dir_all(self.at("corpus/wavs")).map_err(broken)?;
        let rows: Vec<&str> = metadata.lines().step_by(metadata.lines().count() / 120).collect();
        for row in &rows {
            let name = format!("wavs/{}.wav", row.split('|').next().unwrap_or_default());
            std::fs::rename(whole.join(&name), self.at("corpus").join(&name)).map_err(broken)?;
        }
        std::fs::write(self.at("corpus/metadata.csv"), rows.join("\n") + "\n").map_err(broken)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn command(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(&self.lab);
        command.current_dir(root()).args(verb).args(["--config", "configs/demo.toml"]);
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        command
    }

    fn train(&self, model: &str, run: &Path) -> Result<Child> {
        let mut command = self.command(&["train", "--model", model, "--max-updates", "100000"]);
        command.arg("--run-dir").arg(run).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().map_err(|e| format!("cannot run {command:?}: {e}"))
    }
}

fn processes(kills: usize) -> Result<Vec<Outcome>> {
    let bench = Bench::new()?;
    let mut outcomes = Vec::new();
    for (row, model) in [("R5 AR", "ar"), ("R5 NAR", "nar")] {
        outcomes.push(timed(
            row,
            "training killed at random moments ends in the same bytes (R6: and leaves no litter)",
            || prove(&bench, model, kills),
        ));
    }
    outcomes
        .push(timed("R7", "signals end a run with a checkpoint, a second one at once", || signals(&bench)));
    outcomes
        .push(timed("R9", "eight processes on one cache, two trainers on one run", || side_by_side(&bench)));
    Ok(outcomes)
}

fn prove(bench: &Bench, model: &str, kills: usize) -> Result<Map<String, Value>> {
    let mut command = bench.command(&["prove-resume", "--model", model, "--max-updates", "30", "--json"]);
    command.args(["--kills", &kills.to_string(), "--work-dir"]).arg(bench.at(&format!("proof-{model}")));
    let proof: Value = serde_json::from_str(&shell::capture(&mut command)?).map_err(|e| e.to_string())?;
    let number = |name: &str| proof[name].as_u64().ok_or_else(|| format!("the proof has no {name}"));
    if number("most_updates_repeated")? > number("checkpoint_every_updates")? {
        return Err("more than one checkpoint's interval was done twice".into());
    }
    if number("most_scratch_bytes")? > number("checkpoint_bytes")? {
        return Err("a kill left more than one checkpoint behind".into());
    }
    let names = [
        "kills",
        "kills_inside_a_write",
        "runs",
        "most_updates_repeated",
        "checkpoint_every_updates",
        "most_scratch_bytes",
        "checkpoint_bytes",
    ];
    let mut figures: Map<String, Value> =
        names.map(|name| (name.to_owned(), proof[name].clone())).into_iter().collect();
    figures.insert("files_equal".into(), json!(proof["files"].as_array().map_or(0, Vec::len)));
    Ok(figures)
}

/// Waits for a condition, for half a minute at most.
fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) -> Result<Duration> {
    let started = Instant::now();
    while !is_so() {
        if started.elapsed() > Duration::from_secs(30) {
            return Err(format!("waited 30 s in vain for {what}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(started.elapsed())
}

fn send(signal: &str, child: &Child) -> Result<()> {
    shell::run(Command::new("kill").args([signal, &child.id().to_string()]))
}

fn signals(bench: &Bench) -> Result<Map<String, Value>> {
    let mut slowest = Duration::ZERO;
    for signal in ["-INT", "-TERM", "-USR1"] {
        let run = bench.at(&format!("signal{signal}"));
        let mut child = bench.train("nar", &run)?;
        wait_for("a first line of metrics", || run.join("metrics.jsonl").exists())?;
        send(signal, &child)?;
        slowest = slowest.max(wait_for("its end", || child.try_wait().is_ok_and(|status| status.is_some()))?);
        let status = child.wait().map_err(|e| e.to_string())?;
        if status.code() != Some(130) || !run.join("LATEST").exists() {
            return Err(format!(
                "{signal}: it ended with {status}, checkpoint: {}",
                run.join("LATEST").exists()
            ));
        }
    }
    Ok(Map::from_iter([
        ("signals".to_owned(), json!(3)),
        ("slowest_end_s".to_owned(), json!(slowest.as_secs_f64())),
        ("exit_code".to_owned(), json!(130)),
    ]))
}

fn side_by_side(bench: &Bench) -> Result<Map<String, Value>> {
    let wanted = std::fs::read(bench.at("cache/manifest.json")).map_err(|e| e.to_string())?;
    std::fs::remove_dir_all(bench.at("cache")).map_err(|e| e.to_string())?;
    let spawn = || bench.command(&["preprocess"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let children: Vec<Child> =
        (0..8).map(|_| spawn()).collect::<std::io::Result<_>>().map_err(|e| e.to_string())?;
    for child in children {
        let ended = child.wait_with_output().map_err(|e| e.to_string())?;
        if !ended.status.success() {
            let words = String::from_utf8_lossy(&ended.stderr).into_owned();
            return Err(format!("one of eight processes on one cache ended with {}: {words}", ended.status));
        }
    }
    let found = std::fs::read(bench.at("cache/manifest.json")).map_err(|e| e.to_string())?;
    if found != wanted {
        return Err("eight processes made another cache than one".into());
    }
    let run = bench.at("shared-run");
    let mut first = bench.train("nar", &run)?;
    wait_for("a first line of metrics", || run.join("metrics.jsonl").exists())?;
    let second = bench.train("nar", &run)?.wait_with_output().map_err(|e| e.to_string())?;
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    send("-KILL", &first)?;
    first.wait().map_err(|e| e.to_string())?;
    if second.status.success() || !words.contains(&format!("process {}", first.id())) {
        return Err(format!("a second trainer was not refused by the name of the first: {words}"));
    }
    Ok(Map::from_iter([
        ("processes_on_one_cache".to_owned(), json!(8)),
        ("trainers_refused".to_owned(), json!(1)),
    ]))
}

fn supply_chain() -> Result<Map<String, Value>> {
    let version = shell::capture(cargo().args(["deny", "--version"]));
    let version =
        version.map_err(|_| "not measured: cargo-deny is missing; `cargo install cargo-deny`".to_owned())?;
    // Without a network the local copy of the advisories is what there is; the figures say so.
    let check = |arguments: &[&str]| {
        shell::run(cargo().arg("deny").args(arguments).args(["check", "--hide-inclusion-graph"]))
    };
    let advisories = match check(&[]) {
        Ok(()) => "fetched",
        Err(_) => {
            check(&["--offline"])?;
            "local copy"
        }
    };
    Ok(Map::from_iter([
        ("tool".to_owned(), json!(version.trim())),
        ("advisories".to_owned(), json!(advisories)),
    ]))
}

fn words(figures: &Map<String, Value>) -> String {
    figures.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
}

fn write(outcomes: &[Outcome], output: &Path) -> Result<()> {
    let rows: Vec<Value> = outcomes
        .iter()
        .map(|o| match &o.result {
            Ok(figures) => json!({ "row": o.row, "about": o.about, "passed": true, "seconds": o.seconds, "figures": figures }),
            Err(why) => json!({ "row": o.row, "about": o.about, "passed": false, "seconds": o.seconds, "why": why }),
        })
        .collect();
    let mut table = "| row | what must hold | result | figures | s |\n|---|---|---|---|---:|\n".to_owned();
    for o in outcomes {
        let (result, figures) = match &o.result {
            Ok(figures) => ("passed", words(figures)),
            Err(why) => ("**failed**", why.lines().next().unwrap_or_default().to_owned()),
        };
        table.push_str(&format!("| {} | {} | {result} | {figures} | {:.0} |\n", o.row, o.about, o.seconds));
    }
    let json = serde_json::to_string_pretty(&json!({ "format_version": 1, "rows": rows }))
        .map_err(|e| e.to_string())?;
    for (name, content) in [("reliability.json", json), ("reliability.md", table)] {
        let path = output.join(name);
        std::fs::write(&path, content).map_err(|e| format!("cannot write `{}`: {e}", path.display()))?;
    }
    say(&format!("reliability.json and reliability.md are in {}", output.display()));
    Ok(())
}
