//! Failures planted in recordings of four voices are found, and the recordings themselves are clean.

use harmonica_audio::{Waveform, load};
use harmonica_config_schema::{CodebookIndex, RandomStream};
use harmonica_data::parse_index;
use harmonica_eval::{FailureInput, FailureKind, TokenTrack, find_failures};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Planted failures, and clean recordings, for each detector.
const N: usize = 200;

#[derive(Clone)]
struct Recording {
    id: String,
    text: String,
    speaker: String,
    waveform: Waveform,
}

/// Whether a text says some words twice in a row.
fn repeats(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    (1..=words.len() / 2).any(|n| words.windows(2 * n).any(|w| w[..n] == w[n..]))
}

/// The held-out utterances of all voices, then training ones: those that repeat words, and others up to [`N`].
fn recordings() -> Vec<Recording> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../assets/demo-corpus");
    let index = dir.join("index.tsv");
    let rows = parse_index(&index, &std::fs::read_to_string(&index).unwrap()).unwrap();
    let mut streams: BTreeMap<String, Waveform> = BTreeMap::new();
    let (held_out, training): (Vec<_>, Vec<_>) = rows.into_iter().partition(|r| r.stream.contains("test"));
    let (repeating, plain): (Vec<_>, Vec<_>) = training.into_iter().partition(|r| repeats(&r.utterance.text));
    let step = plain.len() / (N - held_out.len());
    let chosen = held_out.into_iter().chain(repeating).chain(plain.into_iter().step_by(step)).take(N);
    let mut all: Vec<Recording> = chosen
        .map(|row| {
            let stream =
                streams.entry(row.stream.clone()).or_insert_with(|| load(&dir.join(&row.stream)).unwrap());
            Recording {
                waveform: stream.slice(row.first_sample, row.first_sample + row.n_samples),
                id: row.utterance.id,
                text: row.utterance.text,
                speaker: row.utterance.speaker,
            }
        })
        .collect();
    assert_eq!(all.len(), N);
    RandomStream::new(5, "order", &[]).shuffle(&mut all);
    all
}

fn found(input: &FailureInput<'_>) -> Vec<String> {
    find_failures(input).into_iter().map(|f| f.failure).collect()
}

fn level(samples: &[f32]) -> f32 {
    (samples.iter().map(|s| s * s).sum::<f32>() / samples.len().max(1) as f32).sqrt()
}

/// White or pink noise, or noise with the envelope of the speech.
fn noise(n: usize, like: &[f32], kind: usize, draw: &mut RandomStream) -> Vec<f32> {
    let white: Vec<f32> = (0..n).map(|_| draw.normal() as f32).collect();
    match kind {
        0 => white,
        1 => {
            // Kellet's filter: three poles whose sum falls by 3 dB an octave.
            let mut b = [0.0_f32; 3];
            let pink = |w: &f32| {
                b = [0.99765 * b[0] + w * 0.0990, 0.963 * b[1] + w * 0.2965, 0.57 * b[2] + w * 1.0527];
                b.iter().sum::<f32>() + w * 0.1848
            };
            white.iter().map(pink).collect()
        }
        _ => white
            .iter()
            .enumerate()
            .map(|(i, w)| w * level(&like[i / 320 * 320..][..320.min(n - i / 320 * 320)]))
            .collect(),
    }
}

fn scaled(samples: &[f32], gain: f32) -> Vec<f32> {
    samples.iter().map(|s| s * gain).collect()
}

/// The `i`-th recording with a failure in it, or nothing where this recording cannot carry it.
fn plant(kind: FailureKind, i: usize, all: &[Recording]) -> Waveform {
    let mut draw = RandomStream::new(9, kind.name(), &[i as u64]);
    let clean = &all[i % all.len()];
    let (speech, rate) = (clean.waveform.samples(), clean.waveform.sample_rate_hz());
    let n = speech.len();
    let seconds = |s: f64| (s * f64::from(rate)) as usize;
    let samples = match kind {
        FailureKind::Silence => match i % 4 {
            0 => vec![0.0; n],
            1 => scaled(
                speech,
                10_f32.powf(-(40.0 + 10.0 * draw.uniform() as f32) / 20.0) / clean.waveform.peak(),
            ),
            2 => (0..n).map(|_| draw.normal() as f32 * 1e-3).collect(),
            _ => {
                let at = draw.below(n);
                let gap = vec![0.0; seconds(2.2 + 2.0 * draw.uniform())];
                [&speech[..at], &gap, &speech[at..]].concat()
            }
        },
        FailureKind::Clipping => {
            let over_db = 4.0 + 14.0 * draw.uniform() as f32;
            let gain = 10_f32.powf(over_db / 20.0) / clean.waveform.peak();
            let ceiling = if i.is_multiple_of(2) { 1.0 } else { 0.3 + 0.6 * draw.uniform() as f32 };
            speech.iter().map(|s| (s * gain).clamp(-1.0, 1.0) * ceiling).collect()
        }
        FailureKind::Looping => {
            let phrase = seconds(0.45 + 0.6 * draw.uniform()).min(n * 3 / 4);
            // A phrase sounds: it is cut where speech is, not in a pause.
            let loudness = level(speech);
            let from = (0..100).map(|_| draw.below(n - phrase)).find(|from| {
                let parts = speech[*from..from + phrase].chunks(seconds(0.05));
                parts.clone().filter(|c| level(c) > 0.2 * loudness).count() * 10 > parts.count() * 8
            });
            let (from, to) = from.map_or((0, n), |from| (from, from + phrase));
            let mut samples = speech[..to].to_vec();
            for _ in 0..1 + i % 3 {
                let gain = 10_f32.powf((draw.uniform() as f32 - 0.5) * 6.0 / 20.0);
                samples.extend(scaled(&speech[from..to], gain));
            }
            samples.extend(&speech[to..]);
            samples.iter().map(|s| s + draw.normal() as f32 * 1e-3).collect()
        }
        FailureKind::Noise => {
            let hiss = noise(n, speech, i % 3, &mut draw);
            let gain = level(speech) / level(&hiss);
            // Every second one has the speech in it still, at least 6 dB under the noise.
            let kept = if i.is_multiple_of(2) { 0.0 } else { draw.uniform() as f32 * 0.5 };
            speech.iter().zip(&hiss).map(|(s, h)| 0.7 * (s * kept + h * gain)).collect()
        }
        FailureKind::Babble => {
            let others = all.iter().cycle().skip(i + 1).filter(|o| o.speaker == clean.speaker);
            let mut samples = speech.to_vec();
            for other in others {
                if samples.len() > n * 4 && samples.len() > seconds(6.0) {
                    break;
                }
                samples.extend(other.waveform.samples());
            }
            samples
        }
        FailureKind::Truncation => {
            let frame = seconds(0.01);
            let levels: Vec<f32> = speech.chunks_exact(frame).map(level).collect();
            let loud = levels.iter().copied().fold(0.0, f32::max) * 0.25;
            let places: Vec<usize> = (levels.len() * 3 / 10..levels.len() * 9 / 10)
                .filter(|t| levels[*t] > loud)
                .map(|t| (t + 1) * frame)
                .collect();
            if i.is_multiple_of(4) {
                // Faded out after a quarter of the text.
                let to = n / 4;
                let fade = |(k, s): (usize, &f32)| s * ((to - k) as f32 / frame as f32 / 3.0).min(1.0);
                let mut samples: Vec<f32> = speech[..to].iter().enumerate().map(fade).collect();
                samples.extend(vec![0.0; frame]);
                samples
            } else {
                speech[..places[draw.below(places.len())]].to_vec()
            }
        }
    };
    Waveform::new(samples, rate)
}

#[test]
fn planted_failures_are_found_in_every_voice_and_recordings_are_clean() {
    let all = recordings();
    let n_repeating = all.iter().filter(|r| repeats(&r.text)).count();
    // A repeat that is planted where the text repeats words need not be a failure.
    let steady: Vec<Recording> = all.iter().filter(|r| !repeats(&r.text)).cloned().collect();
    let kinds = [
        FailureKind::Silence,
        FailureKind::Clipping,
        FailureKind::Looping,
        FailureKind::Noise,
        FailureKind::Babble,
        FailureKind::Truncation,
    ];
    let mut alarms: BTreeMap<String, usize> = BTreeMap::new();
    for clean in &all {
        for finding in find_failures(&FailureInput::new(&clean.waveform, &clean.text)) {
            println!("false alarm: {} `{}` {finding:?}", clean.id, clean.text);
            *alarms.entry(finding.failure).or_default() += 1;
        }
    }
    println!("{n_repeating} of {N} clean texts repeat a word at once");
    let mut bad = Vec::new();
    for kind in kinds {
        let mut hits = 0;
        for i in 0..N {
            let waveform = plant(kind, i, &steady);
            let text = &steady[i % steady.len()].text;
            let names = found(&FailureInput::new(&waveform, text));
            if names.iter().any(|n| n == kind.name()) {
                hits += 1;
            } else {
                println!("missed: {} {i} {} `{text}` {names:?}", kind.name(), steady[i % steady.len()].id);
            }
        }
        let alarms = alarms.get(kind.name()).copied().unwrap_or_default();
        println!("{}: {hits} of {N} found, {alarms} false alarms of {N}", kind.name());
        if hits * 100 < N * 99 || alarms * 100 > N {
            bad.push(kind.name());
        }
    }
    assert!(bad.is_empty(), "{bad:?}");
}

/// What the codec makes of clean recordings stays clean, and codes that say a phrase again are found.
#[test]
fn loops_are_found_in_codes_and_what_the_codec_speaks_is_clean() {
    let codec = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../assets/demo-bundle/codec");
    let codec = harmonica_codec::open(&codec).unwrap();
    let frame_s = codec.spec().hop_samples as f64 / f64::from(codec.spec().sample_rate_hz);
    let (mut hits, mut alarms, mut spoken) = (0, 0, BTreeMap::new());
    for (i, clean) in recordings().iter().enumerate() {
        let tokens = codec.encode(&clean.waveform).unwrap();
        let codes: Vec<i32> = tokens.codebook(CodebookIndex::FIRST).iter().map(|c| i32::from(*c)).collect();
        let input = FailureInput::new(&clean.waveform, &clean.text);
        let track = |codes| Some(TokenTrack { codes, frame_s });
        let names = found(&FailureInput { tokens: track(&codes), ..input });
        alarms += usize::from(names.contains(&"looping".to_owned()));
        let mut draw = RandomStream::new(9, "token loops", &[i as u64]);
        let phrase = 12 + draw.below((codes.len() / 2).saturating_sub(11).max(1));
        let from = draw.below(codes.len() - phrase);
        let looped =
            [&codes[..from], &codes[from..from + phrase].repeat(2 + i % 3), &codes[from + phrase..]].concat();
        let names = found(&FailureInput { tokens: track(&looped), text: None, ..input });
        hits += usize::from(names.contains(&"looping".to_owned()));
        let again = codec.decode(&tokens).unwrap();
        for name in found(&FailureInput::new(&again, &clean.text)) {
            println!("after the codec: {} {name}", clean.id);
            *spoken.entry(name).or_insert(0) += 1;
        }
    }
    println!("codes: {hits} of {N} loops found, {alarms} false alarms; after the codec: {spoken:?}");
    assert!(hits * 100 >= N * 99 && alarms * 100 <= N);
    assert!(spoken.values().all(|n: &usize| n * 100 <= N), "{spoken:?}");
}
