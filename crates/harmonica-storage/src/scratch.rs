//! Names of files and directories that are not finished, and the removal of those whose owner died.
//!
//! In: the final path; out: `.staging-<pid>-<name>` beside it, on the same file system, so that a rename is enough.
//! Invariant: what a living process of this machine writes is never removed, and nothing under such a name is ever read.

use crate::StorageError;
use std::path::{Path, PathBuf};

const PREFIX: &str = ".staging-";

/// The directory of a path.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Where this process prepares `path`; `purpose` tells several preparations of one path apart.
pub(crate) fn beside(path: &Path, purpose: &str) -> PathBuf {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    parent(path).join(format!("{PREFIX}{}-{purpose}{name}", std::process::id()))
}

/// What a name in a directory is scratch for, if it is any, and whose.
fn parse(name: &str) -> Option<(u32, &str)> {
    let (owner, purpose) = name.strip_prefix(PREFIX)?.split_once('-')?;
    Some((owner.parse().ok()?, purpose))
}

/// The final name of a scratch name.
#[cfg(feature = "failpoints")]
pub(crate) fn purpose(name: &str) -> Option<&str> {
    Some(parse(name)?.1)
}

/// Removes from a directory the scratch of processes that are gone, and what this process left after an error. Returns how
/// many there were.
///
/// # Errors
/// A directory that cannot be read or written.
pub fn collect(dir: &Path) -> Result<usize, StorageError> {
    collect_if(dir, |_| true).map_err(|source| StorageError::write(dir, source))
}

/// Removes the scratch of dead processes for one path.
pub(crate) fn collect_of(path: &Path) -> std::io::Result<()> {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    collect_if(parent(path), |purpose| purpose.ends_with(&name)).map(|_| ())
}

/// What is being prepared in a directory, or was by processes that died.
pub fn list(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_str().and_then(parse).is_some()).map(|e| e.path()).collect()
}

fn collect_if(dir: &Path, is_wanted: impl Fn(&str) -> bool) -> std::io::Result<usize> {
    let mut n_removed = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some((owner, purpose)) = name.to_str().and_then(parse) else { continue };
        if !is_wanted(purpose) || (owner != std::process::id() && is_alive(owner)) {
            continue;
        }
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let path = entry.path();
        match if is_dir { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) } {
            Ok(()) => n_removed += 1,
            // Its owner ended in order just now, or another process collects at the same moment.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(n_removed)
}

/// Whether a process of this machine runs. Where the system does not say, it does: scratch is then kept.
pub fn is_alive(pid: u32) -> bool {
    if Path::new("/proc/self/stat").exists() {
        // `pid (command) state ...`; the command may hold parentheses. A zombie is dead, it only waits to be buried.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        return state.is_some_and(|state| !['Z', 'X', 'x'].contains(&state));
    }
    if cfg!(unix) {
        let pid = pid.to_string();
        let found = std::process::Command::new("ps").args(["-p", &pid]).output();
        return found.map_or(true, |output| output.status.success());
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collectors_of_one_directory_do_not_stumble_over_each_other() {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..300 {
            let dead = dir.path().join(format!("{PREFIX}{}-step-{i}", u32::MAX - 1));
            std::fs::create_dir(&dead).unwrap();
            std::fs::write(dead.join("model.safetensors"), "half").unwrap();
        }
        std::thread::scope(|scope| {
            let collectors: Vec<_> = (0..4).map(|_| scope.spawn(|| collect(dir.path()))).collect();
            for collector in collectors {
                collector.join().unwrap().unwrap();
            }
        });
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_the_scratch_of_the_dead_is_collected() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let path = |pid: u32| dir.path().join(format!("{PREFIX}{pid}-step-00000001"));
        // Above every limit of pids.
        let (dead, living) = (u32::MAX - 1, child.id());
        std::fs::create_dir(path(dead)).unwrap();
        std::fs::write(path(dead).join("model.safetensors"), "half").unwrap();
        std::fs::create_dir(path(living)).unwrap();
        std::fs::write(beside(&dir.path().join("LATEST"), ""), "half").unwrap();
        for kept in ["step-00000001", ".staging-", ".staging-x-1", "LATEST"] {
            std::fs::write(dir.path().join(kept), "").unwrap();
        }
        assert_eq!(collect(dir.path()).unwrap(), 2);
        assert!(path(living).exists() && !path(dead).exists());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 5);
        child.kill().unwrap();
        let killed = std::time::Instant::now();
        while is_alive(living) {
            assert!(killed.elapsed().as_secs() < 20, "a killed child that nobody waited for counts as dead");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.wait().unwrap();
        assert_eq!(collect(dir.path()).unwrap(), 1);
    }
}
