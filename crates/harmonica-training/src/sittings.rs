//! The sittings of a run, in `environment.json`: a line for each process that trained it.
//!
//! In: the run directory under its lock; out: the record with one sitting more, or with its last one ended. Invariant: a
//! sitting is never lost or changed once it has ended; one whose process died without a word says so as soon as another
//! process has the lock.

use crate::checkpoint::json;
use crate::{RunDir, TrainingError};
use harmonica_config_schema::UtcTime;
use harmonica_config_schema::record::{
    ENDED_UNKNOWN, Environment, EnvironmentRecord, FORMAT_VERSION, Sitting,
};
use std::time::Instant;

pub(crate) const ENVIRONMENT: &str = "environment.json";
/// Where a record goes that cannot be read, before a new one takes its place.
const UNREADABLE: &str = "environment-unreadable.json";

/// The sitting of this process.
#[derive(Debug)]
pub(crate) struct OpenSitting {
    run: RunDir,
    record: EnvironmentRecord,
    started: Instant,
}

impl OpenSitting {
    /// Adds a sitting that goes on after `from_update` updates.
    pub(crate) fn begin(
        run: &RunDir,
        from_update: u64,
        environment: Environment,
    ) -> Result<Self, TrainingError> {
        let mut record =
            read(run)?.unwrap_or(EnvironmentRecord { format_version: FORMAT_VERSION, sittings: Vec::new() });
        record.sittings.push(Sitting {
            started: UtcTime::now(),
            ended: None,
            from_update,
            to_update: None,
            duration_s: None,
            ended_because: String::new(),
            environment,
        });
        write(run, &record)?;
        Ok(Self { run: run.clone(), record, started: Instant::now() })
    }

    /// Says that it ended after `to_update` updates, and why.
    pub(crate) fn end(mut self, to_update: u64, because: &str) -> Result<(), TrainingError> {
        if let Some(sitting) = self.record.sittings.last_mut() {
            sitting.ended = Some(UtcTime::now());
            sitting.to_update = Some(to_update);
            sitting.duration_s = Some(self.started.elapsed().as_secs_f64());
            because.clone_into(&mut sitting.ended_because);
        }
        write(&self.run, &self.record)
    }
}

/// Ends the last sitting if its process did not. To be called before the metrics are cut back to a checkpoint.
pub(crate) fn end_of_the_dead(run: &RunDir) -> Result<(), TrainingError> {
    let Some(mut record) = read(run)? else { return Ok(()) };
    let Some(sitting) = record.sittings.last_mut().filter(|s| s.ended_because.is_empty()) else {
        return Ok(());
    };
    sitting.to_update = Some(run.updates_told_of().max(sitting.from_update));
    ENDED_UNKNOWN.clone_into(&mut sitting.ended_because);
    write(run, &record)
}

/// The record, if there is one that can be read. One that cannot is put aside: it must not keep a run from going on.
fn read(run: &RunDir) -> Result<Option<EnvironmentRecord>, TrainingError> {
    match run.record(ENVIRONMENT) {
        Ok(record) => Ok(record),
        Err(reason) => {
            let root = run.root().display();
            tracing::warn!("`{root}/{ENVIRONMENT}` {reason}; it is put aside as {UNREADABLE}");
            let path = run.root().join(ENVIRONMENT);
            // Bytes that cannot even be read cannot be kept.
            run.replace(UNREADABLE, &std::fs::read(path).unwrap_or_default())?;
            Ok(None)
        }
    }
}

fn write(run: &RunDir, record: &EnvironmentRecord) -> Result<(), TrainingError> {
    run.replace(ENVIRONMENT, &json(record, &run.root().join(ENVIRONMENT))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::observe;

    fn sittings(run: &RunDir) -> Vec<(u64, Option<u64>, String)> {
        let record: EnvironmentRecord = run.record(ENVIRONMENT).unwrap().unwrap();
        record.sittings.into_iter().map(|s| (s.from_update, s.to_update, s.ended_because)).collect()
    }

    #[test]
    fn a_run_tells_every_sitting_and_which_of_them_was_killed() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::new(dir.path()).unwrap();
        end_of_the_dead(&run).unwrap();
        OpenSitting::begin(&run, 0, observe("cpu", None)).unwrap().end(4, "it was asked to stop").unwrap();
        drop(OpenSitting::begin(&run, 4, observe("cpu", None)).unwrap());
        std::fs::write(
            dir.path().join("metrics.jsonl"),
            "{\"kind\":\"event\",\"update\":7,\"message\":\"x\"}\n{\"ki",
        )
        .unwrap();
        end_of_the_dead(&run).unwrap();
        drop(OpenSitting::begin(&run, 6, observe("cpu", None)).unwrap());
        let first = (0, Some(4), "it was asked to stop".to_owned());
        let killed = (4, Some(7), ENDED_UNKNOWN.to_owned());
        assert_eq!(sittings(&run), [first, killed, (6, None, String::new())]);
        let record: EnvironmentRecord = run.record(ENVIRONMENT).unwrap().unwrap();
        assert!(record.sittings[0].ended.is_some() && record.sittings[0].duration_s.is_some());
        assert!(record.sittings[1].ended.is_none() && record.sittings[1].duration_s.is_none());
    }

    #[test]
    fn a_record_that_cannot_be_read_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::new(dir.path()).unwrap();
        std::fs::write(dir.path().join(ENVIRONMENT), "half").unwrap();
        OpenSitting::begin(&run, 3, observe("cpu", None)).unwrap().end(5, "done").unwrap();
        assert_eq!(sittings(&run), [(3, Some(5), "done".to_owned())]);
        assert_eq!(std::fs::read(dir.path().join(UNREADABLE)).unwrap(), b"half");
    }
}
