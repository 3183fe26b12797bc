//! Shards one after the other: all processors encode the rows of one while the one before is being written.
//!
//! In: the shards of a share; out: each of them on its bench, made here or by another process. Invariant: a claim is held until its
//! shard stands under its name; at most three shards are in memory: one that is encoded, one that waits, one that is written.

use crate::encode::RowEncoder;
use crate::shard::{ShardRow, shard_bytes};
use crate::stages::{StageSeconds, clocked};
use crate::tally::Tally;
use crate::work::{Bench, ShardShare};
use crate::{DataError, Effort};
use harmonica_config_schema::Fingerprint;
use harmonica_storage::{Claim, StorageError, replace, require_space};
use rayon::prelude::*;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// How long to wait for shards that other processes make before looking again.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);

/// Where shards are made.
pub(crate) struct ShardLine<'a, P> {
    pub(crate) encoder: &'a RowEncoder<'a>,
    pub(crate) bench: &'a Bench,
    /// Everything but the rows that decides the codes.
    pub(crate) settings: &'a Fingerprint,
    pub(crate) tally: &'a Tally<P>,
}

/// A shard that is encoded and not yet written.
struct Encoded {
    shard: usize,
    rows: Vec<(ShardRow, Vec<u16>)>,
    claim: Claim,
}

impl<P: FnMut(&Effort) + Send> ShardLine<'_, P> {
    /// Makes the shards of a share that nobody else makes and waits for the others, unless the whole cache is finished meanwhile.
    pub(crate) fn run(&self, share: ShardShare, is_finished: impl Fn() -> bool) -> Result<(), DataError> {
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(1);
            let writer = scope.spawn(|| self.write_all(receiver));
            let encoded = self.encode_all(share, is_finished, sender);
            match writer.join() {
                Ok(written) => encoded.and(written),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    fn encode_all(
        &self,
        share: ShardShare,
        is_finished: impl Fn() -> bool,
        sender: SyncSender<Encoded>,
    ) -> Result<(), DataError> {
        let bench = self.bench;
        let mut open = bench.shards(share);
        while !open.is_empty() && !is_finished() {
            // Whoever finished another cache at this place may have cleared a bench that nobody held at that moment.
            if !bench.dir().exists() {
                bench.open()?;
                open = bench.shards(share);
            }
            let n_open = open.len();
            let mut left = Vec::new();
            for shard in open {
                let is_found = || bench.shard(shard).exists();
                let found = || self.tally.add(|effort| effort.rows_done += bench.rows(shard).len());
                if is_found() {
                    found();
                    continue;
                }
                let Some(claim) = bench.claim(Some(shard))? else {
                    left.push(shard);
                    continue;
                };
                // Between a look and a claim another process may have made it, and even the whole cache.
                if is_found() {
                    found();
                } else if !is_finished() && sender.send(self.encode(shard, claim)).is_err() {
                    // The writer gave up; it says why.
                    return Ok(());
                }
            }
            open = left;
            if open.len() == n_open {
                std::thread::sleep(PATIENCE);
            }
        }
        Ok(())
    }

    fn encode(&self, shard: usize, claim: Claim) -> Encoded {
        let rows = self.encoder.manifest.utterances[self.bench.rows(shard)]
            .par_iter()
            // One at a time: utterances differ in length, and at the end of a shard nobody should wait for a whole pile.
            .with_max_len(1)
            .map(|utterance| {
                let done = self.encoder.encode(utterance);
                self.tally.row(&done.row, done.is_reused, &done.seconds);
                (done.row, done.codes)
            })
            .collect();
        Encoded { shard, rows, claim }
    }

    fn write_all(&self, receiver: Receiver<Encoded>) -> Result<(), DataError> {
        for encoded in receiver {
            self.write(encoded)?;
        }
        Ok(())
    }

    fn write(&self, encoded: Encoded) -> Result<(), DataError> {
        let Encoded { shard, rows, claim } = encoded;
        let mut seconds = StageSeconds::default();
        let path = self.bench.shard(shard);
        let written = clocked(&mut seconds.write, || {
            let mut codes = Vec::new();
            let rows = rows.into_iter().map(|(row, its_codes)| {
                let row = ShardRow { first_code: codes.len(), ..row };
                codes.extend(its_codes);
                row
            });
            let rows = rows.collect();
            let n_codebooks = self.encoder.codec.map_or(0, |codec| codec.spec().n_codebooks);
            let bytes = shard_bytes(self.settings, n_codebooks, rows, &codes)
                .map_err(|e| StorageError::encode(&path, e))?;
            require_space(&path, bytes.len() as u64)?;
            replace(&path, &bytes)
        });
        written?;
        drop(claim);
        self.tally.add(|effort| {
            effort.stages.add(&seconds);
            effort.shards_made += 1;
        });
        Ok(())
    }
}
