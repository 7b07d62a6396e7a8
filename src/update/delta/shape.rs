//! Bytes of programs to their shape: the same without addresses, so that two builds of a function are the same in it.
//!
//! Invariant: a shape is as long as its bytes; it serves to find what matches, never as bytes of an image.

use super::btf;
use super::program::{Content, Part, Programs, RELOCATION_BYTES};
use std::ops::Range;

/// A lower number is more likely no address.
const LOWEST: u64 = 4096;

/// A larger part is flattened from where the range begins, not from its own start.
const WHOLE: usize = 8 << 20;

/// The shape of the bytes `range` of the image.
pub fn shape(image: &[u8], programs: &Programs, range: Range<usize>) -> Vec<u8> {
    let mut shape = image[range.clone()].to_vec();
    let first = programs.parts.partition_point(|part| part.place.end <= range.start);
    for part in programs.parts[first..].iter().take_while(|part| part.place.start < range.end) {
        let addresses = &programs.addresses[part.program];
        let place = part.place.start.max(range.start)..part.place.end.min(range.end);
        let mut part = part.clone();
        if part.place.len() > WHOLE {
            part.address = part.address.wrapping_add((place.start - part.place.start) as u64);
            part.place = place.clone();
        }
        let bytes = &image[part.place.clone()];
        let mut flat = bytes.to_vec();
        flatten_part(&part, bytes, &mut flat, addresses);
        let skip = place.start - part.place.start;
        shape[place.start - range.start..place.end - range.start].copy_from_slice(&flat[skip..skip + place.len()]);
    }
    shape
}

fn flatten_part(part: &Part, bytes: &[u8], shape: &mut [u8], addresses: &Range<u64>) {
    match part.content {
        Content::Code => flatten(shape, part.address, addresses),
        Content::Words => flatten_words(bytes, shape, part.address, addresses),
        Content::Distances(row) => from_before(bytes, shape, 0, row),
        Content::Table => from_before(bytes, shape, 12, 2),
        Content::Ids => btf::flatten(bytes, shape),
        Content::Addresses => from_before(bytes, shape, 0, 1),
        Content::Unwind if part.address == part.origin => flatten_unwind(shape),
        Content::Unwind => {}
        Content::Relocations => flatten_relocations(bytes, shape, part.address as usize),
    }
}

fn four(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

/// 32-bit numbers become what they are more than the one `row` before.
fn from_before(bytes: &[u8], shape: &mut [u8], start: usize, row: usize) {
    for at in (start + 4 * row..bytes.len().saturating_sub(3)).step_by(4) {
        let difference = four(bytes, at).wrapping_sub(four(bytes, at - 4 * row));
        shape[at..at + 4].copy_from_slice(&difference.to_le_bytes());
    }
}

/// Each entry of the function that it is for, and of the entry that it shares.
fn flatten_unwind(shape: &mut [u8]) {
    let mut at = 0;
    while at + 12 <= shape.len() {
        let length = four(shape, at) as usize;
        if length >= shape.len() - at - 3 {
            break;
        }
        if length >= 8 && four(shape, at + 4) != 0 {
            shape[at + 4..at + 12].fill(0);
        }
        at += 4 + length;
    }
}

/// The place becomes the distance from the one before; the symbol, and what is added where it is a place, go.
fn flatten_relocations(bytes: &[u8], shape: &mut [u8], address: usize) {
    const ENTRY: usize = RELOCATION_BYTES;
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let first = (ENTRY - address % ENTRY) % ENTRY;
    for at in (first..bytes.len().saturating_sub(ENTRY - 1)).step_by(ENTRY) {
        let before = if at < ENTRY { 0 } else { word(at - ENTRY) };
        shape[at..at + 8].copy_from_slice(&word(at).wrapping_sub(before).to_le_bytes());
        shape[at + 12..at + 16].fill(0);
        if (64..1 << 32).contains(&word(at + 16)) {
            shape[at + 16..at + 24].fill(0);
        }
    }
}

/// Pointers become their distance from the one three words before, as in tables of relocations: that stays when all move.
fn flatten_words(words: &[u8], shape: &mut [u8], address: u64, addresses: &Range<u64>) {
    let first = ((8 - address % 8) % 8) as usize;
    let pointer = |at: usize| {
        let value = u64::from_le_bytes(words[at..at + 8].try_into().expect("8 bytes"));
        Some(value).filter(|value| addresses.contains(value) && *value >= LOWEST)
    };
    for at in (first..words.len().saturating_sub(7)).step_by(8) {
        if let Some(value) = pointer(at) {
            let before = at.checked_sub(24).filter(|before| *before >= first).and_then(pointer);
            let distance = before.map_or(0, |before| value.wrapping_sub(before));
            shape[at..at + 8].copy_from_slice(&distance.to_le_bytes());
        }
    }
}

fn flatten(code: &mut [u8], address: u64, addresses: &Range<u64>) {
    let mut at = 1;
    while at + 6 <= code.len() {
        let operand = match (code[at], code[at + 1]) {
            (0xe8 | 0xe9, _) => at + 1,
            (0x0f, 0x80..=0x8f) => at + 2,
            (modes, _) if modes & 0xc7 == 0x05 => at + 1,
            _ => at,
        };
        let value = i32::from_le_bytes(code[operand..operand + 4].try_into().expect("4 bytes"));
        let target = match operand == at {
            // The kernel is linked to its addresses.
            true => i64::from(value) as u64,
            false => address.wrapping_add(operand as u64 + 4).wrapping_add_signed(value.into()),
        };
        let high = operand != at || addresses.start > 1 << 31;
        if high && addresses.contains(&target) {
            code[operand..operand + 4].fill(0);
            at = operand + 4;
        } else {
            at += 1;
        }
    }
}
