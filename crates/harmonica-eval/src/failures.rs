//! Failures that a listener notices at once, each with what was measured, where, and how much is too much.
//!
//! In: a waveform, and what is known of it: the text that it should say, the codes that it was decoded from. Out:
//! [`FailureFinding`]s. What needs a text or codes is looked for only where there are some.
//! Invariant: the same input gives the same findings, in the order of [`FailureKind`].

use crate::activity::{Activity, SILENCE_DBFS};
use crate::prosody::n_characters;
use crate::repeats::{OwnRepeats, repeated_sound, repeated_tokens};
use harmonica_audio::{Waveform, measure, pitch_track};
use harmonica_config_schema::record::{FailureFinding, JudgedUtterance};

/// Least time that must sound, in seconds.
const MIN_SOUND_S: f64 = 0.1;
/// Longest silence within, before or after speech, in seconds.
const MAX_SILENCE_S: f64 = 2.0;
/// Share of samples in flat tops above which a listener hears clipping.
const MAX_CLIPPED_SHARE: f64 = 0.001;
/// Share of the power that no period of 60 to 500 Hz explains, above which it is noise. Recordings of the demo corpus have at most
/// 0.35, what the embedded codec makes of them at most 0.53, noise 6 dB over speech at least 0.66, noise alone at least 0.82.
const MAX_APERIODIC_SHARE: f64 = 0.6;
/// Sounding time that any text may take, in seconds, ...
const BABBLE_FREE_S: f64 = 0.5;
/// ... and what each of its characters may take beyond that.
const BABBLE_S_PER_CHARACTER: f64 = 0.12;
/// Name in findings of what [`unintelligible`] measures.
pub(crate) const WORD_ERRORS: &str = "word error rate";
/// Word error rate from which speech counts as unintelligible; speech of other words has about 0.85.
const UNINTELLIGIBLE_RATE: f64 = 0.75;
/// Words below which one misheard word would decide about intelligibility.
const UNINTELLIGIBLE_MIN_WORDS: usize = 3;
/// Level of the last 10 ms against the loud frames above which speech ends within a sound, in dB.
const MAX_END_DB: f64 = -20.0;
/// Characters a second of sounding time above which a part of the text must be missing.
const MAX_CHARACTERS_PER_S: f64 = 25.0;

/// A failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureKind {
    /// Nothing to hear for a long time.
    Silence,
    /// Samples cut flat.
    Clipping,
    /// A phrase said again at once, or codes that go in circles.
    Looping,
    /// Hiss instead of speech, or louder than it.
    Noise,
    /// Far longer than the text, or nothing that a recognizer understands. Speech of the right length that no recognizer was
    /// asked about is never called babble.
    Babble,
    /// Ends within a sound, or is far too short for the text.
    Truncation,
}

impl FailureKind {
    /// Name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Clipping => "clipping",
            Self::Looping => "looping",
            Self::Noise => "noise",
            Self::Babble => "babble",
            Self::Truncation => "truncation",
        }
    }

    fn finding(self, measure: &str, unit: &str, value: f64, threshold: f64) -> FailureFinding {
        FailureFinding {
            failure: self.name().to_owned(),
            measure: measure.to_owned(),
            value,
            threshold,
            unit: unit.to_owned(),
            start_s: None,
            end_s: None,
        }
    }
}

/// Codes of one codebook over time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenTrack<'a> {
    /// The codes.
    pub codes: &'a [i32],
    /// Length of a frame, in seconds.
    pub frame_s: f64,
}

/// What is judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FailureInput<'a> {
    /// The sound.
    pub waveform: &'a Waveform,
    /// What it should say.
    pub text: Option<&'a str>,
    /// Codes of codebook 1 that it was decoded from.
    pub tokens: Option<TokenTrack<'a>>,
}

impl<'a> FailureInput<'a> {
    /// A sound and what it should say.
    pub fn new(waveform: &'a Waveform, text: &'a str) -> Self {
        Self { waveform, text: Some(text), tokens: None }
    }
}

/// All failures of a waveform that can be found without a recognizer. A waveform without any sound is silent and nothing else.
pub fn find_failures(input: &FailureInput<'_>) -> Vec<FailureFinding> {
    let activity = Activity::of(input.waveform);
    let mut found = silence(input.waveform, &activity);
    if activity.active_s() < MIN_SOUND_S {
        return found;
    }
    found.extend(clipping(input.waveform));
    found.extend(looping(input, &activity));
    let noise = noise(input.waveform);
    let is_noise = noise.is_some();
    found.extend(noise);
    // How long speech takes and how it ends says something of speech alone.
    if !is_noise {
        found.extend(input.text.and_then(|text| too_long(&activity, text)));
        found.extend(truncation(input.text, &activity));
    }
    found
}

fn silence(waveform: &Waveform, activity: &Activity) -> Vec<FailureFinding> {
    let level = measure(waveform).rms_db;
    let sound_s = activity.active_s();
    if waveform.samples().is_empty() || level < SILENCE_DBFS {
        return vec![FailureKind::Silence.finding("level", "dBFS", level, SILENCE_DBFS)];
    }
    if sound_s < MIN_SOUND_S {
        return vec![FailureKind::Silence.finding("time that sounds", "s", sound_s, MIN_SOUND_S)];
    }
    let longest = activity.silences().into_iter().max_by_key(|(from, to)| to - from);
    let (from, to) = longest.map_or((0.0, 0.0), |(a, b)| (Activity::seconds(a), Activity::seconds(b)));
    if to - from < MAX_SILENCE_S {
        return Vec::new();
    }
    let finding = FailureKind::Silence.finding("longest silence", "s", to - from, MAX_SILENCE_S);
    vec![FailureFinding { start_s: Some(from), end_s: Some(to), ..finding }]
}

/// Share of samples in runs of at least three at the waveform's own peak: what was cut and then made quieter is cut still.
fn clipping(waveform: &Waveform) -> Option<FailureFinding> {
    let samples = waveform.samples();
    let level = waveform.peak() * 0.9995;
    let (mut clipped, mut run, mut first, mut last) = (0, 0, None, 0);
    for (i, sample) in samples.iter().map(|s| s.abs()).chain([0.0]).enumerate() {
        if sample >= level {
            run += 1;
            continue;
        }
        if run >= 3 {
            clipped += run;
            first.get_or_insert(i - run);
            last = i;
        }
        run = 0;
    }
    let share = clipped as f64 / samples.len().max(1) as f64;
    let seconds = |i: usize| i as f64 / f64::from(waveform.sample_rate_hz());
    (share > MAX_CLIPPED_SHARE).then(|| FailureFinding {
        start_s: first.map(seconds),
        end_s: Some(seconds(last)),
        ..FailureKind::Clipping.finding("samples in flat tops", "share", share, MAX_CLIPPED_SHARE)
    })
}

fn looping(input: &FailureInput<'_>, activity: &Activity) -> Vec<FailureFinding> {
    let own = input.text.map(|text| OwnRepeats::of(text, activity.active_s())).unwrap_or_default();
    let mut found = Vec::new();
    if let Some(repeat) = input.tokens.and_then(|t| repeated_tokens(t.codes, t.frame_s, &own)) {
        found.push(FailureFinding {
            start_s: Some(repeat.start_s),
            end_s: Some(repeat.end_s),
            ..FailureKind::Looping.finding("codes in circles", "s", repeat.value, repeat.threshold)
        });
    }
    if let Some(repeat) = repeated_sound(input.waveform, activity, &own) {
        found.push(FailureFinding {
            start_s: Some(repeat.start_s),
            end_s: Some(repeat.end_s),
            ..FailureKind::Looping.finding("phrase said again", "correlation", repeat.value, repeat.threshold)
        });
    }
    found
}

fn noise(waveform: &Waveform) -> Option<FailureFinding> {
    let share = pitch_track(waveform).aperiodic_share()?;
    (share > MAX_APERIODIC_SHARE)
        .then(|| FailureKind::Noise.finding("power without a period", "share", share, MAX_APERIODIC_SHARE))
}

fn too_long(activity: &Activity, text: &str) -> Option<FailureFinding> {
    let allowed = BABBLE_FREE_S + BABBLE_S_PER_CHARACTER * n_characters(text) as f64;
    let sound_s = activity.active_s();
    (sound_s > allowed)
        .then(|| FailureKind::Babble.finding("time that sounds, for this text", "s", sound_s, allowed))
}

/// Babble by what a recognizer heard: only it can tell speech of the right length from speech-like sound.
pub(crate) fn unintelligible(utterance: &JudgedUtterance) -> Option<FailureFinding> {
    let edits: usize = utterance.word_errors?.iter().sum();
    let rate = edits as f64 / utterance.n_words.max(1) as f64;
    (utterance.n_words >= UNINTELLIGIBLE_MIN_WORDS && rate >= UNINTELLIGIBLE_RATE)
        .then(|| FailureKind::Babble.finding(WORD_ERRORS, "share", rate, UNINTELLIGIBLE_RATE))
}

fn truncation(text: Option<&str>, activity: &Activity) -> Vec<FailureFinding> {
    let mut found = Vec::new();
    let n = activity.levels_db.len();
    if let Some(last) = activity.levels_db.last()
        && last - activity.loud_db > MAX_END_DB
    {
        let finding = FailureKind::Truncation.finding(
            "level of the end against loud frames",
            "dB",
            last - activity.loud_db,
            MAX_END_DB,
        );
        let (start_s, end_s) = (Activity::seconds(n - 1), Activity::seconds(n));
        found.push(FailureFinding { start_s: Some(start_s), end_s: Some(end_s), ..finding });
    }
    let rate = text.map(|t| n_characters(t) as f64 / activity.active_s());
    if let Some(rate) = rate.filter(|r| *r > MAX_CHARACTERS_PER_S) {
        found.push(FailureKind::Truncation.finding(
            "characters of the text a second of sound",
            "characters/s",
            rate,
            MAX_CHARACTERS_PER_S,
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize, gain: f32, seed: u64) -> Vec<f32> {
        let mut state = seed;
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((state >> 33) as f32 / (1_u64 << 30) as f32 - 1.0) * gain
            })
            .collect()
    }

    /// Syllables of changing pitch and length.
    fn speech(n_syllables: usize, seed: u64) -> Vec<f32> {
        let draws = noise(n_syllables * 3, 1.0, seed);
        let mut out = Vec::new();
        for d in draws.chunks_exact(3) {
            let (pitch, length) = (150.0 + 60.0 * d[0], 2400.0 + 1200.0 * d[1]);
            let formant = 8.0 + 6.0 * d[2];
            out.extend((0..length as usize).map(|i| {
                let t = i as f32 / 16_000.0;
                let envelope = (std::f32::consts::PI * i as f32 / length).sin();
                let buzz = |k: i32| {
                    (std::f32::consts::TAU * pitch * k as f32 * t).sin() / (1.0 + (k as f32 - formant).abs())
                };
                (1..24).map(buzz).sum::<f32>() * 0.15 * envelope
            }));
        }
        out.extend([0.0; 480]);
        out
    }

    #[test]
    fn planted_failures_are_found_and_clean_speech_is_not() {
        let kinds = |samples: Vec<f32>, text: Option<&str>| -> Vec<String> {
            let waveform = Waveform::new(samples, 16_000);
            let input = FailureInput { waveform: &waveform, text, tokens: None };
            find_failures(&input).into_iter().map(|f| f.failure).collect()
        };
        let text = Some("paint the purple garden near");
        for seed in 1..20 {
            assert!(kinds(speech(12, seed), text).is_empty(), "clean {seed}");
            assert_eq!(kinds(speech(4, seed).repeat(2), None), ["looping"], "twice {seed}");
            assert_eq!(kinds(speech(2, seed).repeat(5), None), ["looping"], "loop {seed}");
            assert_eq!(kinds(noise(24_000, 0.2, seed), text), ["noise"], "noise {seed}");
            assert_eq!(kinds(speech(60, seed), text), ["babble"], "long {seed}");
            let cut = speech(12, seed);
            assert_eq!(kinds(cut[..cut.len() - 1080].to_vec(), text), ["truncation"], "cut {seed}");
            let clipped = speech(12, seed).into_iter().map(|s| (s * 12.0).clamp(-1.0, 1.0) * 0.5).collect();
            assert!(kinds(clipped, text).contains(&"clipping".to_owned()), "clipped {seed}");
        }
        assert_eq!(kinds(vec![0.0; 16_000], text), ["silence"]);
        assert_eq!(kinds(Vec::new(), None), ["silence"]);
    }

    #[test]
    fn what_no_recognizer_understands_is_babble() {
        let record = |errors: [usize; 3], n_words| JudgedUtterance {
            word_errors: Some(errors),
            n_words,
            ..crate::judgement::unmeasured("", "", 1.0)
        };
        assert!(unintelligible(&record([2, 1, 0], 4)).is_some_and(|f| (f.value - 0.75).abs() < 1e-12));
        assert!(unintelligible(&record([2, 0, 0], 4)).is_none());
        assert!(unintelligible(&record([1, 0, 0], 1)).is_none());
        assert!(unintelligible(&crate::judgement::unmeasured("", "one two three", 1.0)).is_none());
    }
}
