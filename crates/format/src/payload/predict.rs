//! Bytes of an old program to what they would be in the new one, had only addresses moved.
//!
//! What looks like a reference is moved as its [`Space`] says, or as references before it were ([`Learned`]). Where it was
//! none, or went elsewhere, a correction follows: a wrong guess costs bytes and nothing else. Invariant: the result follows
//! from the arguments alone, on every machine.

use super::learned::{Domain, Learned, Number};
use super::space::{Frame, Space};
use super::SegmentError;

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
    /// ELF64 relocations with addends, and nothing else.
    pub const RELOCATIONS: Self = Self(32);
    /// Aligned four bytes that hold the number of a type or the place of a name (BTF), and nothing else.
    pub const IDS: Self = Self(64);
    const ALL: u8 = 127;

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

/// What the bytes are in truth. It gets all of them, in their order, as predicted, and makes them what they are.
pub trait Truth {
    type Error;

    fn plain(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error>;

    /// A reference of 4 or 8 bytes.
    fn reference(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error>;
}

/// Bytes of a PATCH, by their offsets in the old and in the new image, and how references in them move.
#[derive(Clone, Copy, Debug)]
pub struct Moved<'a> {
    pub old: u64,
    pub new: u64,
    pub methods: Methods,
    pub frame: &'a Frame,
    pub space: &'a Space,
}

/// ELF64, `Elf64_Rela`.
const RELOCATION_BYTES: usize = 24;
/// The target of `R_X86_64_PC32` and `R_X86_64_PLT32` is counted from behind their four bytes.
const FROM_BEHIND: [u32; 2] = [2, 4];
/// Of BTF: a larger number is none of a type or name.
const IDS_END: u32 = 1 << 24;

/// Moves the references in `bytes` and has `truth` correct them. `used` gets the index of each piece that a reference is in.
pub fn predict<T: Truth>(
    bytes: &mut [u8],
    moved: &Moved,
    learned: &mut Learned,
    truth: &mut T,
    used: impl FnMut(usize),
) -> Result<(), T::Error> {
    let Moved { old, new, methods, frame, space } = *moved;
    let (old, new) = (old.wrapping_sub(frame.old_base), new.wrapping_sub(frame.new_base));
    let mut predictor = Predictor { old, new, methods, frame, space, learned, truth, used };
    let (mut at, mut done) = (0, 0);
    while at + 4 <= bytes.len() {
        match predictor.found(bytes, at) {
            None => at += 1,
            Some(found) => {
                predictor.truth.plain(&mut bytes[done..found.at()])?;
                done = found.end();
                predictor.correct(&mut bytes[found.at()..done], &found)?;
                at = done;
            }
        }
    }
    predictor.truth.plain(&mut bytes[done..])
}

/// How four or eight bytes hold an address.
#[derive(Clone, Copy)]
enum Form {
    /// From so many bytes behind where they are.
    Distance(u64),
    Word,
    Signed,
    Offset,
}

impl Form {
    fn number(self) -> u8 {
        match self {
            Form::Distance(0) => 0,
            Form::Distance(_) => 1,
            Form::Word => 2,
            Form::Signed => 3,
            Form::Offset => 4,
        }
    }
}

const PLACE: u8 = 5;
const SYMBOL: u8 = 6;
const ADDEND: u8 = 7;
/// The first of three: most entries of BTF have three numbers.
const ID: u8 = 8;

enum Found {
    Reference { at: usize, form: Form, address: u64 },
    Relocation { at: usize },
    Id { at: usize, value: u32 },
}

impl Found {
    fn at(&self) -> usize {
        match self {
            Found::Reference { at, .. } | Found::Relocation { at } | Found::Id { at, .. } => *at,
        }
    }

    fn end(&self) -> usize {
        match self {
            Found::Reference { at, form: Form::Word, .. } => at + 8,
            Found::Reference { at, .. } | Found::Id { at, .. } => at + 4,
            Found::Relocation { at } => at + RELOCATION_BYTES,
        }
    }
}

struct Predictor<'a, T, F> {
    /// Addresses of the first byte.
    old: u64,
    new: u64,
    methods: Methods,
    frame: &'a Frame,
    space: &'a Space,
    learned: &'a mut Learned,
    truth: &'a mut T,
    used: F,
}

impl<T: Truth, F: FnMut(usize)> Predictor<'_, T, F> {
    /// What begins at `at`. Everything from there on is as in the old image.
    fn found(&self, bytes: &[u8], at: usize) -> Option<Found> {
        let here = self.old.wrapping_add(at as u64);
        let has = |method| self.methods.has(method);
        if has(Methods::RELOCATIONS) {
            let whole = here % RELOCATION_BYTES as u64 == 0 && at + RELOCATION_BYTES <= bytes.len();
            return whole.then_some(Found::Relocation { at });
        }
        let value = four(bytes, at);
        if has(Methods::IDS) {
            let id = here % 4 == 0 && (1..IDS_END).contains(&value);
            return id.then_some(Found::Id { at, value });
        }
        let signed = i64::from(value as i32) as u64;
        let offset = || self.reference(at, Form::Offset, signed.wrapping_sub(self.frame.old_base));
        let operand = || {
            let operand = operand(bytes, at)?;
            self.distance(bytes, operand, 4)
        };
        let word = || self.reference(at, Form::Word, eight(bytes.get(at..at + 8)?, 0));
        let signed = || self.reference(at, Form::Signed, signed);
        // In this order; none is looked for through a pointer, for this is done at every byte.
        when(has(Methods::OFFSETS) && here % 4 == 0, offset)
            .or_else(|| when(has(Methods::CODE), operand))
            .or_else(|| when(has(Methods::WORDS) && here % 8 == 0, word))
            .or_else(|| when(has(Methods::SIGNED), signed))
            .or_else(|| when(has(Methods::DISTANCES) && here % 4 == 0, || self.distance(bytes, at, 0)))
    }

    fn distance(&self, bytes: &[u8], at: usize, from: u64) -> Option<Found> {
        let behind = (at as u64).wrapping_add(from);
        let distance = i64::from(four(bytes, at) as i32);
        self.reference(at, Form::Distance(from), self.old.wrapping_add(behind).wrapping_add_signed(distance))
    }

    fn reference(&self, at: usize, form: Form, address: u64) -> Option<Found> {
        self.space.piece(address).map(|_| Found::Reference { at, form, address })
    }

    /// Moves what was found and learns what it is in truth; `bytes` are all of it.
    fn correct(&mut self, bytes: &mut [u8], found: &Found) -> Result<(), T::Error> {
        let space = self.frame.space as u32;
        match *found {
            Found::Reference { at, form, address } => {
                // Less in the new image than the address.
                let base = match form {
                    Form::Distance(from) => self.new.wrapping_add((at as u64).wrapping_add(from)),
                    Form::Word | Form::Signed => 0,
                    Form::Offset => self.frame.new_base.wrapping_neg(),
                };
                let number = self.number(Domain::Addresses { space }, form.number(), address, true);
                self.correct_number(bytes, &number, address.wrapping_sub(base), true)
            }
            Found::Relocation { .. } => self.correct_relocation(bytes),
            Found::Id { at, value } => {
                let role = (self.old.wrapping_add(at as u64) / 4 % 3) as u8;
                let number =
                    Number { domain: Domain::Ids, form: ID + role, value: u64::from(value), expected: Some(0) };
                self.correct_number(bytes, &number, u64::from(value), false)
            }
        }
    }

    /// Place, type, symbol, addend.
    fn correct_relocation(&mut self, bytes: &mut [u8]) -> Result<(), T::Error> {
        let space = self.frame.space as u32;
        let (place, symbol, addend) = (eight(bytes, 0), four(bytes, 12), eight(bytes, 16));
        let behind = if FROM_BEHIND.contains(&four(bytes, 8)) { 4 } else { 0 };
        let base = self.frame.new_base as u32;
        let number = self.number(Domain::Places { space, base }, PLACE, place, true);
        self.correct_number(&mut bytes[..8], &number, place, true)?;
        self.truth.plain(&mut bytes[8..12])?;
        let number = self.number(Domain::Symbols { space }, SYMBOL, u64::from(symbol), false);
        self.correct_number(&mut bytes[12..16], &number, u64::from(symbol), false)?;
        let number = self.number(Domain::Addends { space, symbol }, ADDEND, addend.wrapping_add(behind), true);
        self.correct_number(&mut bytes[16..], &number, addend, true)
    }

    fn number(&mut self, domain: Domain, form: u8, value: u64, spaced: bool) -> Number {
        let piece = self.space.piece(value).filter(|_| spaced);
        piece.into_iter().for_each(&mut self.used);
        Number { domain, form, value, expected: piece.map(|piece| self.space.pieces[piece].shift) }
    }

    /// `held`: what the bytes hold before they are moved; four of them are extended by their sign, or by zeros.
    fn correct_number(&mut self, bytes: &mut [u8], number: &Number, held: u64, signed: bool) -> Result<(), T::Error> {
        let read = |bytes: &[u8]| match (bytes.len(), signed) {
            (4, true) => i64::from(four(bytes, 0) as i32) as u64,
            (4, false) => u64::from(four(bytes, 0)),
            _ => eight(bytes, 0),
        };
        let guess = self.learned.guess(number);
        let moved = held.wrapping_add_signed(guess.shift);
        let length = bytes.len();
        bytes.copy_from_slice(&moved.to_le_bytes()[..length]);
        self.truth.reference(bytes)?;
        self.learned.learn(number, &guess, read(bytes).wrapping_sub(held) as i64);
        Ok(())
    }
}

fn when(looked_for: bool, find: impl FnOnce() -> Option<Found>) -> Option<Found> {
    if looked_for {
        find()
    } else {
        None
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

fn four(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn eight(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

#[cfg(test)]
mod tests {
    use super::super::space::Piece;
    use super::*;
    use std::convert::Infallible;

    /// All guesses are right.
    struct Believed;

    impl Truth for Believed {
        type Error = Infallible;

        fn plain(&mut self, _: &mut [u8]) -> Result<(), Infallible> {
            Ok(())
        }

        fn reference(&mut self, _: &mut [u8]) -> Result<(), Infallible> {
            Ok(())
        }
    }

    fn moved(mut bytes: Vec<u8>, methods: Methods, old_base: u64, new_base: u64) -> Vec<u8> {
        let pieces = vec![Piece { start: 0x1000, shift: 0x10 }, Piece { start: 0x2000, shift: 0x20 }];
        let (space, frame) = (Space { pieces, end: 0x3000 }, Frame { space: 0, old_base, new_base });
        let moved = Moved { old: 0x1008, new: 0x1018, methods, frame: &frame, space: &space };
        match predict(&mut bytes, &moved, &mut Learned::default(), &mut Believed, |_| ()) {
            Ok(()) => bytes,
            Err(never) => match never {},
        }
    }

    #[test]
    fn references_follow_what_they_refer_to() {
        // call 0x2008 at 0x1008, which itself moves by 0x10.
        let call = vec![0xe8, 0xfb, 0x0f, 0, 0, 0x90];
        assert_eq!(moved(call, Methods::CODE, 0, 0), [0xe8, 0x0b, 0x10, 0, 0, 0x90]);
        let word = 0x2008u64.to_le_bytes().to_vec();
        assert_eq!(moved(word, Methods::WORDS, 0, 0), 0x2028u64.to_le_bytes());
        assert_eq!(moved(vec![0, 0x10, 0, 0], Methods::DISTANCES, 0, 0), [0x10, 0x10, 0, 0]);
        // The table begins at 0x1800 and at 0x1900; what it names is at 0x2004 and moves by 0x20.
        let (old, new) = (0x1800u64.wrapping_neg(), 0x1900u64.wrapping_neg());
        assert_eq!(moved(0x804u32.to_le_bytes().to_vec(), Methods::OFFSETS, old, new), 0x724u32.to_le_bytes());
        let elsewhere = vec![0xe8, 0, 0, 0, 0x10];
        assert_eq!(moved(elsewhere.clone(), Methods::CODE, 0, 0), elsewhere);
    }

    #[test]
    fn relocations_move_by_their_place_and_what_they_add() {
        let relocation = |place: u64, kind: u32, symbol: u32, addend: u64| {
            [&place.to_le_bytes()[..], &kind.to_le_bytes(), &symbol.to_le_bytes(), &addend.to_le_bytes()].concat()
        };
        // The second piece begins at 0x2000, which is what an operand is counted to that adds 0x1ffc.
        let old = [relocation(0x1800, 2, 7, 0x1ffc), relocation(0x2800, 1, 7, 0x1ffc)].concat();
        let new = [relocation(0x1810, 2, 7, 0x201c), relocation(0x2820, 1, 7, 0x200c)].concat();
        assert_eq!(moved(old, Methods::RELOCATIONS, 0x1008, 0), new);
    }
}
