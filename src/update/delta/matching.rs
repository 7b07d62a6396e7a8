//! Two images in shape to the places where the new one resembles the old one.
//!
//! Long runs that did not move are set. Between them, what is taken first is what goes on where it was, then what lies in the old
//! file or section of the same name, then what is equal in windows of 32 bytes, wherever it lies; at last, between two such
//! places, what is equal in windows of 8.
//! Each is carried on over bytes that differ for as long as more are equal (after Colin Percival's bsdiff). Invariant: matches
//! are in the order of the new bytes and do not overlap there; they follow from the bytes alone.

use super::nearby::{equal, Local, NOWHERE, SMALL_WINDOW};
use std::ops::Range;

const WINDOW: usize = 32;
/// Of the old image, every so many bytes a window is known.
const STRIDE: usize = 8;
/// How far a match goes on without getting better.
const PATIENCE: i64 = 48;
/// What is looked at of the old image around a gap.
const GAP_LIMIT: usize = 256 << 10;

/// Equal bytes near where they are expected that make a match.
const NEAR: usize = 16;
/// A larger old section is not looked through byte by byte.
const NEAR_LIMIT: usize = 4 << 20;

/// A part of the new image, and what has its name in the old one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterpart {
    pub new: Range<usize>,
    pub old: Range<usize>,
    pub step: Option<Step>,
}

/// Entries of a table come to lie on entries where the old place less the new one is `rest` modulo their `bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub bytes: usize,
    pub rest: usize,
}

impl Counterpart {
    /// Whether a match may begin there. What is mostly zeros is alike out of step, too, and then nothing can be predicted.
    fn allows(&self, new: usize, old: usize) -> bool {
        let shift = old as i64 - new as i64;
        self.step.is_none_or(|step| self.old.contains(&old) && shift.rem_euclid(step.bytes as i64) == step.rest as i64)
    }
}

/// Bytes at `new` resemble those at `old`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    pub new: usize,
    pub old: usize,
    pub length: usize,
}

impl Match {
    pub fn new_end(&self) -> usize {
        self.new + self.length
    }

    pub fn old_end(&self) -> usize {
        self.old + self.length
    }
}

/// Windows of the old image.
pub struct Index<'a> {
    old: &'a [u8],
    slots: Vec<u32>,
    shift: u32,
}

fn hash(bytes: &[u8]) -> u64 {
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let mixed = (0..WINDOW)
        .step_by(8)
        .fold(0u64, |hash, at| (hash.rotate_left(23) ^ word(at)).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed ^ mixed >> 29
}

impl<'a> Index<'a> {
    /// `old` has less than 4 GiB.
    pub fn new(old: &'a [u8]) -> Self {
        let bits = (old.len() / STRIDE).max(1024).next_power_of_two().trailing_zeros();
        let (mut slots, shift) = (vec![NOWHERE; 1 << bits], 64 - bits);
        for at in (0..old.len().saturating_sub(WINDOW)).step_by(STRIDE) {
            let window = &old[at..at + WINDOW];
            // Zeros and the like are everywhere.
            if window[..8] == window[8..16] && window[8..16] == window[16..24] {
                continue;
            }
            let slot = &mut slots[(hash(window).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift) as usize];
            if *slot == NOWHERE {
                *slot = at as u32;
            }
        }
        Self { old, slots, shift }
    }

    fn find(&self, window: &[u8]) -> Option<usize> {
        let slot = self.slots[(hash(window).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize];
        let at = (slot != NOWHERE).then_some(slot as usize)?;
        (self.old[at..at + WINDOW] == *window).then_some(at)
    }

    /// How many of the bytes `new` are in runs that lie in the old image, too.
    pub fn repeated(&self, new: &[u8]) -> usize {
        let (mut at, mut bytes) = (0, 0);
        while let Some(window) = new.get(at..at + WINDOW) {
            let Some(old) = self.find(window) else {
                at += 1;
                continue;
            };
            let same = equal(&new[at..], &self.old[old..]);
            (at, bytes) = (at + same, bytes + same);
        }
        bytes
    }

    /// What resembles the old image in `new`, which lies at `start` of the new image. `counterparts` are in order, as is what
    /// is `unmoved` of `new`.
    pub fn matches(
        &self,
        new: &[u8],
        start: usize,
        counterparts: &[Counterpart],
        unmoved: &[Range<usize>],
    ) -> Vec<Match> {
        let mut matches = self.within(new, start, counterparts, unmoved);
        matches.iter_mut().for_each(|found| found.new += start);
        matches
    }

    /// The same, with places from the start of `new`.
    fn within(&self, new: &[u8], place: usize, counterparts: &[Counterpart], unmoved: &[Range<usize>]) -> Vec<Match> {
        let (start, end) = (0, new.len());
        let coarse = self.coarse(new, place, counterparts, unmoved);
        let mut matches = Vec::with_capacity(coarse.len());
        let mut before: Option<Match> = None;
        for next in coarse.into_iter().map(Some).chain([None]) {
            let from = before.map_or(start, |before| before.new_end());
            let to = next.map_or(end, |next| next.new);
            if to - from >= SMALL_WINDOW {
                let index = counterparts.partition_point(|part| part.new.end <= place + from);
                let part = counterparts.get(index).filter(|part| part.new.start < place + to);
                if part.is_none_or(|part| part.step.is_none()) {
                    self.fine(new, from, to, before, next, &mut matches);
                }
            }
            matches.extend(next);
            before = next;
        }
        matches
    }

    fn coarse(&self, new: &[u8], place: usize, counterparts: &[Counterpart], unmoved: &[Range<usize>]) -> Vec<Match> {
        let mut matches: Vec<Match> = Vec::new();
        let mut local: Option<(usize, Local)> = None;
        let ends = unmoved.iter().map(|run| run.start - place).chain([new.len()]);
        for (index, end) in ends.enumerate() {
            let mut start = matches.last().map_or(0, Match::new_end);
            if let Some(run) = index.checked_sub(1).map(|before| &unmoved[before]) {
                let found = self.grow(new, run.start - place, run.start, run.len(), start, end);
                start = found.new_end();
                matches.push(found);
            }
            self.gap(new, start..end, place, counterparts, &mut local, &mut matches);
        }
        matches
    }

    /// What is in `gap`, behind the matches that there are.
    fn gap<'b>(
        &'b self,
        new: &[u8],
        gap: Range<usize>,
        place: usize,
        counterparts: &[Counterpart],
        local: &mut Option<(usize, Local<'b>)>,
        matches: &mut Vec<Match>,
    ) {
        let (new, mut at) = (&new[..gap.end], gap.start);
        while at + NEAR <= new.len() {
            let index = counterparts.partition_point(|part| part.new.end <= place + at);
            let part = counterparts.get(index).filter(|part| part.new.start <= place + at);
            let straight = self.straight(new, at, place, matches.last(), part);
            let found = straight.or_else(|| {
                let part = part.filter(|part| (SMALL_WINDOW..=NEAR_LIMIT).contains(&part.old.len()))?;
                if local.as_ref().is_none_or(|(of, _)| *of != index) {
                    *local = Some((index, Local::new(&self.old[part.old.clone()])));
                }
                let (offset, length) =
                    local.as_ref()?.1.longest(&new[at..new.len().min(part.new.end - place)], |old| {
                        part.allows(place + at, part.old.start + old)
                    })?;
                (length >= NEAR).then_some((part.old.start + offset, length))
            });
            let window = new.get(at..at + WINDOW);
            let found = found.or_else(|| {
                Some((self.find(window?)?, WINDOW))
                    .filter(|(old, _)| part.is_none_or(|part| part.allows(place + at, *old)))
            });
            let Some((old, length)) = found else {
                at += 1;
                continue;
            };
            let floor = matches.last().map_or(0, Match::new_end);
            let found = self.grow(new, at, old, length, floor, new.len());
            at = found.new_end();
            matches.push(found);
        }
    }

    /// What goes on as the last match did, or as far into the counterpart as here.
    fn straight(
        &self,
        new: &[u8],
        at: usize,
        place: usize,
        last: Option<&Match>,
        counterpart: Option<&Counterpart>,
    ) -> Option<(usize, usize)> {
        let last = last.and_then(|last| (last.old + at).checked_sub(last.new));
        let part = counterpart.and_then(|part| (part.old.start + place + at).checked_sub(part.new.start));
        let allowed = |old: &usize| counterpart.is_none_or(|part| part.allows(place + at, *old));
        [last, part].into_iter().flatten().filter(allowed).find_map(|old| {
            let same = equal(&new[at..], self.old.get(old..)?);
            (same >= NEAR).then_some((old, same))
        })
    }

    /// The match of `length` equal bytes, carried on to both sides within `floor..end`.
    fn grow(&self, new: &[u8], at: usize, old: usize, length: usize, floor: usize, end: usize) -> Match {
        let after = new[at + length..end].iter().zip(&self.old[old + length..]);
        let forward = carried(after.map(|(new, old)| new == old));
        let before = new[floor..at].iter().rev().zip(self.old[..old].iter().rev());
        let backward = carried(before.map(|(new, old)| new == old));
        Match { new: at - backward, old: old - backward, length: backward + length + forward }
    }

    /// What is between two matches, with small windows, near where the old bytes should be.
    fn fine(
        &self,
        new: &[u8],
        start: usize,
        end: usize,
        before: Option<Match>,
        next: Option<Match>,
        found: &mut Vec<Match>,
    ) {
        let reach = ((end - start) * 2 + 4096).min(GAP_LIMIT);
        let window = match (before, next) {
            (Some(before), Some(next)) if next.old >= before.old_end() && next.old - before.old_end() <= GAP_LIMIT => {
                before.old_end().saturating_sub(64)..next.old + 64
            }
            (Some(before), _) => before.old_end().saturating_sub(reach / 4)..before.old_end() + reach,
            (None, Some(next)) => next.old.saturating_sub(reach)..next.old + reach / 4,
            (None, None) => return,
        };
        let window = window.start..window.end.min(self.old.len());
        if window.len() < SMALL_WINDOW || end - start > GAP_LIMIT {
            return;
        }
        let local = Local::new(&self.old[window.clone()]);
        let (mut at, mut floor) = (start, start);
        while at + SMALL_WINDOW <= end {
            let Some((old, length)) = local.longest(&new[at..end], |_| true) else {
                at += 1;
                continue;
            };
            let grown = self.grow(new, at, window.start + old, length, floor, end);
            if grown.length < 12 {
                at += 1;
                continue;
            }
            (at, floor) = (grown.new_end(), grown.new_end());
            found.push(grown);
        }
    }
}

/// How many of the coming bytes to take, when more of them are equal than not.
fn carried(equal: impl Iterator<Item = bool>) -> usize {
    let (mut score, mut best, mut length) = (0, 0, 0);
    for (at, equal) in equal.enumerate() {
        score += if equal { 1 } else { -2 };
        if score > best {
            (best, length) = (score, at + 1);
        } else if score < best - PATIENCE {
            break;
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_is_counted_and_nothing_else() {
        let noise = |seed: u64| {
            (seed..seed + 500).flat_map(|at| (at * at).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect()
        };
        let (old, other): (Vec<u8>, Vec<u8>) = (noise(1), noise(10_000));
        let index = Index::new(&old);
        assert_eq!(index.repeated(&other), 0);
        assert_eq!(index.repeated(&[&other[..100], &old[800..1600], &other[100..200]].concat()), 800);
    }
}
