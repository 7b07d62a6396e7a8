//! Bytes of an old program to what they would be in the new one, had only addresses moved.
//!
//! A [`Space`] says where the addresses of an old program went; a [`Frame`] where in the two images a part of the program lies.
//! What looks like a reference into the space is moved along. Where it was none, or went elsewhere, the difference corrects it:
//! a wrong guess costs bytes and nothing else. Invariant: the result follows from the arguments alone, on every machine.

use super::SegmentError;

/// From `start` up to the next piece, addresses moved by `shift`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub start: u64,
    pub shift: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// In ascending order.
    pub pieces: Vec<Piece>,
    /// Where the last piece ends.
    pub end: u64,
}

impl Space {
    /// None: this is no address of the old program.
    pub fn moved(&self, address: u64) -> Option<u64> {
        self.piece(address).map(|index| address.wrapping_add_signed(self.pieces[index].shift))
    }

    /// Which piece holds `address`.
    fn piece(&self, address: u64) -> Option<usize> {
        if address >= self.end {
            return None;
        }
        self.pieces.partition_point(|piece| piece.start <= address).checked_sub(1)
    }
}

/// An address is an offset in the image less the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Which space.
    pub space: usize,
    pub old_base: u64,
    pub new_base: u64,
}

/// What is looked for, bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Methods(u8);

impl Methods {
    pub const NONE: Self = Self(0);
    /// x86-64: operands of calls and jumps, and those relative to the instruction pointer.
    pub const CODE: Self = Self(1);
    /// Four bytes anywhere that hold an address, sign-extended.
    pub const SIGNED: Self = Self(2);
    /// Aligned words of eight bytes that hold an address.
    pub const WORDS: Self = Self(4);
    /// Aligned four bytes that hold a distance from where they are.
    pub const DISTANCES: Self = Self(8);
    /// Aligned four bytes that hold an address less the frame's base: offsets from where a table begins.
    pub const OFFSETS: Self = Self(16);
    const ALL: u8 = 31;

    pub fn from_bits(bits: u8) -> Result<Self, SegmentError> {
        match bits & !Self::ALL {
            0 => Ok(Self(bits)),
            _ => Err(SegmentError::Methods(bits)),
        }
    }

    pub fn bits(self) -> u8 {
        self.0
    }

    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Moves the references in `bytes`, which were at `old` in the old image and will be at `new` in the new one.
pub fn predict(bytes: &mut [u8], old: u64, new: u64, methods: Methods, frame: &Frame, space: &Space) {
    predict_with(bytes, old, new, methods, frame, space, |_| ());
}

/// The same; `used` gets the index of each piece that a reference is in.
pub fn predict_with(
    bytes: &mut [u8],
    old: u64,
    new: u64,
    methods: Methods,
    frame: &Frame,
    space: &Space,
    used: impl FnMut(usize),
) {
    let (old, new) = (old.wrapping_sub(frame.old_base), new.wrapping_sub(frame.new_base));
    let mut predictor = Predictor { old, new, methods, frame, space, used };
    let mut at = 0;
    while at + 4 <= bytes.len() {
        at += predictor.step(bytes, at);
    }
}

struct Predictor<'a, F> {
    /// Addresses of the first byte.
    old: u64,
    new: u64,
    methods: Methods,
    frame: &'a Frame,
    space: &'a Space,
    used: F,
}

impl<F: FnMut(usize)> Predictor<'_, F> {
    /// Handles what begins at `at`; how far to go on.
    fn step(&mut self, bytes: &mut [u8], at: usize) -> usize {
        let here = self.old.wrapping_add(at as u64);
        let methods = self.methods;
        let has = |method| methods.has(method);
        if has(Methods::OFFSETS) && here % 4 == 0 && self.offset(bytes, at) {
            return 4;
        }
        if has(Methods::CODE) {
            if let Some(operand) = operand(bytes, at) {
                if self.distance(bytes, operand, 4) {
                    return operand + 4 - at;
                }
            }
        }
        if has(Methods::WORDS) && here % 8 == 0 && at + 8 <= bytes.len() {
            let value = u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
            if let Some(moved) = self.moved(value) {
                bytes[at..at + 8].copy_from_slice(&moved.to_le_bytes());
                return 8;
            }
        }
        if has(Methods::SIGNED) {
            let value = i64::from(four(bytes, at)) as u64;
            if let Some(moved) = self.moved(value) {
                bytes[at..at + 4].copy_from_slice(&(moved as u32).to_le_bytes());
                return 4;
            }
        }
        if has(Methods::DISTANCES) && here % 4 == 0 && self.distance(bytes, at, 0) {
            return 4;
        }
        1
    }

    fn moved(&mut self, address: u64) -> Option<u64> {
        let piece = self.space.piece(address)?;
        (self.used)(piece);
        Some(address.wrapping_add_signed(self.space.pieces[piece].shift))
    }

    /// Moves the four bytes at `at`, an address less the base.
    fn offset(&mut self, bytes: &mut [u8], at: usize) -> bool {
        let address = (i64::from(four(bytes, at)) as u64).wrapping_sub(self.frame.old_base);
        let Some(moved) = self.moved(address) else {
            return false;
        };
        bytes[at..at + 4].copy_from_slice(&(moved.wrapping_add(self.frame.new_base) as u32).to_le_bytes());
        true
    }

    /// Moves the four bytes at `at`, a distance from `from` bytes after them.
    fn distance(&mut self, bytes: &mut [u8], at: usize, from: u64) -> bool {
        let after = (at as u64).wrapping_add(from);
        let target = self.old.wrapping_add(after).wrapping_add_signed(i64::from(four(bytes, at)));
        let Some(moved) = self.moved(target) else {
            return false;
        };
        let value = moved.wrapping_sub(self.new.wrapping_add(after)) as u32;
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        true
    }
}

/// Where the operand is of what looks like an instruction at `at` with one relative to the instruction pointer.
fn operand(bytes: &[u8], at: usize) -> Option<usize> {
    let operand = match (bytes[at], bytes[at + 1]) {
        (0xe8 | 0xe9, _) => at + 1,
        (0x0f, 0x80..=0x8f) => at + 2,
        // The byte before may be any operation; this one says: register and distance.
        (modes, _) if at > 0 && modes & 0xc7 == 0x05 => at + 1,
        _ => return None,
    };
    (operand + 4 <= bytes.len()).then_some(operand)
}

fn four(bytes: &[u8], at: usize) -> i32 {
    i32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> Space {
        Space { pieces: vec![Piece { start: 0x1000, shift: 0x10 }, Piece { start: 0x2000, shift: 0x20 }], end: 0x3000 }
    }

    #[test]
    fn references_follow_what_they_refer_to() {
        let frame = Frame { space: 0, old_base: 0, new_base: 0 };
        // call 0x2000 at 0x1000, which itself moves by 0x10.
        let mut call = [0xe8, 0xfb, 0x0f, 0, 0, 0x90];
        predict(&mut call, 0x1000, 0x1010, Methods::CODE, &frame, &space());
        assert_eq!(call, [0xe8, 0x0b, 0x10, 0, 0, 0x90]);
        let mut word = 0x2008u64.to_le_bytes();
        predict(&mut word, 0x1000, 0x1010, Methods::WORDS, &frame, &space());
        assert_eq!(word, 0x2028u64.to_le_bytes());
        let mut distance = 0x1000u32.to_le_bytes();
        predict(&mut distance, 0x1000, 0x1010, Methods::DISTANCES, &frame, &space());
        assert_eq!(distance, 0x1010u32.to_le_bytes());
        // The table begins at 0x1800 and at 0x1900; what it names is at 0x2004 and moves by 0x20.
        let table = Frame { space: 0, old_base: 0x1800u64.wrapping_neg(), new_base: 0x1900u64.wrapping_neg() };
        let mut offset = 0x804u32.to_le_bytes();
        predict(&mut offset, 0x1000, 0x1010, Methods::OFFSETS, &table, &space());
        assert_eq!(offset, 0x724u32.to_le_bytes());
        let mut elsewhere = [0xe8, 0, 0, 0, 0x10];
        predict(&mut elsewhere, 0x1000, 0x1010, Methods::CODE, &frame, &space());
        assert_eq!(elsewhere, [0xe8, 0, 0, 0, 0x10]);
    }
}
