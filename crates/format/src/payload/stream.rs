//! One column of a segment, plain or a zstd frame, to its bytes and numbers.
//!
//! Numbers are LEB128: seven bits a byte, the lowest first, the highest bit says that more follow. Invariant: no more bytes
//! come out than the column's declared length, and one that holds fewer or more is an error.

use super::before::{Before, WINDOW_BYTES};
use super::SegmentError;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use std::io::{BufRead, BufReader, Read};

/// Of all columns of a segment together, decoded: this bounds what the decoders' windows take.
pub const LIMIT_COLUMNS_BYTES: u64 = (8 << 20) + (512 << 10);
/// What a segment may take of a reader's memory beside the bytes that it writes: as it travels, its columns decoded, and what is
/// kept of its operations, pieces and learned numbers.
pub const LIMIT_WORK_BYTES: u64 = 18 << 20;
const BUFFER_BYTES: usize = 4096;
/// A column may have a window of this size however little it holds: encoders have fixed ones.
const SMALL_WINDOW_BYTES: u64 = 128 << 10;

/// How a column travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Empty = 0,
    Plain = 1,
    Zstd = 2,
    /// A zstd frame without its header, which goes on from something.
    After = 3,
}

pub struct Column<'a> {
    name: &'static str,
    bytes: Box<dyn BufRead + 'a>,
    left: u64,
}

/// Length of a column: as it travels and decoded.
pub struct Declared {
    coding: Coding,
    decoded: u64,
    stored: u64,
}

impl Declared {
    /// Takes the declaration off `bytes`.
    pub fn read(bytes: &mut &[u8]) -> Result<Self, SegmentError> {
        let (coding, rest) = bytes.split_first().ok_or(SegmentError::Short)?;
        *bytes = rest;
        match coding {
            0 => Ok(Self { coding: Coding::Empty, decoded: 0, stored: 0 }),
            1 => {
                let length = number(bytes)?;
                Ok(Self { coding: Coding::Plain, decoded: length, stored: length })
            }
            2 => Ok(Self { coding: Coding::Zstd, decoded: number(bytes)?, stored: number(bytes)? }),
            3 => Ok(Self { coding: Coding::After, decoded: number(bytes)?, stored: number(bytes)? }),
            other => Err(SegmentError::Coding(*other)),
        }
    }

    pub fn decoded(&self) -> u64 {
        self.decoded
    }

    /// Takes the column off `bytes`.
    pub fn open<'a>(&self, name: &'static str, bytes: &mut &'a [u8]) -> Result<Column<'a>, SegmentError> {
        self.open_after(name, bytes, None)
    }

    /// The same, where the column may go on from `before`.
    pub fn open_after<'a>(
        &self,
        name: &'static str,
        bytes: &mut &'a [u8],
        before: Option<Before<'a>>,
    ) -> Result<Column<'a>, SegmentError> {
        let stored = usize::try_from(self.stored).ok().filter(|stored| *stored <= bytes.len());
        let (mine, rest) = bytes.split_at(stored.ok_or(SegmentError::Short)?);
        *bytes = rest;
        let reader: Box<dyn BufRead + 'a> = match self.coding {
            Coding::Empty | Coding::Plain => Box::new(mine),
            Coding::Zstd => {
                let decoder = StreamingDecoder::<_, FrameDecoder>::new(mine);
                let decoder = decoder.map_err(|error| SegmentError::Zstd { column: name, text: error.to_string() })?;
                // A decoder keeps a whole window before it gives out the first byte of the column.
                let window = window_bytes(mine).unwrap_or_else(|| decoder.decoder.content_size());
                let content = decoder.decoder.content_size();
                if content > self.decoded || window > self.decoded.max(SMALL_WINDOW_BYTES) {
                    return Err(SegmentError::Window(name));
                }
                Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
            }
            Coding::After => {
                let before = before.ok_or(SegmentError::Coding(Coding::After as u8))?;
                let length = before.length;
                if length.saturating_add(self.decoded) > WINDOW_BYTES {
                    return Err(SegmentError::Window(name));
                }
                let decoder = StreamingDecoder::<_, FrameDecoder>::new(before.frame(mine));
                let decoder = decoder.map_err(|error| SegmentError::Zstd { column: name, text: error.to_string() })?;
                let reader = Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder));
                let mut column = Column { name, bytes: reader, left: self.decoded + length };
                column.pass(length)?;
                return Ok(column);
            }
        };
        Ok(Column { name, bytes: reader, left: self.decoded })
    }
}

impl Column<'_> {
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    pub fn fill(&mut self, bytes: &mut [u8]) -> Result<(), SegmentError> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(SegmentError::Column(self.name))?;
        let read = self.bytes.read_exact(bytes);
        read.map_err(|error| SegmentError::Zstd { column: self.name, text: error.to_string() })
    }

    /// Passes over bytes.
    fn pass(&mut self, length: u64) -> Result<(), SegmentError> {
        let (mut left, mut bytes) = (length, [0; BUFFER_BYTES]);
        while left > 0 {
            let part = left.min(BUFFER_BYTES as u64);
            self.fill(&mut bytes[..part as usize])?;
            left -= part;
        }
        Ok(())
    }

    pub fn byte(&mut self) -> Result<u8, SegmentError> {
        let mut byte = [0];
        self.fill(&mut byte)?;
        Ok(byte[0])
    }

    pub fn number(&mut self) -> Result<u64, SegmentError> {
        leb128(|| self.byte())
    }

    /// The lowest bit is the sign: 0, -1, 1, -2, ...
    pub fn signed(&mut self) -> Result<i64, SegmentError> {
        Ok(unfold(self.number()?))
    }

    /// Everything was read.
    pub fn end(mut self) -> Result<(), SegmentError> {
        let mut more = [0];
        match self.left == 0 && self.bytes.read(&mut more).is_ok_and(|read| read == 0) {
            true => Ok(()),
            false => Err(SegmentError::Column(self.name)),
        }
    }
}

/// Window of a zstd frame (RFC 8878, section 3.1.1.1.2). None: it is as large as the content, whose size is given.
fn window_bytes(frame: &[u8]) -> Option<u64> {
    let (descriptor, window) = (frame.get(4)?, frame.get(5)?);
    let base = 1u64 << (10 + (window >> 3));
    (descriptor & 0x20 == 0).then_some(base + base / 8 * u64::from(window & 7))
}

/// Takes a number off `bytes`.
pub fn number(bytes: &mut &[u8]) -> Result<u64, SegmentError> {
    leb128(|| {
        let (byte, rest) = bytes.split_first().ok_or(SegmentError::Short)?;
        *bytes = rest;
        Ok(*byte)
    })
}

fn leb128(mut next: impl FnMut() -> Result<u8, SegmentError>) -> Result<u64, SegmentError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = next()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(SegmentError::Number)
}

pub fn push_number(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

pub fn push_signed(bytes: &mut Vec<u8>, value: i64) {
    push_number(bytes, fold(value));
}

fn fold(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unfold(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}
