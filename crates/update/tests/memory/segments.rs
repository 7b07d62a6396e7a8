//! Segments of a root that take as much of memory as the format and the generator let them.
//!
//! Invariant: a segment writes [`SEGMENT_BYTES`], and its columns are coded as the generator codes them, with windows that are
//! as large as what they hold.

use osbuild_format::payload::{
    predict, Correction, Frame, ImageName, Kind, Learned, Methods, Moved, Operation, Parts, Piece, Space, Written,
    LIMIT_COLUMNS_BYTES, LIMIT_OPERATIONS, LIMIT_PIECES, LIMIT_STORED_BYTES,
};
use sha2::{Digest, Sha256};
use std::io::{self, Write};
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

pub const MIB: usize = 1 << 20;
pub const SEGMENT_BYTES: usize = 8 * MIB;
/// 8 MiB.
const WINDOW_LOG: u32 = 23;
/// It decides how long it takes, and not how a decoder's memory is used.
const LEVEL: i32 = 3;

/// A segment before it is stored.
pub struct Planned {
    /// What the old root has in this place.
    pub old: Vec<u8>,
    pub parts: Parts,
    pub output: Vec<u8>,
}

/// The segment of this number. `before`: what the segment before it writes.
pub type Plan = fn(number: usize, before: &[u8]) -> Planned;

impl Planned {
    /// As it travels.
    pub fn store(&self, start: u64, before: &[u8]) -> Vec<u8> {
        let columns = self.parts.columns_bytes(start);
        assert!(columns as u64 <= LIMIT_COLUMNS_BYTES, "more than a reader takes");
        let written = self.parts.written.as_ref().map_or(0, |written| written.length as usize);
        let written = &before[before.len() - written..];
        let stored = self.parts.store(start, |column, goes_on| match goes_on {
            true => compress_after(written, column),
            false => compress(column),
        });
        let stored = stored.expect("stored");
        assert!(stored.len() <= LIMIT_STORED_BYTES as usize, "more than a reader takes");
        assert!(written.is_empty() || stored.len() < columns, "the literals travel as they are and go on from nothing");
        stored
    }
}

fn compress(column: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressor = Compressor::new(LEVEL)?;
    compressor.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
    compressor.set_parameter(CParameter::ChecksumFlag(false))?;
    compressor.compress(column)
}

fn compress_after(before: &[u8], column: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::write::Encoder::with_ref_prefix(Vec::new(), LEVEL, before)?;
    encoder.window_log(WINDOW_LOG)?;
    encoder.include_checksum(false)?;
    encoder.include_contentsize(false)?;
    encoder.write_all(column)?;
    encoder.finish()
}

/// Xorshift, by George Marsaglia.
pub struct Random(u64);

impl Random {
    pub fn of(seed: usize) -> Random {
        Random((seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Cannot be made smaller.
pub fn noise(seed: usize, length: usize) -> Vec<u8> {
    let mut random = Random::of(seed);
    let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).collect();
    bytes.truncate(length);
    bytes
}

/// Can be made smaller by some hundredths: it travels with a window as large as itself, and nearly as large as itself.
fn dense(seed: usize, length: usize) -> Vec<u8> {
    let mut bytes = noise(seed, length);
    bytes.iter_mut().for_each(|byte| *byte %= 216);
    bytes
}

/// Can be made much smaller, with all of the window in use.
fn repetitive(seed: usize, length: usize) -> Vec<u8> {
    let (mut random, words) = (Random::of(seed), noise(seed, 64 << 10));
    let mut bytes = Vec::with_capacity(length + 64);
    while bytes.len() < length {
        let start = (random.next() >> 20) as usize % (words.len() - 64);
        bytes.extend_from_slice(&words[start..start + 64]);
    }
    bytes.truncate(length);
    bytes
}

/// Literals of each kind, and a patch whose every byte is wrong.
pub fn of_any_kind(number: usize, _: &[u8]) -> Planned {
    let old = vec![0; SEGMENT_BYTES];
    let output = [noise, dense, repetitive][number % 3](number, SEGMENT_BYTES);
    let mut parts = Parts::default();
    let kind = match number % 4 {
        3 => {
            parts.source_sha256 = Some(Sha256::digest(&old).into());
            parts.wrong.push(&Correction::of(&old, &output));
            let offset = (number * SEGMENT_BYTES) as u64;
            Kind::Patch { image: ImageName::Root, offset, methods: Methods::NONE, frame: 0 }
        }
        _ => {
            parts.literals.clone_from(&output);
            Kind::Literal { code: false }
        }
    };
    parts.operations.push(Operation { length: output.len() as u32, kind });
    Planned { old, parts, output }
}

/// Literals that go on from the end of the segment before, of which they repeat a part; both fill the window.
pub fn that_goes_on(number: usize, before: &[u8]) -> Planned {
    if before.is_empty() {
        return of_any_kind(0, before);
    }
    // Little of it, and nearly all of the segment travels; or as much as a generator takes.
    let length = if number % 2 == 0 { 4 * MIB } else { MIB / 4 };
    let (offset, from) = (number * SEGMENT_BYTES - length, &before[SEGMENT_BYTES - length..]);
    let mut output = from[..MIB / 4].to_vec();
    output.extend(dense(number, SEGMENT_BYTES - length - output.len()));
    let written = Written {
        image: ImageName::Root,
        offset: offset as u64,
        length: length as u32,
        sha256: Sha256::digest(from).into(),
    };
    let literals = output.clone();
    output.resize(SEGMENT_BYTES, 0);
    let operations = vec![
        Operation { length: literals.len() as u32, kind: Kind::Literal { code: false } },
        Operation { length: (output.len() - literals.len()) as u32, kind: Kind::Zero },
    ];
    let parts = Parts { operations, literals, written: Some(written), ..Parts::default() };
    Planned { old: vec![0; SEGMENT_BYTES], parts, output }
}

/// `Elf64_Rela`.
const RELOCATION_BYTES: usize = 24;
/// Numbers that a reader remembers of a segment.
const REMEMBERED: usize = 1 << 16;

/// Relocations of which nothing moves as any of those before: as many numbers are learned as a reader remembers, of as many kinds,
/// among as many addresses, by as many operations; and all of them are corrected.
pub fn of_learned_numbers(number: usize, _: &[u8]) -> Planned {
    let start = (number * SEGMENT_BYTES) as u64;
    let (old, output) = relocations(number);
    let pieces = (0..LIMIT_PIECES as u64).map(|piece| Piece { start: piece * 100, shift: (piece % 64) as i64 });
    let space = Space { pieces: pieces.collect(), end: u64::from(u32::MAX) };
    let frame = Frame { space: 0, old_base: start, new_base: start };
    let (mut parts, mut learned, mut at, mut wrong) = (Parts::default(), Learned::default(), 0, 0);
    while at < SEGMENT_BYTES {
        let is_last = parts.operations.len() + 1 == LIMIT_OPERATIONS;
        let end = if is_last { SEGMENT_BYTES } else { at + 5 * RELOCATION_BYTES };
        let (offset, methods) = (start + at as u64, Methods::RELOCATIONS);
        let moved = Moved { old: offset, new: offset, methods, frame: &frame, space: &space };
        let mut correction = Correction::to(&output[at..end]);
        let predicted = predict(&mut old[at..end].to_vec(), &moved, &mut learned, &mut correction, |_| ());
        predicted.unwrap_or_else(|never| match never {});
        wrong += correction.cost() / 2;
        parts.wrong.push(&correction);
        let kind = Kind::Patch { image: ImageName::Root, offset, methods, frame: 0 };
        parts.operations.push(Operation { length: (end - at) as u32, kind });
        at = end;
    }
    assert!(parts.operations.len() == LIMIT_OPERATIONS && wrong > REMEMBERED, "{wrong}");
    parts.source_sha256 = Some(Sha256::digest(&old).into());
    (parts.spaces, parts.frames) = (vec![space], vec![frame]);
    Planned { old, parts, output }
}

/// Place, type, symbol and addend of each in the old root, in ascending order, and what they are in the new one.
fn relocations(seed: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut random, mut old, mut new) = (Random::of(seed), Vec::new(), Vec::new());
    for number in 0..(SEGMENT_BYTES / RELOCATION_BYTES) as u64 {
        let numbers = [number * 24, number << 32 | 1, number * 40];
        // By so much that all corrections together take what a segment has room for beside the rest.
        let moves = [random.next() >> 24, random.next() >> 45 << 32, random.next() >> 39];
        old.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        let moved = numbers.iter().zip(moves).map(|(number, by)| number.wrapping_add(by));
        new.extend(moved.flat_map(|number| number.to_le_bytes()));
    }
    old.resize(SEGMENT_BYTES, 0);
    new.resize(SEGMENT_BYTES, 0);
    (old, new)
}
