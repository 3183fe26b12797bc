//! Fuzzing of the parsers of untrusted bytes (`fuzz/`): writes seeds, then runs targets one after another.
//!
//! In: fixtures and configurations of the repository, and small files made here. Out: `fuzz/corpus/` and, where a parser
//! fails, `fuzz/artifacts/`. Needs a nightly toolchain and cargo-fuzz. Invariant: nothing under `fuzz/corpus/` is committed.

use crate::{Result, root, say, shell};
use std::path::Path;
use std::process::Command;

/// Every target and the longest input it is given, in bytes.
const TARGETS: [(&str, usize); 8] = [
    ("audio", 16_384),
    ("config", 4_096),
    ("corpus", 2_048),
    ("cache", 2_048),
    ("codec", 4_096),
    ("text", 256),
    ("evaluation", 2_048),
    ("records", 4_096),
];

/// Between the files of one input; `fuzz/src/lib.rs` splits there.
const SEPARATOR: &str = "\n%%\n";

/// Arguments of `fuzz`.
#[derive(clap::Args)]
pub(crate) struct FuzzArguments {
    /// Targets to run; all of them if none is named
    targets: Vec<String>,
    /// Processor time that each target gets (Linux; time by the clock elsewhere)
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    seconds: u64,
    /// Write the seeds and run nothing
    #[arg(long)]
    seeds_only: bool,
}

/// `cargo xtask fuzz`.
pub(crate) fn run(arguments: &FuzzArguments) -> Result<()> {
    if let Some(name) = arguments.targets.iter().find(|name| TARGETS.iter().all(|(t, _)| t != name)) {
        let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
        return Err(format!("no fuzz target `{name}`; there are {}", names.join(", ")));
    }
    for (target, max_bytes) in TARGETS {
        if !arguments.targets.is_empty() && !arguments.targets.iter().any(|name| name == target) {
            continue;
        }
        let corpus = root().join("fuzz/corpus").join(target);
        std::fs::create_dir_all(&corpus).map_err(|e| format!("cannot make `{}`: {e}", corpus.display()))?;
        for (i, seed) in seeds(target)?.into_iter().enumerate() {
            let path = corpus.join(format!("seed-{i:02}"));
            std::fs::write(&path, seed).map_err(|e| format!("cannot write `{}`: {e}", path.display()))?;
        }
        if !arguments.seeds_only {
            say(&format!("-- {target}, {} s", arguments.seconds));
            fuzz(target, max_bytes, arguments.seconds)?;
        }
    }
    Ok(())
}

/// Runs one target until it has had its processor time, so that a busy machine shortens no campaign.
fn fuzz(target: &str, max_bytes: usize, seconds: u64) -> Result<()> {
    // The proxy's cargo: this one is of another toolchain. What is fuzzed is safe Rust, so that no sanitizer is needed.
    let cargo_fuzz = |verb: &str| {
        let mut command = Command::new("cargo");
        command.current_dir(root()).args(["+nightly", "fuzz", verb, "--sanitizer", "none", target]);
        command
    };
    shell::run(&mut cargo_fuzz("build"))?;
    let budget = seconds as f64;
    let mut spent = 0.0;
    while spent < budget {
        let round_s = (budget - spent).ceil().max(5.0);
        let before = children_processor_s();
        let mut command = cargo_fuzz("run");
        command.args(["--".into(), format!("-max_total_time={round_s}"), format!("-max_len={max_bytes}")]);
        command.args(["-timeout=10", "-rss_limit_mb=4096", "-print_final_stats=1", "-close_fd_mask=1"]);
        shell::run(&mut command)?;
        spent += match (before, children_processor_s()) {
            (Some(before), Some(after)) => after - before,
            _ => round_s,
        };
        say(&format!("   {target}: {spent:.0} of {seconds} processor seconds without a finding"));
    }
    Ok(())
}

/// Processor seconds of every child process that ended so far; `None` where `/proc` does not tell.
fn children_processor_s() -> Option<f64> {
    /// Clock ticks a second in `/proc`; Linux tells them to programs as 100 on every architecture.
    const TICKS_PER_S: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold blanks; after it come fields 3 and on; cutime is 16, cstime 17 (proc(5)).
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(13)? + ticks(14)?) / TICKS_PER_S)
}

fn seeds(target: &str) -> Result<Vec<Vec<u8>>> {
    let texts = |all: &[&str]| all.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
    let joined = |all: &[&str]| all.join(SEPARATOR).into_bytes();
    Ok(match target {
        "audio" => {
            let mut all = vec![small_wav()];
            let dir = root().join("crates/harmonica-audio/fixtures");
            for path in files(&dir)?.iter().filter(|path| !path.ends_with("README.md")) {
                all.push(read(path)?);
            }
            all
        }
        "config" => {
            let mut all = texts(&[
                "seed = 1\n\n%%\n[training.ar]\nmax_updates = 10\n\n%%\ntraining.ar.token_noise=1e-4\nname=some words",
                "name = \"a\\u00e4\"\n[training.nar.objective.registered.x]\nweight = 2\n\n%%\n\n%%\ndata.layout=\"manifest\"",
            ]);
            for path in files(&root().join("configs"))? {
                all.push(read(&path)?);
            }
            all
        }
        "corpus" => texts(&[
            "a-1|\"Dr.\" X|doctor x\nb|hello||slt|test\n",
            "{\"id\": \"u1\", \"audio\": \"x/u1.flac\", \"text\": \"hi\", \"speaker\": \"s\", \"split\": \"valid\"}\n",
            "client_id\tpath\tsentence\na\tb.mp3\tone two\n",
            "{\"audio_filepath\": \"a/b.wav\", \"text\": \"one\", \"duration\": 1.5, \"offset\": 2.0, \"speaker\": 7}\n",
            "{\"id\": \"c\", \"start\": 1.0, \"supervisions\": [{\"id\": \"s\", \"start\": 0.5, \"duration\": 1.0, \"text\": \"one\"}], \"recording\": {\"id\": \"r\", \"duration\": 4.0, \"sources\": [{\"type\": \"file\", \"source\": \"r.wav\"}]}}\n",
            "id\tsplit\tspeaker\tstream\tstart_sample\tn_samples\ttext\na-1\ttrain\tslt\ts.ogg\t0\t24500\tsix two\n",
        ]),
        "cache" => vec![joined(&[
            r#"{"codec.fingerprint":"x","audio.trim_db":-40.0}"#,
            r#"{"format_version":3,"spec":{"id":"mel_rvq","sample_rate_hz":16000,"hop_samples":640,"n_codebooks":2,"codebook_size":128},"vocab":{"format_version":1,"characters":["a","b"]},"speakers":["s"],"corpora":[""],"shards":["shards/000000.shard"],"utterances":[{"id":"u","text":"ab","text_ids":[2,3],"speaker":0,"corpus":0,"split":"train","audio":"wavs/u.wav","shard":0,"first_code":0,"n_frames":1,"n_samples":640},{"id":"v","text":"b","text_ids":[3],"speaker":0,"corpus":0,"split":"test","audio":"v.wav","segment":{"start_s":1.0,"duration_s":2.0},"shard":0,"first_code":2,"n_frames":2,"n_samples":700}]}"#,
            "a\0b\0c\0d\0e\0f\0",
        ])],
        "codec" => vec![codec(1), codec(2), tokens(2, 3)],
        "text" => texts(&[
            "Dr. Smith met Mrs. Jones at 10:30, 7:05pm; it cost $1,250.50!",
            "In the 1980s, on March 3, 1984, No. 7 ran 5 km (3.1 mi) in -3 \u{b0}C, 50% off.",
            "\u{201c}Caf\u{e9}\u{201d} \u{2014} R2D2, AT&T, covid-19, 21st, \u{a3}3 or \u{20ac}2.5, #1",
            "ab\n%%\n{\"format_version\":1,\"characters\":[\"a\",\"b\",\" \"]}",
        ]),
        "evaluation" => vec![
            joined(&[
                "{\"id\": \"a\", \"text\": \"one two\", \"speaker\": \"s\", \"audio\": \"w/a.wav\"}\n{\"id\": \"b\", \"text\": \"3\"}",
                "one too",
            ]),
            joined(&["w/a.wav\tone two\nw/b.wav\tthree\n", "one"]),
        ],
        "records" => vec![joined(&[
            &[
                r#"{"kind":"train","update":10,"objective":5.5,"cross_entropy":5.25,"grad_norm":1.0,"learning_rate":0.001,"modules":[{"module":"head","grad_norm":0.5,"update_ratio":0.001}]}"#,
                r#"{"kind":"validation","update":10,"ema":true,"cross_entropy":5.0,"codebooks":[{"codebook":1,"n_tokens":100,"cross_entropy":5.0,"target_entropy":5.5,"accuracy":0.1,"utilization_ratio":0.5,"effective_codes_ratio":0.4,"marginal_kl":0.2}],"verdict":{"verdict":"healthy","reasons":["a reason"],"text_use":{"flag":"unknown","probe":{"n_tokens":9,"gap_nats":0.1,"standard_error":0.1}}},"attention":[{"layer":1,"reads":"frames","n_queries":9,"head_entropies":[4.0,3.5],"uniform_entropy":4.5,"diversity":0.1}]}"#,
                r#"{"kind":"event","update":10,"message":"stopped"}"#,
            ]
            .join("\n"),
            r#"{"format_version":1,"name":"n","model":"ar","n_parameters":3,"config":"c0","cache":"c1","program":"0.1","device":"cpu","stopped":"done"}"#,
            r#"{"format_version":1,"update":10,"checkpoint":"step-00000010","criterion":"cross-entropy","value":5.0}"#,
            r#"{"format_version":1,"suite":"s","suite_fingerprint":"f0","recognizer":"","text_normalizer":"english-1","config":"c0","codebooks":[],"systems":[{"system":"source","word_error_rate":{"value":0.1,"low":0.0,"high":0.2},"word_error_rate_utterance_mean":0.1,"character_error_rate":null,"chance_word_error_rate":1.0,"exact_share":0.5,"mel_distance":null,"failures":{"silence":1},"utterances":[{"id":"a","path":"a.wav","text":"one","speaker":"s","heard":"one","word_errors":[0,0,0],"n_words":1,"duration_s":1.0,"failures":["silence"],"mel_distance":0.5}]}]}"#,
            r#"{"format_version":1,"sittings":[{"started":"2026-01-01T00:00:00Z","ended":"2026-01-01T00:01:00Z","from_update":0,"to_update":10,"duration_s":60.0,"ended_because":"done","environment":{"host":"h","os":"linux","architecture":"x86_64","cpu":"c","n_cpus":2,"n_threads":2,"simd":["avx"],"device":"cpu","backend":"Flex(Cpu)","program":"0.1.0","commit":null,"command":["train"],"directory":"/w","pid":1}}]}"#,
        ])],
        _ => Vec::new(),
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| format!("cannot read `{}`: {e}", path.display()))
}

/// The files of a directory, without those of directories below it.
fn files(dir: &Path) -> Result<Vec<std::path::PathBuf>> {
    let entries = std::fs::read_dir(dir).map_err(|e| format!("cannot read `{}`: {e}", dir.display()))?;
    let mut paths: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    paths.sort();
    Ok(paths)
}

/// 64 frames of 16-bit PCM.
fn small_wav() -> Vec<u8> {
    let mut wav =
        b"RIFF\xa4\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\x80\0\0\0"
            .to_vec();
    wav.extend((0..64_u16).flat_map(|n| (n * 400).to_le_bytes()));
    wav
}

/// Tensors of equal bytes as safetensors: name, type, shape and bytes an element.
fn safetensors(tensors: &[(&str, &str, &[usize], usize)]) -> Vec<u8> {
    let mut at = 0;
    let entry = |(name, kind, shape, width): &(&str, &str, &[usize], usize)| {
        let end = at + shape.iter().product::<usize>() * width;
        let words = format!(r#""{name}":{{"dtype":"{kind}","shape":{shape:?},"data_offsets":[{at},{end}]}}"#);
        at = end;
        words
    };
    let header = format!("{{{}}}", tensors.iter().map(entry).collect::<Vec<_>>().join(","));
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + at, 1);
    bytes
}

/// A codec of the smallest size that the settings allow.
fn codec(n_codebooks: usize) -> Vec<u8> {
    let description = format!(
        r#"{{"format_version":2,"kind":"mel_rvq","fingerprint":"","mel_rvq":{{"sample_rate_hz":16000,"fft_samples":256,"window_samples":256,"step_samples":64,"stack":1,"n_mels":20,"mel_low_hz":40.0,"mel_high_hz":7600.0,"fine_weight":0.5,"n_components":4,"n_codebooks":{n_codebooks},"codebook_size":2,"kmeans_iterations":1,"max_fit_frames":8,"phase_iterations":1}}}}{SEPARATOR}"#
    );
    let weights = safetensors(&[
        ("mean", "F16", &[20], 2),
        ("analysis", "F16", &[4, 20], 2),
        ("synthesis", "F16", &[12, 20], 2),
        ("codebooks", "F16", &[n_codebooks, 2, 4], 2),
    ]);
    [description.into_bytes(), weights].concat()
}

fn tokens(n_codebooks: usize, n_frames: usize) -> Vec<u8> {
    let mut bytes =
        safetensors(&[("codes", "I32", &[n_codebooks, n_frames], 4), ("n_samples", "I32", &[1], 4)]);
    let data = bytes.len() - 4 * (n_codebooks * n_frames + 1);
    // Every code 1.
    bytes[data..].chunks_exact_mut(4).for_each(|word| word[1..].fill(0));
    bytes
}
