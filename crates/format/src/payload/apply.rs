//! A segment as it travels and the old images in, the bytes that it writes out; and how a segment is put together.
//!
//! | bytes | what |
//! |---|---|
//! | LEB128 × 6 | of program, literals and differences: length of the content, length as it travels |
//! | as said | the three streams, one after the other, see [`super::stream`] |
//!
//! Invariant: bytes that came out of [`apply`] have the digest that the header names; nothing is decoded before what
//! travelled has the other digest, and nothing of an old image is used before its range has the digest in the program.

use super::program::{Program, ProgramError, LIMIT_PROGRAM_BYTES};
use super::stream::{Stream, StreamError};
use super::varint::{put, take};
use super::{ImageName, Operation, Segment, LIMIT_OUTPUT_BYTES, LIMIT_STORED_BYTES};
use crate::hex;
use sha2::{Digest, Sha256};
use std::io;

/// What is read of an old image at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// The old images of a delta.
pub trait Source {
    /// Fills `bytes`, or fails.
    fn read_at(&self, image: ImageName, offset: u64, bytes: &mut [u8]) -> io::Result<()>;
}

#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    #[error("what travelled is not what the header says: {found} instead of {wanted}")]
    Stored { wanted: String, found: String },
    #[error("the lengths of the segment's streams are not valid")]
    Lengths,
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error("the segment reads an old image, and there is none")]
    NoSource,
    #[error("the old image cannot be read at {offset}")]
    Read {
        offset: u64,
        #[source]
        error: io::Error,
    },
    #[error("the old image is not the one that the payload was made for: {length} bytes at {offset} differ")]
    Source { image: ImageName, offset: u64, length: u64 },
    #[error("what the segment writes is not what the header says: {found} instead of {wanted}")]
    Output { wanted: String, found: String },
}

/// A segment's three streams, each as it travels and with the length of its content.
#[derive(Clone, Copy, Debug)]
pub struct Streams<'a> {
    pub program: (&'a [u8], u32),
    pub literals: (&'a [u8], u32),
    pub differences: (&'a [u8], u32),
}

impl<'a> Streams<'a> {
    /// A segment as it travels.
    pub fn to_bytes(&self) -> Vec<u8> {
        let streams = [self.program, self.literals, self.differences];
        let mut bytes = Vec::new();
        for (stored, length) in streams {
            put(length.into(), &mut bytes);
            put(stored.len() as u64, &mut bytes);
        }
        streams.iter().for_each(|(stored, _)| bytes.extend(*stored));
        bytes
    }

    pub fn parse(stored: &'a [u8]) -> Result<Self, SegmentError> {
        let mut rest = stored.get(..LIMIT_STORED_BYTES as usize).unwrap_or(stored);
        let mut number = || take(&mut rest).and_then(|number| u32::try_from(number).ok()).ok_or(SegmentError::Lengths);
        let mut lengths = [(0, 0); 3];
        for (length, travels) in &mut lengths {
            (*length, *travels) = (number()?, number()?);
        }
        let mut stream = |(length, travels): (u32, u32)| {
            let (stored, after) = rest.split_at_checked(travels as usize)?;
            rest = after;
            Some((stored, length))
        };
        let [program, literals, differences] = lengths.map(&mut stream);
        let streams = program.zip(literals).zip(differences);
        let streams = streams.map(|((program, literals), differences)| Streams { program, literals, differences });
        // Both together are at most the output.
        let bounded = |streams: &Streams| {
            streams.program.1 as usize <= LIMIT_PROGRAM_BYTES
                && u64::from(streams.literals.1) + u64::from(streams.differences.1) <= LIMIT_OUTPUT_BYTES.into()
        };
        streams.filter(|streams| rest.is_empty() && bounded(streams)).ok_or(SegmentError::Lengths)
    }

    /// What the segment does; it has to write `output_bytes`.
    pub fn decode_program(&self, output_bytes: u32) -> Result<Program, SegmentError> {
        let (stored, length) = self.program;
        let program = Program::parse(&Stream::new(stored, length)?.all(length)?, output_bytes)?;
        let (literals, differences) = program.takes();
        for (taken, (_, length)) in [(literals, self.literals), (differences, self.differences)] {
            if taken != length {
                return Err(ProgramError::Stream(length).into());
            }
        }
        Ok(program)
    }
}

/// What the segment writes. Takes, beside that and `stored`, as much memory as the literals and the differences have.
pub fn apply(segment: &Segment, stored: &[u8], source: Option<&dyn Source>) -> Result<Vec<u8>, SegmentError> {
    let found = hex::encode(&Sha256::digest(stored));
    if found != segment.stored_sha256 {
        return Err(SegmentError::Stored { wanted: segment.stored_sha256.clone(), found });
    }
    let streams = Streams::parse(stored)?;
    let program = streams.decode_program(segment.output_bytes)?;
    if let Some(source) = source {
        check_ranges(&program, source)?;
    } else if !program.ranges.is_empty() {
        return Err(SegmentError::NoSource);
    }
    let output = run(&program, &streams, source, segment.output_bytes)?;
    let found = hex::encode(&Sha256::digest(&output));
    match found == segment.output_sha256 {
        true => Ok(output),
        false => Err(SegmentError::Output { wanted: segment.output_sha256.clone(), found }),
    }
}

fn check_ranges(program: &Program, source: &dyn Source) -> Result<(), SegmentError> {
    let mut buffer = vec![0; CHUNK_BYTES];
    for range in &program.ranges {
        let mut hash = Sha256::new();
        let mut done = 0;
        while done < range.length {
            let length = usize::try_from(range.length - done).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
            read(source, range.image, range.offset + done, &mut buffer[..length])?;
            hash.update(&buffer[..length]);
            done += length as u64;
        }
        if hash.finalize()[..] != range.sha256 {
            return Err(SegmentError::Source { image: range.image, offset: range.offset, length: range.length });
        }
    }
    Ok(())
}

fn run(
    program: &Program,
    streams: &Streams,
    source: Option<&dyn Source>,
    output_bytes: u32,
) -> Result<Vec<u8>, SegmentError> {
    let mut literals = Stream::new(streams.literals.0, streams.literals.1)?;
    let mut differences = Stream::new(streams.differences.0, streams.differences.1)?;
    let mut difference = vec![0; CHUNK_BYTES];
    let mut output = vec![0; output_bytes as usize];
    let mut rest = &mut output[..];
    for operation in &program.operations {
        // A program that was read writes exactly this much.
        let (target, after) = rest.split_at_mut(operation.length() as usize);
        rest = after;
        if let Some((image, offset)) = operation.source() {
            read(source.ok_or(SegmentError::NoSource)?, image, offset, target)?;
        }
        match operation {
            Operation::Zero { .. } | Operation::Copy { .. } => {}
            Operation::Literal { .. } => literals.take(target)?,
            Operation::Patch { .. } => {
                for part in target.chunks_mut(CHUNK_BYTES) {
                    let difference = &mut difference[..part.len()];
                    differences.take(difference)?;
                    part.iter_mut().zip(difference).for_each(|(byte, added)| *byte = byte.wrapping_add(*added));
                }
            }
        }
    }
    literals.finish()?;
    differences.finish()?;
    Ok(output)
}

fn read(source: &dyn Source, image: ImageName, offset: u64, bytes: &mut [u8]) -> Result<(), SegmentError> {
    source.read_at(image, offset, bytes).map_err(|error| SegmentError::Read { offset, error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Range;
    use proptest::prelude::*;

    struct Old(Vec<u8>);

    impl Source for Old {
        fn read_at(&self, _: ImageName, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
            let offset = usize::try_from(offset).map_err(io::Error::other)?;
            let part = self.0.get(offset..offset + bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            bytes.copy_from_slice(part);
            Ok(())
        }
    }

    fn old() -> Old {
        Old((0..1000_u32).map(|at| (at * 7 % 251) as u8).collect())
    }

    /// A segment that writes the old bytes in another way, and its new bytes.
    fn example() -> (Segment, Vec<u8>, Vec<u8>) {
        let Old(old) = old();
        let sha256 = Sha256::digest(&old[100..900]).into();
        let program = Program {
            ranges: vec![Range { image: ImageName::Root, offset: 100, length: 800, sha256 }],
            operations: vec![
                Operation::Patch { length: 200, image: ImageName::Root, offset: 300 },
                Operation::Literal { length: 4 },
                Operation::Zero { length: 10 },
                Operation::Copy { length: 300, image: ImageName::Root, offset: 150 },
            ],
        };
        let differences: Vec<u8> = (0..200).map(|at| if at % 50 == 0 { 255 } else { 0 }).collect();
        let patched = old[300..500].iter().zip(&differences).map(|(byte, added)| byte.wrapping_add(*added));
        let output: Vec<u8> = patched.chain(*b"news").chain([0; 10]).chain(old[150..450].iter().copied()).collect();
        let program = program.to_bytes();
        let plain = |bytes: &'static [u8]| (bytes, bytes.len() as u32);
        let streams = Streams {
            program: (&program, program.len() as u32),
            literals: plain(b"news"),
            differences: (&differences, 200),
        };
        let stored = streams.to_bytes();
        (segment(&stored, &output), stored, output)
    }

    fn segment(stored: &[u8], output: &[u8]) -> Segment {
        Segment {
            image: ImageName::Root,
            output_bytes: output.len() as u32,
            output_sha256: hex::encode(&Sha256::digest(output)),
            stored_bytes: stored.len() as u32,
            stored_sha256: hex::encode(&Sha256::digest(stored)),
        }
    }

    #[test]
    fn a_segment_writes_what_its_header_says() {
        let (segment, stored, output) = example();
        assert_eq!(apply(&segment, &stored, Some(&old())).expect("applied"), output);
        assert!(matches!(apply(&segment, &stored, None), Err(SegmentError::NoSource)));
    }

    #[test]
    fn an_old_image_that_differs_is_found_before_it_is_used() {
        let (segment, stored, _) = example();
        for (at, used) in [(99, false), (100, true), (899, true), (900, false)] {
            let mut old = old();
            old.0[at] ^= 1;
            let applied = apply(&segment, &stored, Some(&old));
            assert_eq!(matches!(applied, Err(SegmentError::Source { offset: 100, length: 800, .. })), used, "{at}");
        }
        let short = Old(vec![0; 800]);
        assert!(matches!(apply(&segment, &stored, Some(&short)), Err(SegmentError::Read { .. })));
    }

    #[test]
    fn each_flipped_bit_is_found() {
        let (segment, stored, output) = example();
        for bit in 0..stored.len() * 8 {
            let mut stored = stored.clone();
            stored[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(apply(&segment, &stored, Some(&old())), Err(SegmentError::Stored { .. })));
            // Whoever could change the first digest still has to give the output that the header says.
            let digest = hex::encode(&Sha256::digest(&stored));
            let forged = Segment { stored_sha256: digest, ..segment.clone() };
            let applied = apply(&forged, &stored, Some(&old()));
            assert!(applied.is_err() || applied.is_ok_and(|bytes| bytes == output));
        }
    }

    #[test]
    fn streams_that_do_not_fit_are_refused() {
        let parse = |numbers: [u64; 6], tail: usize| {
            let mut bytes = Vec::new();
            numbers.into_iter().for_each(|number| put(number, &mut bytes));
            bytes.resize(bytes.len() + tail, 0);
            Streams::parse(&bytes).is_ok()
        };
        assert!(parse([1, 1, 2, 2, 3, 3], 6));
        assert!(!parse([1, 1, 2, 2, 3, 3], 5));
        assert!(!parse([1, 1, 2, 2, 3, 3], 7));
        assert!(!parse([(2 << 20) + 1, 1, 0, 0, 0, 0], 1));
        assert!(!parse([1, 1, 8 << 20, 1, 1, 1], 3), "more than the output can be");
        assert!(!parse([1 << 32, 1, 0, 0, 0, 0], 1));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(stored in proptest::collection::vec(any::<u8>(), 0..300), output in 1u32..200) {
            let segment = Segment { output_bytes: output, ..segment(&stored, b"") };
            prop_assert!(apply(&segment, &stored, Some(&old())).is_err());
        }
    }
}
