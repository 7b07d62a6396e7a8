//! Matches between two programs to where addresses of the old one went.
//!
//! Invariant: pieces are in ascending order and begin at different addresses.

use super::matching::Match;
use super::program::Programs;
use osbuild_format::payload::{Piece, Space};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Shorter ones say more about chance than about addresses.
const SHORTEST: usize = 16;

/// Address, length and shift.
type Claim = (u64, u64, i64);

/// Of each two programs, by their indices, where addresses of the old one are in the new one.
pub fn between<'a>(
    old: &Programs,
    new: &Programs,
    matches: impl Iterator<Item = &'a Match>,
) -> BTreeMap<(usize, usize), Space> {
    let mut claims: BTreeMap<(usize, usize), Vec<Claim>> = BTreeMap::new();
    for found in matches.filter(|found| found.length >= SHORTEST) {
        let mut at = 0;
        while at < found.length {
            let (from, to) = (found.old + at, found.new + at);
            let step = (old.boundary(from) - from).min(new.boundary(to) - to).min(found.length - at);
            let parts = old.at(from).zip(new.at(to)).filter(|(old, new)| old.referred && new.referred);
            if let Some((old, new)) = parts {
                let address = old.address.wrapping_add((from - old.place.start) as u64);
                let moved = new.address.wrapping_add((to - new.place.start) as u64);
                let claim = (address, step as u64, moved.wrapping_sub(address) as i64);
                claims.entry((old.program, new.program)).or_default().push(claim);
            }
            at += step;
        }
    }
    let space =
        |(key, claims): ((usize, usize), _)| (key, Space { pieces: settled(claims), end: old.addresses[key.0].end });
    // An address of a damaged program may be anything; one that wraps is none.
    claims.retain(|_, claims| claims.iter().all(|(start, length, _)| start.checked_add(*length).is_some()));
    claims.into_iter().map(space).filter(|(_, space)| ordered(space)).collect()
}

/// The format has no space that ends before its last piece begins.
fn ordered(space: &Space) -> bool {
    space.pieces.last().is_some_and(|last| last.start <= space.end)
}

/// Claims (address, length, shift) to pieces; where two claim an address, the longer one is right.
fn settled(mut claims: Vec<Claim>) -> Vec<Piece> {
    claims.sort_unstable();
    let mut ends: Vec<u64> = claims.iter().flat_map(|(start, length, _)| [*start, *start + *length]).collect();
    ends.sort_unstable();
    ends.dedup();
    let mut pieces: Vec<Piece> = Vec::new();
    // Of two of one length the one that begins first.
    let mut open: BinaryHeap<(u64, Reverse<u64>, i64)> = BinaryHeap::new();
    let mut coming = claims.into_iter().peekable();
    for at in ends {
        while let Some((start, length, shift)) = coming.next_if(|(start, _, _)| *start == at) {
            open.push((length, Reverse(start), shift));
        }
        while open.peek().is_some_and(|(length, Reverse(start), _)| start + length <= at) {
            open.pop();
        }
        // Where nobody claims an address, it moves with the one before.
        let Some((_, _, shift)) = open.peek() else { continue };
        if pieces.last().is_none_or(|piece| piece.shift != *shift) {
            pieces.push(Piece { start: at, shift: *shift });
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_longer_of_two_claims_is_right_wherever_it_begins() {
        let piece = |start, shift| Piece { start, shift };
        let settled = settled(vec![(100, 20, 1), (110, 100, 2), (150, 10, 3), (205, 10, 4)]);
        assert_eq!(settled, [piece(100, 1), piece(110, 2), piece(210, 4)]);
    }

    proptest! {
        #[test]
        fn each_address_moves_as_the_longest_claim_says(claims in proptest::collection::vec((0..300u64, 1..80u64, -4..4i64), 0..20)) {
            let space = Space { pieces: settled(claims.clone()), end: 1000 };
            prop_assert!(space.pieces.windows(2).all(|pair| pair[0].start < pair[1].start && pair[0].shift != pair[1].shift));
            for address in 0..400 {
                let of = claims.iter().filter(|(start, length, _)| (*start..start + length).contains(&address));
                let longest = of.max_by_key(|(start, length, shift)| (*length, Reverse(*start), *shift));
                if let Some((_, _, shift)) = longest {
                    prop_assert_eq!(space.moved(address), Some(address.wrapping_add_signed(*shift)));
                }
            }
        }
    }
}
