//! Which process works on what.
//!
//! In: the path of a claim file; out: a guard, or nothing where another process has it. The operating system's lock decides
//! and ends with its owner, however that happened; the file's content tells people who it is. Where the file system knows
//! no locks, the content decides: a dead owner of this host is passed over. Invariant: two guards of one path never live at the
//! same time; a claim file is never removed alone, so that nobody holds a lock on a file that is gone.

use crate::{StorageError, is_alive};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

/// The right to work on something; given back when it is dropped.
#[derive(Debug)]
pub struct Claim {
    file: File,
}

impl Claim {
    /// Takes a claim, from a dead owner too; `None` where a living process has it.
    ///
    /// # Errors
    /// A path that cannot be written to.
    pub fn take(path: &Path) -> Result<Option<Self>, StorageError> {
        let failed = |source| StorageError::write(path, source);
        let mut options = OpenOptions::new();
        let mut file =
            options.create(true).truncate(false).read(true).write(true).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => {
                tracing::warn!("the file system of `{}` knows no locks: {source}", path.display());
                let mut owner = String::new();
                // A claim that cannot be read names nobody.
                let _ = file.read_to_string(&mut owner);
                if may_live(&owner) {
                    return Ok(None);
                }
            }
        }
        let owner = format!("{} {}\n", std::process::id(), host());
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(owner.as_bytes())
        };
        write(&mut file).map_err(failed)?;
        Ok(Some(Self { file }))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Without locks an empty claim is what nobody holds.
        let _ = self.file.set_len(0);
        // A child process that was just forked shares the open file until it executes: closing alone would not unlock.
        let _ = self.file.unlock();
    }
}

/// Whether the owner that a claim names may still run. Another host cannot be asked.
fn may_live(owner: &str) -> bool {
    let Some((pid, its_host)) = owner.trim().split_once(' ') else { return false };
    its_host != host() || pid.parse().is_ok_and(|pid: u32| pid == std::process::id() || is_alive(pid))
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| std::env::var("HOSTNAME").or_else(|_| std::env::var("COMPUTERNAME")).ok());
    name.map_or_else(|| "unnamed".to_owned(), |name| name.trim().replace(char::is_whitespace, "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_held_by_one_and_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("00001.claim");
        let first = Claim::take(&path).unwrap().unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().starts_with(&std::process::id().to_string()));
        assert!(Claim::take(&path).unwrap().is_none());
        drop(first);
        assert!(Claim::take(&path).unwrap().is_some());
    }

    #[test]
    fn a_claim_of_the_dead_holds_nothing_and_that_of_another_host_is_respected() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("00001.claim");
        let dead = format!("{} {}\n", u32::MAX - 1, host());
        std::fs::write(&path, &dead).unwrap();
        assert!(!may_live(&dead) && !may_live("") && !may_live("garbage"));
        assert!(may_live("1 another-host\n") && may_live(&format!("{} {}", std::process::id(), host())));
        assert!(Claim::take(&path).unwrap().is_some());
    }
}
