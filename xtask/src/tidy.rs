//! The house rules that a machine can hold: layers, file lengths, file names, shapes in docs, configurations.

use crate::shell::{self, build};
use crate::{Result, root, say};
use std::path::{Path, PathBuf};

/// Longest source file, in lines.
const MAX_LINES: usize = 700;

/// Every crate, and the crates of this workspace that it may depend on.
const EDGES: [(&str, &[&str]); 16] = [
    ("config-schema", &[]),
    ("storage", &[]),
    ("console", &[]),
    ("numerics", &[]),
    ("audio", &["storage", "config-schema"]),
    ("text", &["config-schema"]),
    ("runtime", &["config-schema"]),
    ("model-core", &["numerics", "config-schema"]),
    ("codec", &["audio", "numerics", "storage", "config-schema"]),
    ("eval", &["audio", "text", "storage", "config-schema"]),
    ("data", &["codec", "audio", "text", "storage", "config-schema"]),
    ("research", &["model-core", "config-schema"]),
    ("training", &["model-core", "data", "storage", "config-schema"]),
    ("inference", &["model-core", "codec", "runtime", "eval", "audio", "text", "storage", "config-schema"]),
    ("cli", &["console", "inference", "runtime", "audio", "storage", "config-schema"]),
    (
        "lab",
        &[
            "config-schema",
            "console",
            "storage",
            "audio",
            "text",
            "codec",
            "runtime",
            "eval",
            "data",
            "model-core",
            "training",
            "inference",
            "research",
        ],
    ),
];

/// `cargo xtask tidy`.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut problems = layers()?;
    for path in sources(root)? {
        problems.extend(file(root, &path)?);
    }
    problems.extend(configurations()?);
    if problems.is_empty() {
        say("tidy: the house is in order");
        return Ok(());
    }
    Err(format!("{} house rules are broken:\n  {}", problems.len(), problems.join("\n  ")))
}

fn layers() -> Result<Vec<String>> {
    let metadata = cargo_metadata::MetadataCommand::new().current_dir(root()).no_deps().exec();
    let metadata = metadata.map_err(|e| format!("cargo metadata: {e}"))?;
    let mut problems = Vec::new();
    for package in &metadata.packages {
        let short = package.name.strip_prefix("harmonica-").unwrap_or(&package.name);
        let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == short) else {
            if !["tests", "benches", "xtask"].contains(&short) {
                problems.push(format!(
                    "crate `{}` has no place in the layer table of xtask/src/tidy.rs",
                    package.name
                ));
            }
            continue;
        };
        for dependency in &package.dependencies {
            // A test may look down from anywhere; what ships may not.
            if dependency.kind == cargo_metadata::DependencyKind::Development {
                continue;
            }
            if let Some(target) = dependency.name.strip_prefix("harmonica-")
                && !allowed.contains(&target)
            {
                problems.push(format!(
                    "`{}` must not depend on `{}`: it is not in a row below it",
                    package.name, dependency.name
                ));
            }
        }
    }
    Ok(problems)
}

fn sources(root: &Path) -> Result<Vec<PathBuf>> {
    let listed = shell::capture(std::process::Command::new("git").current_dir(root).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "*.rs",
    ]))?;
    Ok(listed.lines().map(|line| root.join(line)).filter(|p| p.exists()).collect())
}

fn file(root: &Path, path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read `{}`: {e}", path.display()))?;
    let shown = path.strip_prefix(root).unwrap_or(path).display();
    let mut problems = Vec::new();
    let n = text.lines().count();
    if n > MAX_LINES {
        problems.push(format!("{shown} has {n} lines, at most {MAX_LINES} are read with pleasure; split it"));
    }
    let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    if ["utils.rs", "base.rs", "helpers.rs", "common.rs"].contains(&name.as_str()) {
        problems.push(format!("{shown}: name the file after its concept"));
    }
    if !text.starts_with("//!") {
        problems.push(format!("{shown} does not say what it is for; begin with //!"));
    }
    // Put together here, so that this file does not break its own rule.
    if ["#[", "#!["].iter().any(|open| text.contains(&format!("{open}allow("))) {
        problems.push(format!("{shown}: use expect with a reason instead of allow"));
    }
    if !shown.to_string().contains("/tests") {
        problems.extend(
            undocumented_shapes(&text)
                .into_iter()
                .map(|f| format!("{shown}: `{f}` takes tensors but has no # Shapes")),
        );
    }
    Ok(problems)
}

/// Public functions that mention tensors in their signature and have no `# Shapes` in their docs.
fn undocumented_shapes(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let Some(rest) = line.trim_start().strip_prefix("pub fn ") else { continue };
        let end = lines[i..].iter().position(|l| l.trim_end().ends_with('{') || l.trim_end().ends_with(';'));
        let signature = lines[i..=i + end.unwrap_or(0)].join(" ");
        if !signature.contains("Tensor<") {
            continue;
        }
        let docs = lines[..i].iter().rev().take_while(|l| {
            let l = l.trim_start();
            l.starts_with("///") || l.starts_with("#[")
        });
        if !docs.into_iter().any(|l| l.contains("# Shapes")) {
            found.push(rest.split(['(', '<']).next().unwrap_or(rest).to_owned());
        }
    }
    found
}

/// Every file in `configs/` loads, in the program as it stands: an older one would judge by older rules.
fn configurations() -> Result<Vec<String>> {
    let binary = build("flex")?.join("harmonica-lab");
    let mut problems = Vec::new();
    let entries = std::fs::read_dir(root().join("configs")).map_err(|e| e.to_string())?;
    for path in entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "toml")) {
        let mut command = std::process::Command::new(&binary);
        if let Err(error) = shell::capture(command.args(["config", "check", "--config"]).arg(&path)) {
            problems.push(error);
        }
    }
    Ok(problems)
}
