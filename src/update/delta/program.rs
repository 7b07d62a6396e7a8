//! Bytes of an image to the x86-64 programs in it, and to the shape of their code: the same bytes without addresses.
//!
//! Programs lie in an image in one piece, so their headers are found by looking; nothing else has to be known of the image.
//! Invariant: what is found only guides the generator: a program that is missed or misread makes a delta larger, never wrong.

use std::ops::Range;

const HEADER_BYTES: usize = 64;
const LOAD_BYTES: usize = 56;
/// Of images: files begin at blocks, the kernel at a section of the UKI.
const ALIGNMENT: usize = 512;
/// Of the root's file system.
const BLOCK: usize = 4096;
/// A lower number is more likely no address.
const LOWEST: u64 = 4096;
const LIMIT_LOADS: usize = 64;

/// A part of a program that is loaded as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// In the image.
    pub place: Range<usize>,
    /// Where its first byte is loaded.
    pub address: u64,
    pub executable: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub loads: Vec<Load>,
    /// Addresses from the first to the last of any load, with what has no bytes.
    pub addresses: Range<u64>,
}

impl Program {
    pub fn load(&self, place: usize) -> Option<&Load> {
        self.loads.iter().find(|load| load.place.contains(&place))
    }
}

/// All programs, in the order in which they lie there.
pub fn find(image: &[u8]) -> Vec<Program> {
    let starts = (0..image.len()).step_by(ALIGNMENT).filter(|at| image[*at..].starts_with(b"\x7fELF\x02\x01\x01"));
    let mut programs: Vec<Program> = Vec::new();
    for program in starts.filter_map(|at| read(image, at)) {
        let start = program.loads[0].place.start;
        let last = programs.last_mut().and_then(|program| program.loads.last_mut());
        match last {
            // Of a file, what does not fill a block may lie elsewhere: the next file begins where it would be.
            Some(last) if last.place.end > start && last.place.end - start < BLOCK && last.place.start < start => {
                last.place.end = start;
                programs.push(program);
            }
            Some(last) if last.place.end > start => {}
            _ => programs.push(program),
        }
    }
    programs
}

fn read(image: &[u8], at: usize) -> Option<Program> {
    let head = image.get(at..at + HEADER_BYTES)?;
    let number = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let short = |at: usize| usize::from(u16::from_le_bytes([head[at], head[at + 1]]));
    let (machine, entry, count) = (short(18), short(54), short(56));
    if machine != 62 || entry != LOAD_BYTES || count > LIMIT_LOADS {
        return None;
    }
    let table = at.checked_add(usize::try_from(number(head, 32)).ok()?)?;
    let mut program = Program { loads: Vec::new(), addresses: Range { start: u64::MAX, end: 0 } };
    for index in 0..count {
        let entry = image.get(table + index * LOAD_BYTES..)?.get(..LOAD_BYTES)?;
        if entry[..4] != [1, 0, 0, 0] {
            continue;
        }
        let start = at.checked_add(usize::try_from(number(entry, 8)).ok()?)?;
        let end = start.checked_add(usize::try_from(number(entry, 32)).ok()?)?;
        let (address, size) = (number(entry, 16), number(entry, 40));
        program.addresses.start = program.addresses.start.min(address);
        program.addresses.end = program.addresses.end.max(address.checked_add(size)?);
        if start < end && end <= image.len() {
            program.loads.push(Load { place: start..end, address, executable: entry[4] & 1 != 0 });
        }
    }
    program.loads.sort_by_key(|load| load.place.start);
    let apart = program.loads.windows(2).all(|pair| pair[0].place.end <= pair[1].place.start);
    (apart && !program.loads.is_empty()).then_some(program)
}

/// The image with zeros instead of what looks like an address in code: two builds of a function are the same in it.
pub fn shape(image: &[u8], programs: &[Program]) -> Vec<u8> {
    let mut shape = image.to_vec();
    for program in programs {
        for load in &program.loads {
            let place = load.place.clone();
            match load.executable {
                true => flatten(&mut shape[place], load.address, &program.addresses),
                false => flatten_words(&image[place.clone()], &mut shape[place], load.address, &program.addresses),
            }
        }
    }
    shape
}

/// Pointers become their distance from the one three words before, as in tables of relocations: that stays when all move.
fn flatten_words(words: &[u8], shape: &mut [u8], address: u64, addresses: &Range<u64>) {
    let first = (address.next_multiple_of(8) - address) as usize;
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
