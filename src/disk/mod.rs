//! The parts of an image in; `disk.img`, its block map and its compressed form out.
//!
//! Invariants: equal parts give equal bytes; a file has its final name only when it is whole.

mod assemble;
pub mod bmap;
mod compress;
mod error;
mod layout;

#[cfg(test)]
mod tests;

pub use assemble::{assemble, Assembled, WIPED_BYTES};
pub use error::DiskError;
pub use layout::{kind, layout, standard, Disk, Part, Payload, SlotContents, LABELS};

/// Names of what is written.
pub const DISK_IMAGE: &str = "disk.img";
pub const BLOCK_MAP: &str = "disk.img.bmap";
pub const COMPRESSED: &str = "disk.img.zst";

/// Partitions start and end on multiples of this.
pub const ALIGNMENT_BYTES: u64 = 1 << 20;
