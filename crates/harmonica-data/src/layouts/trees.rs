//! Corpora that are trees of files: LibriTTS, LibriTTS-R and VCTK 0.92.
//!
//! In: a tree; out: an utterance for every pair of audio and text. Invariant: a file without its counterpart is counted and
//! named, never an error; links to other directories are not walked.

use super::lines::{shown, small_text};
use crate::DataError;
use crate::manifest::{Manifest, Rows, Split, Utterance};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Names of the entries of a directory that are, or are not, directories; in order. Links are followed for files only.
fn names(dir: &Path, directories: bool) -> Result<Vec<String>, DataError> {
    let failed = |source| DataError::Read { path: dir.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() == directories
            && let Some(name) = entry.file_name().to_str()
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Audio and text of each utterance, by its name.
type Pairs = BTreeMap<String, (Option<PathBuf>, Option<PathBuf>)>;

fn take_pairs(rows: &mut Rows<'_>, root: &Path, pairs: Pairs, speaker: &str, split: Option<Split>) {
    for (id, pair) in pairs {
        let (Some(audio), text) = pair else {
            rows.skip(id, "missing_audio", "there is a text and no audio".into());
            continue;
        };
        let text = match text.map(|path| small_text(root, &path)) {
            None => Err(("missing_text", format!("there is no text for `{}`", shown(root, &audio)))),
            Some(text) => text,
        };
        match text {
            Err((reason, detail)) => rows.skip(id, reason, detail),
            Ok(text) => rows.push_or_skip(Utterance {
                id,
                audio: audio.strip_prefix(root).unwrap_or(&audio).to_owned(),
                text,
                speaker: speaker.to_owned(),
                split,
                ..Utterance::default()
            }),
        }
    }
}

/// `SPLIT/SPEAKER/CHAPTER/ID.wav` and `ID.normalized.txt`; `dev*` is for validation, `test*` for the test.
pub(super) fn libritts(root: &Path) -> Result<Manifest, DataError> {
    let mut rows = Rows::new(root);
    for part in names(root, true)? {
        let split = match &part {
            part if part.starts_with("dev") => Split::Valid,
            part if part.starts_with("test") => Split::Test,
            part if part.starts_with("train") => Split::Train,
            _ => continue,
        };
        let part = root.join(part);
        for speaker in names(&part, true)? {
            for chapter in names(&part.join(&speaker), true)? {
                let dir = part.join(&speaker).join(chapter);
                let mut pairs = Pairs::new();
                for name in names(&dir, false)? {
                    if let Some(id) = name.strip_suffix(".wav") {
                        pairs.entry(id.to_owned()).or_default().0 = Some(dir.join(&name));
                    } else if let Some(id) = name.strip_suffix(".normalized.txt") {
                        pairs.entry(id.to_owned()).or_default().1 = Some(dir.join(&name));
                    }
                }
                take_pairs(&mut rows, root, pairs, &speaker, Some(split));
            }
        }
    }
    Ok(rows.into_manifest())
}

/// `wav48_silence_trimmed/pNNN/ID_mic1.flac` and `txt/pNNN/ID.txt`; the first version's `wav48/pNNN/ID.wav` too.
pub(super) fn vctk(root: &Path) -> Result<Manifest, DataError> {
    let (audio, ending) = match root.join("wav48_silence_trimmed") {
        trimmed if trimmed.is_dir() => (trimmed, "_mic1.flac"),
        _ => (root.join("wav48"), ".wav"),
    };
    let texts = root.join("txt");
    let mut speakers = names(&audio, true)?;
    speakers.extend(if texts.is_dir() { names(&texts, true)? } else { Vec::new() });
    speakers.sort();
    speakers.dedup();
    let mut rows = Rows::new(root);
    for speaker in speakers {
        let mut pairs = Pairs::new();
        for (dir, ending, is_audio) in [(&audio, ending, true), (&texts, ".txt", false)] {
            let dir = dir.join(&speaker);
            let found = if dir.is_dir() { names(&dir, false)? } else { Vec::new() };
            for name in found {
                if let Some(id) = name.strip_suffix(ending) {
                    let pair = pairs.entry(id.to_owned()).or_default();
                    *(if is_audio { &mut pair.0 } else { &mut pair.1 }) = Some(dir.join(&name));
                }
            }
        }
        take_pairs(&mut rows, root, pairs, &speaker, None);
    }
    Ok(rows.into_manifest())
}
