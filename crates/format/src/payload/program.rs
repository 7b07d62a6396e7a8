//! What a segment does, to and from the bytes of its first stream.
//!
//! Invariant: of a program that was read, the operations write exactly as many bytes as the segment says, and read only from
//! inside ranges whose digests are named.

use super::varint::{put, put_signed, take, take_signed};
use super::{ImageName, LIMIT_OUTPUT_BYTES};

/// Of the bytes of a program: some hundred thousand operations.
pub const LIMIT_PROGRAM_BYTES: usize = 2 << 20;
/// Of one program.
pub const LIMIT_RANGES: usize = 1024;
/// What a device has to read and hash before it may use any of it.
pub const LIMIT_RANGE_BYTES: u64 = 128 << 20;

/// Bytes of an old image that are read, and what they have to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub image: ImageName,
    pub offset: u64,
    pub length: u64,
    pub sha256: [u8; 32],
}

/// Writes the next bytes of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Zero {
        length: u32,
    },
    /// The next bytes of the literal stream.
    Literal {
        length: u32,
    },
    /// Bytes of an old image.
    Copy {
        length: u32,
        image: ImageName,
        offset: u64,
    },
    /// The same with the next bytes of the difference stream added to each, modulo 256.
    Patch {
        length: u32,
        image: ImageName,
        offset: u64,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// In the order of image and offset, without overlaps.
    pub ranges: Vec<Range>,
    pub operations: Vec<Operation>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    #[error("the program has {0} bytes; the limit is {LIMIT_PROGRAM_BYTES}")]
    TooLong(usize),
    #[error("the program ends in the middle of a number")]
    Short,
    #[error("the program has an operation that is not known: {0}")]
    Operation(u8),
    #[error("the program has source ranges that are too many, too long, empty or out of order")]
    Ranges,
    #[error("the program reads {length} bytes at {offset}, which are in none of its ranges")]
    Outside { offset: u64, length: u32 },
    #[error("the program writes other than the {0} bytes of its segment")]
    Length(u32),
    #[error("the program takes other than the {0} bytes of its stream")]
    Stream(u32),
}

impl Operation {
    pub fn length(&self) -> u32 {
        match *self {
            Operation::Zero { length }
            | Operation::Literal { length }
            | Operation::Copy { length, .. }
            | Operation::Patch { length, .. } => length,
        }
    }

    /// What it reads of an old image.
    pub fn source(&self) -> Option<(ImageName, u64)> {
        match *self {
            Operation::Zero { .. } | Operation::Literal { .. } => None,
            Operation::Copy { image, offset, .. } | Operation::Patch { image, offset, .. } => Some((image, offset)),
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Operation::Zero { .. } => 0,
            Operation::Literal { .. } => 1,
            Operation::Copy { .. } => 2,
            Operation::Patch { .. } => 3,
        }
    }
}

/// In the first byte of an operation and of a range: the old image that it reads.
const ROOT: u8 = 4;

fn image_bit(image: ImageName) -> u8 {
    match image {
        ImageName::Esp => 0,
        ImageName::Root => ROOT,
    }
}

impl Program {
    /// The same program gives the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(self.ranges.len() as u64, &mut bytes);
        for range in &self.ranges {
            bytes.push(image_bit(range.image));
            put(range.offset, &mut bytes);
            put(range.length, &mut bytes);
            bytes.extend(range.sha256);
        }
        // Where the last read from each image ended: what follows it is near.
        let mut ends = [0_u64; 2];
        for operation in &self.operations {
            let source = operation.source();
            bytes.push(operation.kind() | source.map_or(0, |(image, _)| image_bit(image)));
            put(operation.length().into(), &mut bytes);
            if let Some((image, offset)) = source {
                let end = &mut ends[image as usize];
                put_signed(offset.wrapping_sub(*end) as i64, &mut bytes);
                *end = offset.wrapping_add(operation.length().into());
            }
        }
        bytes
    }

    /// Reads and checks the program of a segment that writes `output_bytes`.
    pub fn parse(bytes: &[u8], output_bytes: u32) -> Result<Self, ProgramError> {
        if bytes.len() > LIMIT_PROGRAM_BYTES {
            return Err(ProgramError::TooLong(bytes.len()));
        }
        let mut rest = bytes;
        let ranges = ranges(&mut rest)?;
        let mut operations = Vec::new();
        let mut ends = [0_u64; 2];
        let mut left = output_bytes.min(LIMIT_OUTPUT_BYTES);
        while !rest.is_empty() {
            let operation = operation(&mut rest, &mut ends)?;
            let length = operation.length();
            left = left.checked_sub(length).filter(|_| length > 0).ok_or(ProgramError::Length(output_bytes))?;
            operations.push(operation);
        }
        let program = Program { ranges, operations };
        match left {
            0 => program.stays_inside().map(|()| program),
            _ => Err(ProgramError::Length(output_bytes)),
        }
    }

    /// Bytes that the operations take of the literal and the difference stream.
    pub fn takes(&self) -> (u32, u32) {
        self.operations.iter().fold((0, 0), |(literal, difference), operation| match operation {
            Operation::Literal { length } => (literal + length, difference),
            Operation::Patch { length, .. } => (literal, difference + length),
            _ => (literal, difference),
        })
    }

    /// One line for each range and operation.
    pub fn dump(&self) -> String {
        let name = |image| match image {
            ImageName::Esp => "esp",
            ImageName::Root => "root",
        };
        let mut text = String::new();
        for range in &self.ranges {
            let digest = crate::hex::encode(&range.sha256[..8]);
            text += &format!("range {} {}+{} {digest}\n", name(range.image), range.offset, range.length);
        }
        for operation in &self.operations {
            text += &match *operation {
                Operation::Zero { length } => format!("zero {length}\n"),
                Operation::Literal { length } => format!("literal {length}\n"),
                Operation::Copy { length, image, offset } => format!("copy {length} {} {offset}\n", name(image)),
                Operation::Patch { length, image, offset } => format!("patch {length} {} {offset}\n", name(image)),
            };
        }
        text
    }

    fn stays_inside(&self) -> Result<(), ProgramError> {
        for operation in &self.operations {
            let Some((image, offset)) = operation.source() else { continue };
            let length = operation.length();
            let after = self.ranges.partition_point(|range| (range.image, range.offset) <= (image, offset));
            let range = after.checked_sub(1).map(|at| &self.ranges[at]).filter(|range| range.image == image);
            let left = range.and_then(|range| range.length.checked_sub(offset - range.offset));
            let inside = left.is_some_and(|left| u64::from(length) <= left);
            if !inside {
                return Err(ProgramError::Outside { offset, length });
            }
        }
        Ok(())
    }
}

fn ranges(rest: &mut &[u8]) -> Result<Vec<Range>, ProgramError> {
    let count = take(rest).ok_or(ProgramError::Short)?;
    let count = usize::try_from(count).ok().filter(|count| *count <= LIMIT_RANGES).ok_or(ProgramError::Ranges)?;
    let mut ranges: Vec<Range> = Vec::with_capacity(count);
    let mut total = 0_u64;
    for _ in 0..count {
        let (&bit, after) = rest.split_first().ok_or(ProgramError::Short)?;
        *rest = after;
        let image = match bit {
            0 => ImageName::Esp,
            ROOT => ImageName::Root,
            _ => return Err(ProgramError::Ranges),
        };
        let offset = take(rest).ok_or(ProgramError::Short)?;
        let length = take(rest).ok_or(ProgramError::Short)?;
        let (sha256, after) = rest.split_first_chunk().ok_or(ProgramError::Short)?;
        *rest = after;
        total = total.saturating_add(length);
        let follows =
            ranges.last().is_none_or(|last| (last.image, last.offset.saturating_add(last.length)) <= (image, offset));
        let fits = offset.checked_add(length).is_some() && length > 0 && total <= LIMIT_RANGE_BYTES;
        if !follows || !fits {
            return Err(ProgramError::Ranges);
        }
        ranges.push(Range { image, offset, length, sha256: *sha256 });
    }
    Ok(ranges)
}

fn operation(rest: &mut &[u8], ends: &mut [u64; 2]) -> Result<Operation, ProgramError> {
    let (&first, after) = rest.split_first().ok_or(ProgramError::Short)?;
    *rest = after;
    let length = take(rest).ok_or(ProgramError::Short)?;
    let length = u32::try_from(length).map_err(|_| ProgramError::Length(u32::MAX))?;
    let image = if first & ROOT == 0 { ImageName::Esp } else { ImageName::Root };
    match first {
        0 => Ok(Operation::Zero { length }),
        1 => Ok(Operation::Literal { length }),
        2 | 3 | 6 | 7 => {
            let moved = take_signed(rest).ok_or(ProgramError::Short)?;
            let end = &mut ends[image as usize];
            let offset = end.wrapping_add(moved as u64);
            *end = offset.wrapping_add(length.into());
            match first & 1 {
                0 => Ok(Operation::Copy { length, image, offset }),
                _ => Ok(Operation::Patch { length, image, offset }),
            }
        }
        other => Err(ProgramError::Operation(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example() -> Program {
        let range = |image, offset, length, byte| Range { image, offset, length, sha256: [byte; 32] };
        Program {
            ranges: vec![range(ImageName::Esp, 0, 4096, 1), range(ImageName::Root, 8192, 100_000, 2)],
            operations: vec![
                Operation::Zero { length: 300 },
                Operation::Copy { length: 4096, image: ImageName::Esp, offset: 0 },
                Operation::Patch { length: 1000, image: ImageName::Root, offset: 9000 },
                Operation::Literal { length: 5 },
                Operation::Copy { length: 10, image: ImageName::Root, offset: 10_000 },
            ],
        }
    }

    #[test]
    fn a_program_is_read_as_it_was_written() {
        let bytes = example().to_bytes();
        assert_eq!(Program::parse(&bytes, 5411), Ok(example()));
        assert_eq!(example().takes(), (5, 1000));
        // The second read from the root begins where the first one ended: a zero.
        assert_eq!(bytes[bytes.len() - 3..], [6, 10, 0]);
        let dump =
            "range esp 0+4096 0101010101010101\nrange root 8192+100000 0202020202020202\nzero 300\ncopy 4096 esp 0\n\
                    patch 1000 root 9000\nliteral 5\ncopy 10 root 10000\n";
        assert_eq!(example().dump(), dump);
    }

    #[test]
    fn what_breaks_a_rule_is_refused() {
        let parse = |change: &dyn Fn(&mut Program)| {
            let mut program = example();
            change(&mut program);
            Program::parse(&program.to_bytes(), 5411).expect_err("a broken rule")
        };
        let outside = |offset, length| ProgramError::Outside { offset, length };
        assert_eq!(parse(&|p| p.operations.truncate(4)), ProgramError::Length(5411));
        assert_eq!(parse(&|p| p.operations.push(Operation::Zero { length: 1 })), ProgramError::Length(5411));
        assert_eq!(parse(&|p| p.operations.insert(0, Operation::Zero { length: 0 })), ProgramError::Length(5411));
        assert_eq!(parse(&|p| p.ranges.reverse()), ProgramError::Ranges);
        assert_eq!(parse(&|p| p.ranges[1].length = 0), ProgramError::Ranges);
        assert_eq!(parse(&|p| p.ranges[1].length = LIMIT_RANGE_BYTES), ProgramError::Ranges);
        assert_eq!(parse(&|p| p.ranges[1].offset = u64::MAX), ProgramError::Ranges);
        assert_eq!(parse(&|p| p.ranges = vec![p.ranges[0].clone(); LIMIT_RANGES + 1]), ProgramError::Ranges);
        assert_eq!(parse(&|p| p.ranges[0].length = 4095), outside(0, 4096));
        assert_eq!(parse(&|p| p.ranges[1].offset = 9001), outside(9000, 1000));
        assert_eq!(parse(&|p| p.ranges.truncate(1)), outside(9000, 1000));
        assert_eq!(parse(&|p| p.ranges.clear()), outside(0, 4096));
        assert_eq!(Program::parse(&[0, 9, 1], 1), Err(ProgramError::Operation(9)));
        assert_eq!(Program::parse(&[0, 1], 1), Err(ProgramError::Short));
        assert_eq!(Program::parse(&[], 0), Err(ProgramError::Short));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), output in 0u32..100) {
            if let Ok(program) = Program::parse(&bytes, output) {
                prop_assert_eq!(program.to_bytes(), bytes);
            }
        }

        #[test]
        fn a_changed_byte_gives_a_program_inside_its_ranges_or_an_error(at in any::<prop::sample::Index>(), byte: u8) {
            let mut bytes = example().to_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(program) = Program::parse(&bytes, 5411) {
                prop_assert_eq!(program.operations.iter().map(Operation::length).sum::<u32>(), 5411);
                prop_assert!(program.stays_inside().is_ok());
            }
        }
    }
}
