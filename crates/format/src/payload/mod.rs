//! What brings a slot from one release to another, or from nothing: to and from bytes.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | [`MAGIC`] |
//! | 4 | [`VERSION`], little-endian |
//! | 4 | length of the envelope in bytes, little-endian |
//! | that many | DSSE envelope around the [`Header`] |
//! | the rest | the segments as they travel, one after the other, without gaps |
//!
//! Invariant: every byte after the header is covered by a digest in it, and every byte of the new images is written by
//! exactly one segment, in order.

mod apply;
mod before;
mod code;
mod corrections;
mod head;
mod header;
mod learned;
mod operation;
mod predict;
mod space;
mod stream;
#[cfg(test)]
mod tests;
mod write;

pub use apply::{apply, decode, SegmentError, Source, Sources, Written};
pub use before::WINDOW_BYTES;
pub use code::{to_absolute, to_relative};
pub use head::{envelope_length, head, HeadError, MAGIC, PREFIX_BYTES, VERSION};
pub(crate) use header::is_text;
pub use header::{Header, HeaderError, Image, ImageName, Release, Segment, FORMAT, PAYLOAD_TYPE};
pub use learned::Learned;
pub use operation::{Kind, Operation, LIMIT_FRAMES, LIMIT_OPERATIONS, LIMIT_PIECES};
pub use predict::{predict, Methods, Moved, Truth};
pub use space::{Frame, Piece, Space};
pub use stream::{LIMIT_COLUMNS_BYTES, LIMIT_WORK_BYTES};
pub use write::{Correction, Parts, Wrong};

/// Of the envelope: 4 GiB of images make some hundred kilobytes.
pub const LIMIT_ENVELOPE_BYTES: usize = 4 << 20;
/// What a segment writes at most.
pub const LIMIT_OUTPUT_BYTES: u32 = 8 << 20;
/// What a segment takes on its way at most: output that cannot be made smaller, and its frame.
pub const LIMIT_STORED_BYTES: u32 = (8 << 20) + (64 << 10);
