//! An EROFS as `mkfs.erofs` makes it without compression: what lies where in it, and the same files at other places.
//!
//! Source: Linux 6.12, `Documentation/filesystems/erofs.rst` and `fs/erofs/erofs_fs.h`. Invariant: files that are moved
//! keep their names, attributes and bytes; `fsck.erofs` finds nothing to say.

mod follow;
mod layout;
mod place;
mod read;
mod space;
mod step;

pub use follow::follow;
pub use layout::{Layout, Place, LIMIT_LAYOUT_BYTES};
pub use place::{place, PlaceError};
pub use read::{placed, Link, Placed, PlacedKind};
pub use step::step as place_step;

/// Where the superblock is, and what it has without extensions.
const SUPERBLOCK: u64 = 1024;
const SUPERBLOCK_BYTES: u64 = 128;
/// The number of an inode counts these.
const SLOT_BYTES: u64 = 32;
/// Of a root whose files are moved: what `mkfs.erofs` takes on the build machine.
const BLOCK_BYTES: u64 = 4096;

#[derive(Debug, thiserror::Error)]
pub enum ErofsError {
    #[error("it is no EROFS that this reader knows: {0}")]
    Unknown(&'static str),
    #[error("the EROFS is damaged: {0}")]
    Damaged(&'static str),
    #[error("the EROFS has more than {0}")]
    Limit(&'static str),
}

#[cfg(test)]
pub(crate) mod tests;
