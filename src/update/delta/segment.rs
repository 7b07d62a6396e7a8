//! Matches of one segment to its operations and bytes.
//!
//! Invariant: what is stored, applied to the old image, gives exactly the new bytes.

use super::matching::Match;
use super::program::Program;
use super::DeltaError;
use osbuild_format::payload::{
    predict, to_absolute, Frame, ImageName, Kind, Methods, Operation, Parts, Segment, Space,
};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ops::Range;

/// A run of zeros that is worth an operation.
const ZEROS: usize = 256;
/// A match of fewer equal bytes costs more than it saves.
const WORTH: usize = 12;

/// Everything that segments of one image share.
pub struct Pair<'a> {
    pub image: ImageName,
    pub old: &'a [u8],
    pub new: &'a [u8],
    pub old_programs: &'a [Program],
    pub new_programs: &'a [Program],
    /// By the indices of an old and a new program.
    pub spaces: &'a BTreeMap<(usize, usize), Space>,
}

/// The program that holds a place.
pub fn holder(programs: &[Program], place: usize) -> Option<usize> {
    let after = programs.partition_point(|program| program.loads[0].place.start <= place);
    let index = after.checked_sub(1)?;
    (place < programs[index].loads.last()?.place.end).then_some(index)
}

struct Builder<'a> {
    pair: &'a Pair<'a>,
    parts: Parts,
    sources: Sha256,
    right: u64,
    known: BTreeMap<(usize, usize), usize>,
    frames: BTreeMap<(usize, u64, u64), u16>,
}

/// The segment that writes `range` of the new image.
pub fn build(pair: &Pair, range: Range<usize>, matches: &[Match]) -> Result<(Segment, Vec<u8>), DeltaError> {
    let mut builder = Builder {
        pair,
        parts: Parts::default(),
        sources: Sha256::new(),
        right: 0,
        known: BTreeMap::new(),
        frames: BTreeMap::new(),
    };
    let mut at = range.start;
    for found in matches {
        for found in builder.split(found) {
            let equal = builder.equal(&found);
            if equal < WORTH {
                continue;
            }
            builder.literal(at..found.new);
            builder.copy(&found);
            at = found.new_end();
        }
    }
    builder.literal(at..range.end);
    let stored = builder.store(range.start)?;
    let sha256 = |bytes: &[u8]| osbuild_format::hex::encode(&Sha256::digest(bytes));
    let output = &pair.new[range];
    let segment = Segment {
        image: pair.image,
        output_bytes: output.len() as u32,
        output_sha256: sha256(output),
        stored_bytes: stored.len() as u32,
        stored_sha256: sha256(&stored),
    };
    Ok((segment, stored))
}

impl<'a> Builder<'a> {
    fn equal(&self, found: &Match) -> usize {
        let old = &self.pair.old[found.old..found.old_end()];
        let new = &self.pair.new[found.new..found.new_end()];
        old.iter().zip(new).filter(|(old, new)| old == new).count()
    }

    /// At the ends of what is loaded, so that each part has one frame.
    fn split(&self, found: &Match) -> Vec<Match> {
        let mut cuts = vec![0, found.length];
        let mut cut = |programs: &[Program], start: usize| {
            let touched =
                programs.iter().filter(|program| program.loads.last().is_some_and(|load| load.place.end > start));
            let touched = touched.take_while(|program| program.loads[0].place.start < start + found.length);
            for load in touched.flat_map(|program| &program.loads) {
                let ends = [load.place.start, load.place.end].into_iter().filter_map(|end| end.checked_sub(start));
                cuts.extend(ends.filter(|end| *end < found.length));
            }
        };
        cut(self.pair.old_programs, found.old);
        cut(self.pair.new_programs, found.new);
        cuts.sort_unstable();
        cuts.dedup();
        let part = |cut: &[usize]| Match { new: found.new + cut[0], old: found.old + cut[0], length: cut[1] - cut[0] };
        cuts.windows(2).map(part).collect()
    }

    /// New bytes as they are.
    fn literal(&mut self, range: Range<usize>) {
        let mut at = range.start;
        while at < range.end {
            let mut end = at;
            let load = holder(self.pair.new_programs, at).and_then(|index| self.pair.new_programs[index].load(at));
            let code = load.is_some_and(|load| load.executable);
            let limit = match load {
                Some(load) => load.place.end.min(range.end),
                None => {
                    let next = self.pair.new_programs.partition_point(|program| program.loads[0].place.start <= at);
                    let held = holder(self.pair.new_programs, at).and_then(|index| {
                        self.pair.new_programs[index]
                            .loads
                            .iter()
                            .map(|load| load.place.start)
                            .find(|start| *start > at)
                    });
                    let next = self.pair.new_programs.get(next).map(|program| program.loads[0].place.start);
                    held.or(next).unwrap_or(range.end).min(range.end)
                }
            };
            let mut zeros = 0;
            while end < limit && zeros < ZEROS {
                zeros = if self.pair.new[end] == 0 { zeros + 1 } else { 0 };
                end += 1;
            }
            if zeros == ZEROS {
                end -= ZEROS;
            }
            if end > at {
                let place = self.parts.literals.len();
                self.parts.literals.extend_from_slice(&self.pair.new[at..end]);
                if code {
                    to_absolute(&mut self.parts.literals[place..], at as u64);
                }
                self.push(end - at, Kind::Literal { code });
            }
            at = end;
            let run = self.pair.new[at..limit].iter().take_while(|byte| **byte == 0).count();
            if zeros == ZEROS {
                self.push(run, Kind::Zero);
                at += run;
            }
        }
    }

    fn push(&mut self, length: usize, kind: Kind) {
        self.parts.operations.push(Operation { length: length as u32, kind });
    }

    fn copy(&mut self, found: &Match) {
        let old = &self.pair.old[found.old..found.old_end()];
        let new = &self.pair.new[found.new..found.new_end()];
        self.sources.update(old);
        let (image, offset) = (self.pair.image, found.old as u64);
        if old == new {
            return self.push(found.length, Kind::Copy { image, offset });
        }
        let (mut methods, mut frame, mut predicted) = (Methods::NONE, 0, old.to_vec());
        if let Some((candidate, space)) = self.frame(found) {
            let wrong = |bytes: &[u8]| bytes.iter().zip(new).filter(|(byte, new)| byte != new).count();
            let mut fewest = wrong(old);
            let described = self.parts.frames[usize::from(candidate)];
            let ways = [
                Methods::CODE,
                Methods::CODE.and(Methods::SIGNED),
                Methods::WORDS,
                Methods::DISTANCES,
                Methods::WORDS.and(Methods::DISTANCES),
                Methods::SIGNED,
            ];
            for way in ways {
                let mut bytes = old.to_vec();
                predict(&mut bytes, offset, found.new as u64, way, &described, space);
                let count = wrong(&bytes);
                // What names the method has to be saved first.
                if count + 2 < fewest {
                    (fewest, methods, frame, predicted) = (count, way, candidate, bytes);
                }
            }
        }
        self.parts.correct(&predicted, new, &mut self.right);
        self.push(found.length, Kind::Patch { image, offset, methods, frame });
    }

    fn frame(&mut self, found: &Match) -> Option<(u16, &'a Space)> {
        let pair = self.pair;
        let key = (holder(pair.old_programs, found.old)?, holder(pair.new_programs, found.new)?);
        let from = pair.old_programs[key.0].load(found.old)?;
        let to = pair.new_programs[key.1].load(found.new)?;
        let space = pair.spaces.get(&key).filter(|space| !space.pieces.is_empty())?;
        let known = match self.known.get(&key) {
            Some(known) => *known,
            None => {
                let index = self.parts.spaces.len();
                self.parts.spaces.push(space.clone());
                self.known.insert(key, index);
                index
            }
        };
        let old_base = (from.place.start as u64).wrapping_sub(from.address);
        let new_base = (to.place.start as u64).wrapping_sub(to.address);
        let frames = &mut self.parts.frames;
        let frame = *self.frames.entry((known, old_base, new_base)).or_insert_with(|| {
            frames.push(Frame { space: known, old_base, new_base });
            (frames.len() - 1) as u16
        });
        Some((frame, space))
    }

    fn store(mut self, start: usize) -> Result<Vec<u8>, DeltaError> {
        let sourced = self
            .parts
            .operations
            .iter()
            .any(|operation| matches!(operation.kind, Kind::Copy { .. } | Kind::Patch { .. }));
        self.parts.source_sha256 = sourced.then(|| self.sources.finalize().into());
        self.parts.store(start as u64, super::coder::compress)
    }
}
