//! `synthesize --batch`: many lines to a directory.
//!
//! In: lines of JSON; out: `DIR/id.wav` each. Invariant: nothing is spoken before every line was checked, and a line that fails
//! all the same costs no other line.

use crate::failure::Failure;
use crate::output::{note, print};
use crate::reference::read_reference;
use crate::synthesize::{SynthesizeArguments, read_text, say};
use harmonica_inference::{
    DecodeConfig, InferenceError, Reference, ReplayManifest, SynthesisRequest, Synthesizer,
};
use harmonica_storage::{collect_scratch, is_plain_name, make_directory};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often whoever watches hears of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    text: String,
    voice: Option<String>,
    reference: Option<PathBuf>,
    reference_text: Option<String>,
    seed: Option<u64>,
}

/// Who speaks a line.
enum Speaker<'a> {
    Voice(&'a str),
    Recording(&'a Path, Option<&'a str>),
}

impl<'a> Speaker<'a> {
    fn of(
        voice: &'a Option<String>,
        recording: &'a Option<PathBuf>,
        transcript: &'a Option<String>,
    ) -> Option<Self> {
        match (voice, recording) {
            (Some(name), _) => Some(Self::Voice(name)),
            (None, Some(path)) => Some(Self::Recording(path, transcript.as_deref())),
            (None, None) => None,
        }
    }
}

/// A line that can be spoken, as far as can be known before.
struct Sentence {
    line: usize,
    request: SynthesisRequest,
    wav: PathBuf,
}

/// A line that cannot be spoken.
#[derive(Serialize)]
struct Problem {
    line: usize,
    message: String,
    #[serde(skip)]
    code: u8,
}

impl Problem {
    fn new(line: usize, failure: Failure) -> Self {
        Self { line, message: failure.message, code: failure.code }
    }
}

/// All problems at once, a line each.
fn failure(headline: String, batch: &Path, problems: &[Problem]) -> Failure {
    let lines = problems.iter().map(|p| format!("\n`{}` line {}: {}", batch.display(), p.line, p.message));
    let message = lines.fold(headline, |message, line| message + &line);
    let code = problems.iter().map(|p| p.code).max().unwrap_or(2);
    let result = Map::from_iter([("problems".to_owned(), json!(problems))]);
    Failure { code, result, ..Failure::error(message) }
}

pub(crate) fn run(
    arguments: &SynthesizeArguments,
    synthesizer: &Synthesizer,
    decode: &DecodeConfig,
    batch: &Path,
    dir: &Path,
    as_json: bool,
) -> Result<(), Failure> {
    let text = read_text(batch)?;
    let (sentences, problems) = check(arguments, synthesizer, decode, &text, dir);
    if !problems.is_empty() {
        let lines: BTreeSet<usize> = problems.iter().map(|p| p.line).collect();
        let n = sentences.len() + lines.len();
        let headline = format!("{} of {n} lines cannot be spoken; nothing was:", lines.len());
        return Err(failure(headline, batch, &problems));
    }
    make_directory(dir).and_then(|()| collect_scratch(dir)).map_err(InferenceError::from)?;
    let (mut spoken, mut problems) = (Vec::new(), Vec::new());
    let mut progress = Progress::new(sentences.len());
    for (done, sentence) in sentences.iter().enumerate() {
        match say(synthesizer, &sentence.request, &sentence.wav, !arguments.no_manifest) {
            Ok(said) => spoken.push(said.value),
            Err(failure) => {
                note(&format!("error: `{}` line {}: {}", batch.display(), sentence.line, failure.message));
                problems.push(Problem::new(sentence.line, failure));
            }
        }
        progress.at(done + 1);
    }
    if problems.is_empty() {
        let words = format!("{} files in {}", spoken.len(), dir.display());
        print(as_json, &json!(spoken), &words);
        return Ok(());
    }
    let (n, failed, dir) = (sentences.len(), problems.len(), dir.display());
    let headline = format!("{failed} of {n} lines failed, the others are in `{dir}`:");
    let mut failure = failure(headline, batch, &problems);
    failure.result.insert("spoken".to_owned(), json!(spoken));
    Err(failure)
}

/// Checks every line of a batch.
fn check(
    arguments: &SynthesizeArguments,
    synthesizer: &Synthesizer,
    decode: &DecodeConfig,
    text: &str,
    dir: &Path,
) -> (Vec<Sentence>, Vec<Problem>) {
    let (mut sentences, mut problems) = (Vec::new(), Vec::new());
    let mut lines_of_ids: BTreeMap<String, usize> = BTreeMap::new();
    let mut recordings: BTreeMap<(PathBuf, Option<String>), Result<Reference, Failure>> = BTreeMap::new();
    for (i, row) in text.lines().enumerate().filter(|(_, row)| !row.trim().is_empty()) {
        let line = i + 1;
        let row: Line = match serde_json::from_str(row) {
            Ok(row) => row,
            Err(error) => {
                problems.push(Problem::new(line, no_line(&error)));
                continue;
            }
        };
        let mut found: Vec<Failure> = Vec::new();
        found.extend(plain(&row.id).err());
        if let Some(first) = lines_of_ids.get(&row.id) {
            let message = format!("the id {:?} is that of line {first}; each needs its own", row.id);
            found.push(Failure::error(message));
        }
        let wav = dir.join(format!("{}.wav", row.id));
        lines_of_ids.entry(row.id.clone()).or_insert(line);
        let request = SynthesisRequest::new(&row.text).seed(row.seed.unwrap_or(arguments.seed));
        let request = request.decode(decode.clone());
        let spoken_by = Speaker::of(&row.voice, &row.reference, &row.reference_text)
            .or_else(|| Speaker::of(&arguments.voice, &arguments.reference, &arguments.reference_text));
        let request = match spoken_by {
            None => request,
            Some(Speaker::Voice(name)) => request.voice(name),
            Some(Speaker::Recording(path, transcript)) => {
                let key = (path.to_owned(), transcript.map(str::to_owned));
                let read = || read_reference(synthesizer, path, transcript);
                // Read once, however many lines name it; its mistake is told at each of them.
                match recordings.entry(key).or_insert_with(read) {
                    Ok(reference) => request.reference(reference.clone()),
                    Err(failure) => {
                        found.push(failure.clone());
                        request
                    }
                }
            }
        };
        if row.voice.is_some() && row.reference.is_some() {
            found.push(Failure::error("it names a voice and a recording; keep one of them"));
        }
        if row.reference_text.is_some() && row.reference.is_none() {
            found
                .push(Failure::error("it has a \"reference_text\" and no \"reference\"; name the recording"));
        }
        found.extend(synthesizer.problems(&request).into_iter().map(Failure::from));
        if !arguments.no_manifest && found.is_empty() {
            found.extend(ReplayManifest::check_place(&wav).err().map(Failure::from));
        }
        if found.is_empty() {
            sentences.push(Sentence { line, request, wav });
        }
        problems.extend(found.into_iter().map(|failure| Problem::new(line, failure)));
    }
    (sentences, problems)
}

/// The row is not what a batch is made of. serde calls every row line 1; only its column means something here.
fn no_line(error: &serde_json::Error) -> Failure {
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or(&text);
    let column = error.column();
    Failure::error(format!("{reason} (column {column}); give {{\"id\", \"text\", \"voice\", \"seed\"}}"))
}

/// Whether an id is a file name that stays in its directory.
fn plain(id: &str) -> Result<(), Failure> {
    if is_plain_name(id) {
        Ok(())
    } else {
        Err(Failure::error(format!("the id {id:?} is no plain file name")))
    }
}

/// How far a batch is.
struct Progress {
    total: usize,
    started: Instant,
    told: Instant,
}

impl Progress {
    fn new(total: usize) -> Self {
        Self { total, started: Instant::now(), told: Instant::now() }
    }

    fn at(&mut self, done: usize) {
        if self.told.elapsed() >= PROGRESS_EVERY {
            self.told = Instant::now();
            note(&progress_line(done, self.total, self.started.elapsed()));
        }
    }
}

fn progress_line(done: usize, total: usize, elapsed: Duration) -> String {
    let rate = done as f64 / elapsed.as_secs_f64().max(1e-9);
    let left = (total - done) as f64 / rate.max(1e-9);
    format!("{done}/{total} sentences, {rate:.2}/s, {left:.0} s left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_inside_their_directory() {
        for id in ["", ".", "..", "../a", "a/b", ".hidden", "a\\b", "a b"] {
            assert!(plain(id).is_err(), "{id}");
        }
        plain("u-1_b.take2").unwrap();
    }

    #[test]
    fn progress_tells_rate_and_time_left() {
        assert_eq!(progress_line(3, 12, Duration::from_secs(6)), "3/12 sentences, 0.50/s, 18 s left");
    }
}
