//! Files and directories that survive a crash and tell their own damage.
//!
//! In: bytes and paths; out: what stands under a final name is whole, or it is what stood there before. Every crate writes
//! its artefacts through here, so that one set of tests (crashes at every step, full disks, read-only disks, flipped
//! bytes) holds for all of them. A directory that carries `manifest.json` is *sealed*: a changed byte in it is found and
//! named.

mod claim;
mod durable;
mod error;
mod failpoint;
mod hub;
mod manifest;
mod mapped;
mod names;
mod scratch;
mod sealed;
mod space;
mod staged;

pub use claim::Claim;
pub use durable::{
    append, make_directory, publish, publish_from, remove_directory, remove_file, replace, sync,
};
pub use error::StorageError;
pub use hub::{Hub, HubError, Repository};
pub use manifest::{FileCheck, FileDigest, FileState, MANIFEST};
pub use mapped::Mapped;
pub use names::{is_plain_name, stays_inside};
pub use scratch::{collect as collect_scratch, is_alive, list as list_scratch};
pub use sealed::{Sealed, seal, verify};
pub use space::{free_bytes, require_space};
pub use staged::{Staged, StagedFile};
