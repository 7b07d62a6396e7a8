//! A stored segment and the old images to the bytes that the segment writes.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | bits: 1, there are source ranges; 2, literals go on from something |
//! | 32 | only with 1: SHA-256 of all source ranges, in the order of the operations |
//! | 1, LEB128, LEB128, 32 | only with 2: what they go on from ([`Written`]): image (0 root, 1 ESP), offset, length, SHA-256 |
//! | LEB128 | where the output begins in its image: addresses follow from it |
//! | 10 times | a column's coding (0 empty, 1 plain, 2 zstd), decoded length (not if empty), stored length (only if zstd) |
//! | the rest | the columns: tags, lengths, shifts, spaces, hits, misses, gaps, runs, differences, literals |
//!
//! Memory: the output, 8 MiB at most, and [`LIMIT_WORK_BYTES`] for all else: the stored bytes (8 MiB at most), the decoders'
//! windows, which take what the columns hold decoded (8.5 MiB together at most, or 128 KiB each), operations and pieces (1.5 and
//! 1 MiB at most), what is learned (5 MiB at most). Invariant: what comes out has the digest that the header promises, and no
//! source byte is made use of before its digest was right.

use super::before::Before;
use super::corrections::{Corrections, Left};
use super::learned::Learned;
use super::operation::{kept_bytes, read_operations, read_spaces, Columns, Kind, Operation};
use super::predict::{predict, Methods, Moved, Truth};
use super::stream::{number, Declared, LIMIT_COLUMNS_BYTES, LIMIT_WORK_BYTES};
use super::{code, ImageName, Segment, LIMIT_OUTPUT_BYTES, LIMIT_STORED_BYTES};
use sha2::{Digest, Sha256};
use std::io;

/// Of a segment.
pub(super) const COLUMNS: usize = 10;

/// The images of the release that a delta starts from.
pub trait Source {
    /// Fills `bytes` with what is at `offset` of the image; beyond its end is an error.
    fn read_at(&self, image: ImageName, offset: u64, bytes: &mut [u8]) -> io::Result<()>;
}

/// Where a segment's sources are.
#[derive(Clone, Copy, Default)]
pub struct Sources<'a> {
    /// The release that a delta starts from.
    pub old: Option<&'a dyn Source>,
    /// What the segments before it wrote.
    pub written: Option<&'a dyn Source>,
}

/// Bytes of the new images that segments before this one wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub image: ImageName,
    pub offset: u64,
    pub length: u32,
    pub sha256: [u8; 32],
}

#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    #[error("the stored segment has the digest {found}, the header promises: {wanted}")]
    Stored { wanted: String, found: String },
    #[error("the segment is shorter than it says")]
    Short,
    #[error("the segment has more bytes than it says")]
    Long,
    #[error("the segment begins with a byte that has no meaning: {0}")]
    Flags(u8),
    #[error("the segment has a column of an unknown coding: {0}")]
    Coding(u8),
    #[error("the segment's columns have {0} bytes; the limit is {LIMIT_COLUMNS_BYTES}")]
    Columns(u64),
    #[error("the segment takes more of a reader's memory than {LIMIT_WORK_BYTES} bytes beside what it writes")]
    Memory,
    #[error("the segment's {column} cannot be decoded: {text}")]
    Zstd { column: &'static str, text: String },
    #[error("the segment's {0} need a window that is larger than what they hold")]
    Window(&'static str),
    #[error("the segment's {0} are fewer or more than its operations take")]
    Column(&'static str),
    #[error("the segment has a number of more than 64 bits")]
    Number,
    #[error("the segment has more {0} than a reader takes")]
    Limit(&'static str),
    #[error("the segment has an operation that has no meaning: {0}")]
    Operation(u8),
    #[error("the segment has an operation that writes nothing, or more than is left to write")]
    Length,
    #[error("the segment has a prediction that has no meaning: {0}")]
    Methods(u8),
    #[error("the segment has an operation of a frame that does not exist")]
    Frame,
    #[error("the segment's spaces are not in order")]
    Space,
    #[error("the segment needs the release that it starts from, and there is none")]
    NoSource,
    #[error("the release that the segment starts from cannot be read")]
    Read(#[source] io::Error),
    #[error("the release that is there is not the one that the segment starts from: its ranges have the digest {found}, not {wanted}")]
    Source { wanted: String, found: String },
    #[error("what the segments before this one wrote cannot be read")]
    ReadWritten(#[source] io::Error),
    #[error("what the segments before this one wrote does not read back: its digest is {found}, not {wanted}")]
    Written { wanted: String, found: String },
    #[error("the segment writes bytes with the digest {found}, the header promises: {wanted}")]
    Output { wanted: String, found: String },
}

/// What `segment`, which travelled as `stored`, writes.
pub fn apply(segment: &Segment, stored: &[u8], sources: Sources) -> Result<Vec<u8>, SegmentError> {
    let found = crate::hex::encode(&Sha256::digest(stored));
    if found != segment.stored_sha256 || stored.len() as u64 != u64::from(segment.stored_bytes) {
        return Err(SegmentError::Stored { wanted: segment.stored_sha256.clone(), found });
    }
    if stored.len() as u64 > u64::from(LIMIT_STORED_BYTES) || segment.output_bytes > LIMIT_OUTPUT_BYTES {
        return Err(SegmentError::Limit("bytes"));
    }
    let output = decode(stored, segment.output_bytes, sources)?;
    let found = crate::hex::encode(&Sha256::digest(&output));
    match found == segment.output_sha256 {
        true => Ok(output),
        false => Err(SegmentError::Output { wanted: segment.output_sha256.clone(), found }),
    }
}

/// Without the digests of the header: for what is still to get them, and to try any bytes.
pub fn decode(stored: &[u8], output_bytes: u32, sources: Sources) -> Result<Vec<u8>, SegmentError> {
    let mut rest = stored;
    let (digest, before) = read_flags(&mut rest)?;
    let start = number(&mut rest)?;
    let mut declared = Vec::with_capacity(COLUMNS);
    for _ in 0..COLUMNS {
        declared.push(Declared::read(&mut rest)?);
    }
    let total = declared.iter().fold(0u64, |total, column| total.saturating_add(column.decoded()));
    let total = total.saturating_add(before.as_ref().map_or(0, |before| before.length.into()));
    if total > LIMIT_COLUMNS_BYTES {
        return Err(SegmentError::Columns(total));
    }
    let before = before.map(|before| Before::check(before, sources.written)).transpose()?;
    let mut operations = Columns {
        tags: declared[0].open("tags", &mut rest)?,
        lengths: declared[1].open("lengths", &mut rest)?,
        shifts: declared[2].open("shifts", &mut rest)?,
    };
    let mut spaces = declared[3].open("spaces", &mut rest)?;
    let mut corrections = Corrections {
        hits: declared[4].open("hits", &mut rest)?,
        misses: declared[5].open("misses", &mut rest)?,
        gaps: declared[6].open("gaps", &mut rest)?,
        runs: declared[7].open("runs", &mut rest)?,
        differences: declared[8].open("differences", &mut rest)?,
        left: Left::default(),
    };
    let mut literals = declared[9].open_after("literals", &mut rest, before)?;
    if !rest.is_empty() {
        return Err(SegmentError::Long);
    }
    let (known, frames) = read_spaces(&mut spaces)?;
    spaces.end()?;
    let listed = read_operations(&mut operations, start, output_bytes, frames.len())?;
    operations.tags.end()?;
    operations.lengths.end()?;
    operations.shifts.end()?;
    let taken = (stored.len() as u64).saturating_add(total).saturating_add(kept_bytes(listed.len(), &known));
    let mut learned = Learned::within(LIMIT_WORK_BYTES.checked_sub(taken).ok_or(SegmentError::Memory)?);
    let mut output = vec![0; output_bytes as usize];
    read_sources(&listed, digest, sources.old, &mut output)?;
    let mut at = 0;
    for Operation { length, kind } in &listed {
        let bytes = &mut output[at..at + *length as usize];
        let place = start.wrapping_add(at as u64);
        match kind {
            Kind::Zero | Kind::Copy { .. } => {}
            Kind::Literal { code } => {
                literals.fill(bytes)?;
                if *code {
                    code::to_relative(bytes, place);
                }
            }
            Kind::Patch { offset, methods, frame, .. } => {
                match *methods {
                    Methods::NONE => corrections.plain(bytes)?,
                    methods => {
                        let frame = frames.get(usize::from(*frame)).ok_or(SegmentError::Frame)?;
                        let space = known.get(frame.space).ok_or(SegmentError::Space)?;
                        let moved = Moved { old: *offset, new: place, methods, frame, space };
                        predict(bytes, &moved, &mut learned, &mut corrections, |_| ())?;
                    }
                }
                corrections.between()?;
            }
        }
        at += *length as usize;
    }
    if learned.lacks_room() {
        return Err(SegmentError::Memory);
    }
    literals.end()?;
    corrections.end()?;
    Ok(output)
}

/// The digest of source ranges, and what literals go on from.
fn read_flags(rest: &mut &[u8]) -> Result<(Option<[u8; 32]>, Option<Written>), SegmentError> {
    let flags = byte(rest)?;
    if flags > 3 {
        return Err(SegmentError::Flags(flags));
    }
    let digest = if flags & 1 != 0 { Some(sha256(rest)?) } else { None };
    if flags & 2 == 0 {
        return Ok((digest, None));
    }
    let image = match byte(rest)? {
        0 => ImageName::Root,
        1 => ImageName::Esp,
        other => return Err(SegmentError::Flags(other)),
    };
    let (offset, length) = (number(rest)?, number(rest)?);
    let length = u32::try_from(length).ok().filter(|length| *length > 0).ok_or(SegmentError::Limit("bytes"))?;
    Ok((digest, Some(Written { image, offset, length, sha256: sha256(rest)? })))
}

fn byte(rest: &mut &[u8]) -> Result<u8, SegmentError> {
    let (byte, after) = rest.split_first().ok_or(SegmentError::Short)?;
    *rest = after;
    Ok(*byte)
}

fn sha256(rest: &mut &[u8]) -> Result<[u8; 32], SegmentError> {
    let (digest, after) = rest.split_first_chunk::<32>().ok_or(SegmentError::Short)?;
    *rest = after;
    Ok(*digest)
}

/// Reads every source range to where it belongs in the output, and then compares the digest of all.
fn read_sources(
    listed: &[Operation],
    digest: Option<[u8; 32]>,
    source: Option<&dyn Source>,
    output: &mut [u8],
) -> Result<(), SegmentError> {
    let mut hasher = Sha256::new();
    let (mut at, mut ranges) = (0, 0);
    for Operation { length, kind } in listed {
        if let Kind::Copy { image, offset } | Kind::Patch { image, offset, .. } = kind {
            let bytes = &mut output[at..at + *length as usize];
            let source = source.ok_or(SegmentError::NoSource)?;
            source.read_at(*image, *offset, bytes).map_err(SegmentError::Read)?;
            hasher.update(&*bytes);
            ranges += 1;
        }
        at += *length as usize;
    }
    let found: [u8; 32] = hasher.finalize().into();
    match digest {
        None if ranges == 0 => Ok(()),
        None => Err(SegmentError::Flags(0)),
        Some(_) if ranges == 0 => Err(SegmentError::Flags(1)),
        Some(wanted) if wanted == found => Ok(()),
        Some(wanted) => {
            Err(SegmentError::Source { wanted: crate::hex::encode(&wanted), found: crate::hex::encode(&found) })
        }
    }
}
