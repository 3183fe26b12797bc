//! Large files as memory that the operating system pages in and out.
//!
//! In: a path; out: its bytes. Invariant: a file is mapped under its final name only, where files are replaced and never changed
//! in place ([`crate::Staged`], [`crate::replace`]); the old bytes stay what they were for whoever maps them.

use std::fs::File;
use std::ops::Deref;
use std::path::Path;

/// The bytes of a file that is not read as a whole.
#[derive(Debug)]
pub struct Mapped(memmap2::Mmap);

impl Mapped {
    /// Maps a regular file.
    ///
    /// # Errors
    /// A file that is missing, cannot be read, or is none.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::other("it is no regular file"));
        }
        #[expect(
            unsafe_code,
            reason = "memory maps have no safe interface; the invariant above is what makes this one sound"
        )]
        // SAFETY: nothing changes or shortens a file under its final name; it is only replaced by another one.
        let map = unsafe { memmap2::Mmap::map(&file) }?;
        Ok(Self(map))
    }

    /// Gives back the memory of what was looked at so far; it is paged in again when it is asked for.
    pub fn release(&self) {
        #[cfg(unix)]
        {
            #[expect(
                unsafe_code,
                reason = "advice that may change what a map holds; it changes nothing of a map that nobody writes to"
            )]
            // SAFETY: the map is read-only and of a file, whose bytes stay what they are; they are only read again.
            let given_back = unsafe { self.0.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
            // Where the system refuses, the memory stays taken, and nothing else changes.
            drop(given_back);
        }
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_file_keeps_its_bytes_when_it_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shard");
        for content in [b"first".as_slice(), b""] {
            std::fs::write(&path, content).unwrap();
            let mapped = Mapped::open(&path).unwrap();
            crate::replace(&path, b"other").unwrap();
            assert_eq!(&*mapped, content);
            mapped.release();
            assert_eq!(&*mapped, content);
        }
        assert!(Mapped::open(dir.path()).is_err());
    }
}
