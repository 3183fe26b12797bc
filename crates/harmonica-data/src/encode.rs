//! One row of a manifest: read, decoded, conditioned, measured and, where it may be trained on, encoded.
//!
//! In: an [`Utterance`]; out: a [`ShardRow`] and codes. Invariant: the result depends on the row, its audio and the settings
//! only; what an earlier cache already knows about the same audio is the same result.

use crate::quality::Decision;
use crate::reuse::Reuse;
use crate::shard::ShardRow;
use crate::stages::{StageSeconds, clocked};
use crate::{DataError, Manifest, QualityFilter, Utterance};
use harmonica_audio::{QualityStats, condition, load_bytes, measure};
use harmonica_codec::AudioCodec;
use harmonica_config_schema::{AudioConfig, ExperimentConfig, Fingerprint};
use harmonica_text::TextTokenizer;

/// Changes when the same audio is measured differently.
const MEASURES: &str = "measures-2";

/// Everything that rows are encoded with.
pub(crate) struct RowEncoder<'a> {
    pub(crate) manifest: &'a Manifest,
    pub(crate) config: &'a ExperimentConfig,
    pub(crate) tokenizer: &'a TextTokenizer,
    pub(crate) filter: &'a QualityFilter,
    /// Absent where figures are enough.
    pub(crate) codec: Option<&'a dyn AudioCodec>,
    pub(crate) reuse: &'a Reuse,
}

/// What became of a row.
pub(crate) struct EncodedRow {
    /// What its shard says about it; `first_code` is for the shard to set.
    pub(crate) row: ShardRow,
    /// Its codes `[Q, T]`.
    pub(crate) codes: Vec<u16>,
    /// Whether an earlier cache knew it.
    pub(crate) is_reused: bool,
    pub(crate) seconds: StageSeconds,
}

/// Hash of everything but a row and its audio that decides its figures and codes.
pub(crate) fn settings(config: &AudioConfig, codec: &dyn AudioCodec) -> Fingerprint {
    Fingerprint::of(&(MEASURES, config, codec.fingerprint(), codec.spec()))
}

/// Hash of the audio of a row; `None` where it cannot be read.
pub(crate) fn source(manifest: &Manifest, utterance: &Utterance, follow: bool) -> Option<Fingerprint> {
    Some(source_of(utterance, &manifest.audio_bytes(utterance, follow).ok()?))
}

fn source_of(utterance: &Utterance, bytes: &[u8]) -> Fingerprint {
    let whole = Fingerprint::of_bytes(bytes);
    utterance.segment.map_or(whole.clone(), |segment| Fingerprint::of(&(whole, segment)))
}

impl RowEncoder<'_> {
    /// Reads, measures and encodes a row.
    pub(crate) fn encode(&self, utterance: &Utterance) -> EncodedRow {
        let mut done = EncodedRow {
            row: ShardRow {
                id: utterance.id.clone(),
                source: None,
                stats: None,
                fault: None,
                first_code: 0,
                n_frames: 0,
                n_samples: 0,
            },
            codes: Vec::new(),
            is_reused: false,
            seconds: StageSeconds::default(),
        };
        if let Err((name, detail)) = self.fill(utterance, &mut done) {
            done.row.fault = Some((name.to_owned(), detail));
        }
        done
    }

    fn fill(&self, utterance: &Utterance, done: &mut EncodedRow) -> Result<(), (&'static str, String)> {
        let unreadable = |error: &dyn std::error::Error| ("unreadable_audio", error.to_string());
        let EncodedRow { row, codes, is_reused, seconds } = done;
        let bytes = clocked(&mut seconds.read, || {
            let bytes = self.manifest.audio_bytes(utterance, self.config.data.follow_links_outside);
            let bytes = bytes.map_err(|error| match error {
                DataError::OutsideCorpus { .. } => ("outside_corpus", error.to_string()),
                other => unreadable(&other),
            })?;
            row.source = Some(source_of(utterance, &bytes));
            Ok(bytes)
        })?;
        let known = row.source.as_ref().and_then(|source| self.reuse.find(source));
        if let Some((known, known_codes)) = known
            && (known.n_frames > 0
                || known.fault.is_some()
                || !self.is_wanted(utterance, known.stats.as_ref()))
        {
            row.stats = known.stats;
            row.fault.clone_from(&known.fault);
            if known.stats.is_some() && self.is_wanted(utterance, known.stats.as_ref()) {
                (row.n_frames, row.n_samples) = (known.n_frames, known.n_samples);
                *codes = known_codes;
            }
            *is_reused = true;
            return Ok(());
        }
        let waveform = clocked(&mut seconds.decode, || load_bytes(&bytes, &utterance.place()));
        let waveform = waveform.map_err(|error| unreadable(&error))?;
        let (waveform, stats) = clocked(&mut seconds.measure, || {
            let waveform = condition(utterance.cut(waveform), &self.config.data.audio)
                .map_err(|error| unreadable(&error))?;
            let stats = measure(&waveform);
            Ok((waveform, stats))
        })?;
        row.stats = Some(stats);
        let Some(codec) = self.codec.filter(|_| self.is_wanted(utterance, row.stats.as_ref())) else {
            return Ok(());
        };
        let tokens = clocked(&mut seconds.encode, || codec.encode(&waveform));
        let tokens = tokens.map_err(|error| ("refused_by_codec", error.to_string()))?;
        (row.n_frames, row.n_samples) = (tokens.n_frames(), tokens.n_samples());
        *codes = tokens.codes().to_vec();
        Ok(())
    }

    /// Whether a row with these figures is worth encoding: nothing that it alone can tell speaks against it.
    fn is_wanted(&self, utterance: &Utterance, stats: Option<&QualityStats>) -> bool {
        let (Some(stats), Ok(text)) = (stats, self.tokenizer.tokenize(&utterance.text)) else { return false };
        match self.filter.decision(&utterance.id) {
            Some(Decision::Keep) => true,
            Some(Decision::Drop) => false,
            None => self.filter.judge(stats, text.normalized.chars().count()).kept(),
        }
    }
}
