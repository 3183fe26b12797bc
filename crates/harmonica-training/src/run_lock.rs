//! One process writes a run directory.
//!
//! In: the directory; out: a guard. The operating system's lock on `.lock` decides and ends with its owner, however that
//! happened; `owner.json` says to people who it is. Where the file system knows no locks, `owner.json` alone decides.
//! Invariant: two guards of one directory never live at the same time; a dead owner never stands in the way on its own host.

use crate::TrainingError;
use harmonica_storage::{StorageError, is_alive, replace};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

const FORMAT_VERSION: u32 = 1;

/// Who writes a run directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Owner {
    format_version: u32,
    pid: u32,
    host: String,
}

impl Owner {
    fn this() -> Self {
        Self { format_version: FORMAT_VERSION, pid: std::process::id(), host: host() }
    }

    fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// Whether it may still run, judged without the operating system's lock. Another host cannot be asked.
    fn may_live(&self) -> bool {
        self.host != host() || (self.pid != std::process::id() && is_alive(self.pid))
    }
}

/// Name of this machine, if the system says it.
pub(crate) fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| std::env::var("HOSTNAME").or_else(|_| std::env::var("COMPUTERNAME")).ok())?;
    Some(name.trim().to_owned())
}

fn host() -> String {
    host_name().unwrap_or_else(|| "an unnamed host".to_owned())
}

/// Process and host that write a run directory at this moment. The lock is asked only where the record alone cannot tell a
/// living owner from a dead one, and is given back at once.
pub(crate) fn holder(root: &Path) -> Option<(u32, String)> {
    let owner = Owner::read(&root.join("owner.json"))?;
    if owner.host == host() && !is_alive(owner.pid) {
        return None;
    }
    let asked = File::open(root.join(".lock")).map(|lock| lock.try_lock_shared());
    let is_held = match asked {
        Ok(Ok(())) => false,
        Ok(Err(TryLockError::WouldBlock)) => true,
        Ok(Err(TryLockError::Error(_))) | Err(_) => owner.may_live(),
    };
    is_held.then_some((owner.pid, owner.host))
}

/// The right to write a run directory; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct RunLock {
    owner: PathBuf,
    file: File,
}

impl RunLock {
    /// Takes the right, from a dead owner too, or says who has it.
    pub(crate) fn acquire(root: &Path) -> Result<Self, TrainingError> {
        let path = root.join(".lock");
        let failed = |source| StorageError::Write { path: path.clone(), source };
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        let owner = root.join("owner.json");
        let before = Owner::read(&owner);
        let refused = || {
            let (pid, host) = before.as_ref().map_or_else(
                || ("a process that is just starting".to_owned(), host()),
                |owner| (format!("process {}", owner.pid), owner.host.clone()),
            );
            TrainingError::RunLocked { path: root.to_owned(), owner: pid, host, record: owner.clone() }
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(refused()),
            Err(TryLockError::Error(source)) => {
                tracing::warn!("the file system of `{}` knows no locks: {source}", root.display());
                if before.as_ref().is_some_and(Owner::may_live) {
                    return Err(refused());
                }
            }
        }
        if let Some(Owner { pid, host, .. }) = &before {
            let root = root.display();
            tracing::warn!("`{root}` was still held by process {pid} on {host}, which is gone; taken over");
        }
        let json = serde_json::to_vec_pretty(&Owner::this()).map_err(|e| StorageError::encode(&owner, e))?;
        replace(&owner, &json)?;
        Ok(Self { owner, file })
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // Left behind, it only makes the next owner say that this one is gone.
        let _ = std::fs::remove_file(&self.owner);
        // A child process that was just forked shares the open file until it executes: closing alone would not unlock.
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_owner_is_named_and_a_dead_one_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let lock = RunLock::acquire(dir.path()).unwrap();
        let error = RunLock::acquire(dir.path()).unwrap_err().to_string();
        let this = Owner::this();
        for word in [&this.pid.to_string(), &this.host, &dir.path().display().to_string()] {
            assert!(error.contains(word.as_str()), "{error}");
        }
        drop(lock);
        assert!(!dir.path().join("owner.json").exists());
        let dead = Owner { pid: u32::MAX - 1, ..this.clone() };
        std::fs::write(dir.path().join("owner.json"), serde_json::to_vec(&dead).unwrap()).unwrap();
        let lock = RunLock::acquire(dir.path()).unwrap();
        assert_eq!(Owner::read(&dir.path().join("owner.json")), Some(this));
        drop(lock);
    }

    #[test]
    fn a_holder_is_one_that_lives_and_has_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(holder(dir.path()), None);
        let lock = RunLock::acquire(dir.path()).unwrap();
        let this = Owner::this();
        assert_eq!(holder(dir.path()), Some((this.pid, this.host.clone())));
        assert!(RunLock::acquire(dir.path()).is_err(), "asking takes nothing away");
        drop(lock);
        assert_eq!(holder(dir.path()), None);
        // A living process that has not the lock is another one that was given the same identifier.
        for owner in [Owner { pid: u32::MAX - 1, ..this.clone() }, this] {
            std::fs::write(dir.path().join("owner.json"), serde_json::to_vec(&owner).unwrap()).unwrap();
            assert_eq!(holder(dir.path()), None);
        }
    }

    #[test]
    fn without_locks_only_the_dead_of_this_host_are_followed() {
        let this = Owner::this();
        assert!(!this.may_live(), "the record of an earlier process with the same pid");
        assert!(!Owner { pid: u32::MAX - 1, ..this.clone() }.may_live());
        assert!(Owner { host: "elsewhere".into(), ..this.clone() }.may_live());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(Owner { pid: child.id(), ..this }.may_live());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
