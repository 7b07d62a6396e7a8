//! A part of a program to how its references are looked for; a match and a way to what is left to correct.
//!
//! Invariant: a way that does not fit makes corrections larger, never wrong.

use super::program::{Content, Part, RELOCATION_BYTES};
use osbuild_format::payload::{predict, Correction, Learned, Methods, Moved};

/// What sets `old` right when its references are `moved`.
pub fn corrected<'a>(
    old: &[u8],
    new: &'a [u8],
    moved: &Moved,
    learned: &mut Learned,
    used: impl FnMut(usize),
) -> Correction<'a> {
    let mut correction = Correction::to(new);
    match predict(&mut old.to_vec(), moved, learned, &mut correction, used) {
        Ok(()) => correction,
        Err(never) => match never {},
    }
}

/// Entries of the old section come to lie on entries of the new one.
pub fn in_step(moved: &Moved) -> bool {
    let (old, new) = (moved.old.wrapping_sub(moved.frame.old_base), moved.new.wrapping_sub(moved.frame.new_base));
    old % RELOCATION_BYTES as u64 == new % RELOCATION_BYTES as u64
}

/// How addresses in a part are likely held, in the order in which they are tried; `linked`: the program is a kernel, whose
/// code holds addresses as they are.
pub fn ways(part: Option<&Part>, linked: bool) -> &'static [Methods] {
    const CODE: Methods = Methods::CODE;
    const SIGNED: Methods = Methods::SIGNED;
    const WORDS: Methods = Methods::WORDS;
    const DISTANCES: Methods = Methods::DISTANCES;
    const LINKED: Methods = CODE.and(SIGNED);
    const BOTH: Methods = WORDS.and(DISTANCES);
    match part.map(|part| part.content) {
        Some(Content::Code) if linked => &[CODE, LINKED],
        Some(Content::Code) => &[CODE],
        Some(Content::Words) => &[WORDS, DISTANCES, BOTH, SIGNED],
        Some(Content::Distances(_) | Content::Unwind) => &[DISTANCES],
        Some(Content::Table) => &[Methods::OFFSETS],
        Some(Content::Relocations) => &[Methods::RELOCATIONS, WORDS],
        Some(Content::Ids) => &[Methods::IDS],
        Some(Content::Addresses) => &[SIGNED],
        None => &[],
    }
}
