//! Matches between two programs to where addresses of the old one went.
//!
//! Invariant: pieces are in ascending order and begin at different addresses.

use super::matching::Match;
use super::program::Program;
use osbuild_format::payload::{Piece, Space};

/// Shorter ones say more about chance than about addresses.
const SHORTEST: usize = 16;

/// `matches` are those with old bytes in `old` and new ones in `new`.
pub fn between<'a>(old: &Program, new: &Program, matches: impl Iterator<Item = &'a Match>) -> Space {
    let mut moved = Vec::new();
    for found in matches.filter(|found| found.length >= SHORTEST) {
        for from in &old.loads {
            for to in &new.loads {
                moved.extend(part(found, from, to));
            }
        }
    }
    // Of two that claim an address the longer one is right.
    moved.sort_by_key(|(start, length, _)| (*start, u64::MAX - *length));
    let mut pieces: Vec<(u64, u64, i64)> = Vec::new();
    for (start, length, shift) in moved {
        match pieces.last_mut() {
            Some((last, held, same)) if *last + *held >= start && *same == shift => {
                *held = (*held).max(start + length - *last)
            }
            Some((last, held, _)) if *last + *held > start => {
                let end = *last + *held;
                if start + length > end {
                    pieces.push((end, start + length - end, shift));
                }
            }
            Some((_, _, same)) if *same == shift => {
                if let Some((last, held, _)) = pieces.last_mut() {
                    *held = start + length - *last;
                }
            }
            _ => pieces.push((start, length, shift)),
        }
    }
    let pieces = pieces.into_iter().map(|(start, _, shift)| Piece { start, shift });
    Space { pieces: pieces.collect(), end: old.addresses.end }
}

/// Old address, length and shift of what of `found` is in both loads.
fn part(found: &Match, from: &super::program::Load, to: &super::program::Load) -> Option<(u64, u64, i64)> {
    let skip = (from.place.start.saturating_sub(found.old)).max(to.place.start.saturating_sub(found.new));
    let end = (from.place.end.saturating_sub(found.old)).min(to.place.end.saturating_sub(found.new)).min(found.length);
    if skip >= end {
        return None;
    }
    let old = from.address + (found.old + skip - from.place.start) as u64;
    let new = to.address + (found.new + skip - to.place.start) as u64;
    Some((old, (end - skip) as u64, new.wrapping_sub(old) as i64))
}
