//! What a segment does, to and from its columns of operations and spaces.
//!
//! Invariant: operations that were read write exactly the segment's output, their frames exist, and there are no more of them
//! and of pieces than a device has memory for.

use super::predict::Methods;
use super::space::{Frame, Piece, Space};
use super::stream::{push_number, push_signed, Column};
use super::{ImageName, SegmentError};

/// Of a segment.
pub const LIMIT_OPERATIONS: usize = 1 << 16;
/// Of all spaces of a segment.
pub const LIMIT_PIECES: usize = 1 << 16;
pub const LIMIT_FRAMES: usize = 1 << 12;
/// What one of each takes of memory.
const OPERATION_BYTES: usize = 24;
const PIECE_BYTES: usize = 16;
const _: () = assert!(size_of::<Operation>() <= OPERATION_BYTES && size_of::<Piece>() <= PIECE_BYTES);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Of output; at least 1.
    pub length: u32,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Zero,
    /// The next bytes of the literals; `code`: calls in them are to absolute targets ([`super::code`]).
    Literal {
        code: bool,
    },
    /// Bytes of the old image as they are.
    Copy {
        image: ImageName,
        offset: u64,
    },
    /// Bytes of the old image, addresses in them moved, and the next differences added.
    Patch {
        image: ImageName,
        offset: u64,
        methods: Methods,
        frame: u16,
    },
}

const ZERO: u8 = 0;
const LITERAL: u8 = 1;
const COPY: u8 = 2;
const PATCH: u8 = 3;
/// Beside COPY and PATCH: the source is the ESP.
const ESP: u8 = 4;
/// Beside LITERAL: with calls to absolute targets.
const CODE: u8 = 8;
/// Beside PATCH: methods and frame follow.
const PREDICT: u8 = 16;

/// What a reader keeps of so many operations and of `spaces`.
pub(super) fn kept_bytes(operations: usize, spaces: &[Space]) -> u64 {
    let pieces: usize = spaces.iter().map(|space| space.pieces.len()).sum();
    (operations * OPERATION_BYTES + pieces * PIECE_BYTES) as u64
}

/// Where the next source range of an image is expected: as far on as the output is since the last one.
#[derive(Default)]
struct Expected {
    esp: i64,
    root: i64,
}

impl Expected {
    fn shift(&mut self, image: ImageName) -> &mut i64 {
        match image {
            ImageName::Esp => &mut self.esp,
            ImageName::Root => &mut self.root,
        }
    }
}

/// What operations travel as: like beside like compresses better than one after the other.
pub struct Columns<T> {
    /// And what is predicted: methods and frame.
    pub tags: T,
    pub lengths: T,
    pub shifts: T,
}

pub fn read_operations(
    columns: &mut Columns<Column>,
    start: u64,
    output_bytes: u32,
    frames: usize,
) -> Result<Vec<Operation>, SegmentError> {
    let (mut operations, mut written, mut expected) = (Vec::new(), 0, Expected::default());
    while written < output_bytes {
        if operations.len() == LIMIT_OPERATIONS {
            return Err(SegmentError::Limit("operations"));
        }
        let tag = columns.tags.byte()?;
        let length = u32::try_from(columns.lengths.number()?)
            .ok()
            .filter(|length| (1..=output_bytes - written).contains(length));
        let length = length.ok_or(SegmentError::Length)?;
        let image = if tag & ESP == 0 { ImageName::Root } else { ImageName::Esp };
        let mut offset = |column: &mut Column| {
            let shift = expected.shift(image);
            *shift = shift.wrapping_add(column.signed()?);
            // Out of the image: its source says so.
            Ok::<u64, SegmentError>(start.wrapping_add(u64::from(written)).wrapping_add_signed(*shift))
        };
        let kind = match tag {
            ZERO => Kind::Zero,
            _ if tag & !CODE == LITERAL => Kind::Literal { code: tag & CODE != 0 },
            _ if tag & !ESP == COPY => Kind::Copy { image, offset: offset(&mut columns.shifts)? },
            _ if tag & !(ESP | PREDICT) == PATCH => {
                let offset = offset(&mut columns.shifts)?;
                let (methods, frame) = match tag & PREDICT {
                    0 => (Methods::NONE, 0),
                    _ => (Methods::from_bits(columns.tags.byte()?)?, columns.tags.number()?),
                };
                let known = methods == Methods::NONE || frame < frames as u64;
                let frame = u16::try_from(frame).ok().filter(|_| known).ok_or(SegmentError::Frame)?;
                Kind::Patch { image, offset, methods, frame }
            }
            _ => return Err(SegmentError::Operation(tag)),
        };
        operations.push(Operation { length, kind });
        written += length;
    }
    Ok(operations)
}

/// The columns of `operations`, the first of which writes at `start` of its image.
pub fn operations_columns(operations: &[Operation], start: u64) -> Columns<Vec<u8>> {
    let mut columns = Columns { tags: Vec::new(), lengths: Vec::new(), shifts: Vec::new() };
    let (mut at, mut expected) = (start, Expected::default());
    for Operation { length, kind } in operations {
        let from = |image: ImageName| if image == ImageName::Esp { ESP } else { 0 };
        let tag = match kind {
            Kind::Zero => ZERO,
            Kind::Literal { code } => LITERAL | if *code { CODE } else { 0 },
            Kind::Copy { image, .. } => COPY | from(*image),
            Kind::Patch { image, methods, .. } => {
                PATCH | from(*image) | if *methods == Methods::NONE { 0 } else { PREDICT }
            }
        };
        columns.tags.push(tag);
        push_number(&mut columns.lengths, u64::from(*length));
        if let Kind::Copy { image, offset } | Kind::Patch { image, offset, .. } = kind {
            let shift = offset.wrapping_sub(at) as i64;
            let expected = expected.shift(*image);
            push_signed(&mut columns.shifts, shift.wrapping_sub(*expected));
            *expected = shift;
        }
        if let Kind::Patch { methods, frame, .. } = kind {
            if *methods != Methods::NONE {
                columns.tags.push(methods.bits());
                push_number(&mut columns.tags, u64::from(*frame));
            }
        }
        at += u64::from(*length);
    }
    columns
}

/// Reads spaces and the frames over them; a column without bytes has none.
pub fn read_spaces(column: &mut Column) -> Result<(Vec<Space>, Vec<Frame>), SegmentError> {
    if column.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let (mut spaces, mut frames, mut pieces_left) = (Vec::new(), Vec::new(), LIMIT_PIECES);
    for _ in 0..limited(column.number()?, LIMIT_FRAMES, "spaces")? {
        let count = limited(column.number()?, pieces_left, "pieces")?;
        pieces_left -= count;
        let (mut start, mut shift, mut pieces) = (0u64, 0i64, Vec::with_capacity(count));
        for _ in 0..count {
            start = start.wrapping_add(column.number()?);
            shift = shift.wrapping_add(column.signed()?);
            pieces.push(Piece { start, shift });
        }
        let end = start.wrapping_add(column.number()?);
        if !pieces.is_sorted_by_key(|piece| piece.start) || end < start {
            return Err(SegmentError::Space);
        }
        spaces.push(Space { pieces, end });
    }
    for _ in 0..limited(column.number()?, LIMIT_FRAMES, "frames")? {
        let space = limited(column.number()?, spaces.len().saturating_sub(1), "spaces")?;
        if space >= spaces.len() {
            return Err(SegmentError::Space);
        }
        frames.push(Frame { space, old_base: column.signed()? as u64, new_base: column.signed()? as u64 });
    }
    Ok((spaces, frames))
}

pub fn spaces_column(spaces: &[Space], frames: &[Frame]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if frames.is_empty() {
        return bytes;
    }
    push_number(&mut bytes, spaces.len() as u64);
    for Space { pieces, end } in spaces {
        push_number(&mut bytes, pieces.len() as u64);
        let (mut start, mut shift) = (0, 0);
        for piece in pieces {
            push_number(&mut bytes, piece.start.wrapping_sub(start));
            push_signed(&mut bytes, piece.shift.wrapping_sub(shift));
            (start, shift) = (piece.start, piece.shift);
        }
        push_number(&mut bytes, end.wrapping_sub(start));
    }
    push_number(&mut bytes, frames.len() as u64);
    for Frame { space, old_base, new_base } in frames {
        push_number(&mut bytes, *space as u64);
        push_signed(&mut bytes, *old_base as i64);
        push_signed(&mut bytes, *new_base as i64);
    }
    bytes
}

fn limited(number: u64, limit: usize, what: &'static str) -> Result<usize, SegmentError> {
    usize::try_from(number).ok().filter(|number| *number <= limit).ok_or(SegmentError::Limit(what))
}
