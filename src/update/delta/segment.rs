//! Matches of one segment to its operations and bytes.
//!
//! Invariant: what is stored, applied to the old image, gives exactly the new bytes.

use super::before::Samples;
use super::coder;
use super::matching::Match;
use super::program::{Content, Part, Programs};
use super::ways::{corrected, in_step, ways};
use super::{DeltaError, Images};
use osbuild_format::payload::{
    to_absolute, Correction, Frame, ImageName, Kind, Learned, Methods, Moved, Operation, Parts, Segment, Space,
    Written, LIMIT_COLUMNS_BYTES, LIMIT_FRAMES, LIMIT_OPERATIONS, LIMIT_PIECES, LIMIT_STORED_BYTES, LIMIT_WORK_BYTES,
};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ops::Range;

/// A run of zeros that is worth an operation.
const ZEROS: usize = 256;
/// A match of fewer equal bytes costs more than it saves.
const WORTH: usize = 24;
/// How often what is worth an operation is doubled before all bytes are taken as they are.
const COARSER: u32 = 8;

/// Of programs of which nothing is known.
static NOTHING: Space = Space { pieces: Vec::new(), end: 0 };

/// Everything that segments of one image share.
pub struct Pair<'a> {
    pub image: ImageName,
    pub old: &'a [u8],
    pub new: &'a [u8],
    /// Both new images.
    pub all: &'a Images<'a>,
    /// Of them.
    pub samples: &'a Samples,
    /// Of output in a segment.
    pub step: usize,
    pub old_programs: &'a Programs,
    pub new_programs: &'a Programs,
    /// By the indices of an old and a new program.
    pub spaces: &'a BTreeMap<(usize, usize), Space>,
}

struct Builder<'a> {
    pair: &'a Pair<'a>,
    parts: Parts,
    sources: Sha256,
    learned: Learned,
    known: BTreeMap<(usize, usize), usize>,
    frames: BTreeMap<(usize, u64, u64), u16>,
    pieces: usize,
    /// Of each space, which pieces a reference is in.
    used: Vec<Vec<bool>>,
    /// How often what is worth an operation was doubled.
    coarser: u32,
}

/// The segment that writes `range` of the new image.
pub fn build(pair: &Pair, range: Range<usize>, matches: &[Match]) -> Result<(Segment, Vec<u8>), DeltaError> {
    // The same with fewer operations, if it is more than a reader takes; at last one that takes the bytes as they are.
    let built = (0..=COARSER).find_map(|coarser| {
        let mut builder = Builder::new(pair, coarser);
        builder.fill(range.clone(), matches);
        builder.store(range.clone()).transpose()
    });
    let stored = built.expect("the last one is taken")?;
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
    fn new(pair: &'a Pair<'a>, coarser: u32) -> Self {
        Builder {
            pair,
            parts: Parts::default(),
            sources: Sha256::new(),
            learned: Learned::default(),
            known: BTreeMap::new(),
            frames: BTreeMap::new(),
            pieces: 0,
            used: Vec::new(),
            coarser,
        }
    }

    fn fill(&mut self, range: Range<usize>, matches: &[Match]) {
        if self.coarser == COARSER {
            self.parts.literals.extend_from_slice(&self.pair.new[range.clone()]);
            return self.push(range.len(), Kind::Literal { code: false });
        }
        let mut at = range.start;
        for found in matches {
            for found in self.split(found) {
                if self.equal(&found) < WORTH << self.coarser {
                    continue;
                }
                self.literal(at..found.new);
                self.copy(&found);
                at = found.new_end();
            }
        }
        self.literal(at..range.end);
        self.drop_pieces();
    }

    /// Leaves out what no reference of this segment is in: what is predicted stays the same.
    fn drop_pieces(&mut self) {
        for (space, used) in self.parts.spaces.iter_mut().zip(&self.used) {
            let mut shift = None;
            let mut used = used.iter();
            space.pieces.retain(|piece| used.next() == Some(&true) && shift.replace(piece.shift) != Some(piece.shift));
        }
    }

    /// What a reader has room for beside the columns; none: there are more of them, or operations, than it takes.
    fn room(&self, start: u64) -> Option<u64> {
        let few = self.parts.operations.len() <= LIMIT_OPERATIONS;
        LIMIT_COLUMNS_BYTES.checked_sub(self.parts.columns_bytes(start) as u64).filter(|_| few)
    }

    fn equal(&self, found: &Match) -> usize {
        let old = &self.pair.old[found.old..found.old_end()];
        let new = &self.pair.new[found.new..found.new_end()];
        old.iter().zip(new).filter(|(old, new)| old == new).count()
    }

    /// At the ends of the parts of programs, so that each has one frame. What is equal needs none.
    fn split(&self, found: &Match) -> Vec<Match> {
        let (old, new) = (self.pair.old_programs, self.pair.new_programs);
        let mut parts: Vec<(Match, bool)> = Vec::new();
        let mut at = 0;
        while at < found.length {
            let (from, to) = (found.old + at, found.new + at);
            let length = (old.boundary(from) - from).min(new.boundary(to) - to).min(found.length - at);
            // What has no frame needs no cut, either.
            let equal = self.pair.old[from..from + length] == self.pair.new[to..to + length];
            let framed = !equal && old.at(from).is_some() && new.at(to).is_some();
            match parts.last_mut() {
                Some((last, false)) if !framed => last.length += length,
                _ => parts.push((Match { new: to, old: from, length }, framed)),
            }
            at += length;
        }
        parts.into_iter().map(|(part, _)| part).collect()
    }

    /// New bytes as they are.
    fn literal(&mut self, range: Range<usize>) {
        let worth = ZEROS << self.coarser;
        let mut at = range.start;
        while at < range.end {
            let mut end = at;
            let code = self.pair.new_programs.at(at).is_some_and(|part| part.content == Content::Code);
            let limit = self.pair.new_programs.boundary(at).min(range.end);
            let mut zeros = 0;
            while end < limit && zeros < worth {
                zeros = if self.pair.new[end] == 0 { zeros + 1 } else { 0 };
                end += 1;
            }
            if zeros == worth {
                end -= worth;
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
            if zeros == worth {
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
        // They need no source.
        if new.iter().all(|byte| *byte == 0) {
            return self.push(found.length, Kind::Zero);
        }
        self.sources.update(old);
        let (image, offset) = (self.pair.image, found.old as u64);
        if old == new {
            return self.push(found.length, Kind::Copy { image, offset });
        }
        let plain = Correction::of(old, new);
        let chosen =
            self.frame(found).and_then(|(frame, space)| Some((frame, space, self.way(found, frame, space, &plain)?)));
        let Some((frame, space, methods)) = chosen else {
            self.parts.wrong.push(&plain);
            return self.push(found.length, Kind::Patch { image, offset, methods: Methods::NONE, frame: 0 });
        };
        let described = self.parts.frames[usize::from(frame)];
        let moved = Moved { old: offset, new: found.new as u64, methods, frame: &described, space };
        let used = &mut self.used[described.space];
        let correction = corrected(old, new, &moved, &mut self.learned, |piece| used[piece] = true);
        self.parts.wrong.push(&correction);
        self.push(found.length, Kind::Patch { image, offset, methods, frame });
    }

    /// How references in what was found are best looked for, if that is worth it.
    fn way(&self, found: &Match, frame: u16, space: &Space, plain: &Correction) -> Option<Methods> {
        let old = &self.pair.old[found.old..found.old_end()];
        let new = &self.pair.new[found.new..found.new_end()];
        let frame = &self.parts.frames[usize::from(frame)];
        let part = self.pair.new_programs.at(found.new);
        let moved = |methods| Moved { old: found.old as u64, new: found.new as u64, methods, frame, space };
        // What they cost shows only when something was learned.
        if part.is_some_and(|part| part.content == Content::Relocations) && in_step(&moved(Methods::RELOCATIONS)) {
            return Some(Methods::RELOCATIONS);
        }
        let (mut fewest, mut best) = (plain.cost(), None);
        let addresses = part.map(|part| &self.pair.new_programs.addresses[part.program]);
        let linked = addresses.is_some_and(|addresses| addresses.start > 1 << 31);
        for methods in ways(part, linked).iter().copied() {
            let count = corrected(old, new, &moved(methods), &mut Learned::default(), |_| ()).cost();
            // What names the method has to be saved first.
            if count + 2 < fewest {
                (fewest, best) = (count, Some(methods));
            }
        }
        best
    }

    fn frame(&mut self, found: &Match) -> Option<(u16, &'a Space)> {
        let pair = self.pair;
        let from = pair.old_programs.at(found.old)?;
        let to = pair.new_programs.at(found.new)?;
        let key = (from.program, to.program);
        // Numbers that are no addresses are learned without a space.
        let without = from.content == to.content && matches!(to.content, Content::Relocations | Content::Ids);
        let known = pair.spaces.get(&key).filter(|space| !space.pieces.is_empty());
        let space = known.or(without.then_some(&NOTHING))?;
        let known = match self.known.get(&key) {
            _ if self.parts.frames.len() == LIMIT_FRAMES => return None,
            Some(known) => *known,
            None if self.pieces + space.pieces.len() > LIMIT_PIECES => return None,
            None => {
                self.pieces += space.pieces.len();
                let index = self.parts.spaces.len();
                self.parts.spaces.push(space.clone());
                self.used.push(vec![false; space.pieces.len()]);
                self.known.insert(key, index);
                index
            }
        };
        let base = |part: &Part| match part.content {
            // What its numbers are less than addresses.
            Content::Table => part.origin.wrapping_neg(),
            _ => (part.place.start as u64).wrapping_sub(part.address),
        };
        let (old_base, new_base) = (base(from), base(to));
        let frames = &mut self.parts.frames;
        let frame = *self.frames.entry((known, old_base, new_base)).or_insert_with(|| {
            frames.push(Frame { space: known, old_base, new_base });
            (frames.len() - 1) as u16
        });
        Some((frame, space))
    }

    /// None: it is more than a reader takes.
    fn store(mut self, range: Range<usize>) -> Result<Option<Vec<u8>>, DeltaError> {
        let start = range.start as u64;
        let Some(room) = self.room(start) else { return Ok(None) };
        let kept = LIMIT_COLUMNS_BYTES - room + self.parts.kept_bytes(&self.learned);
        let sourced = self
            .parts
            .operations
            .iter()
            .any(|operation| matches!(operation.kind, Kind::Copy { .. } | Kind::Patch { .. }));
        self.parts.source_sha256 = sourced.then(|| self.sources.finalize().into());
        let coded = self.parts.code(start, coder::compress)?;
        let mut best = coded.with_literals(&self.parts, &coder::compress(&self.parts.literals)?);
        if best.len() > LIMIT_STORED_BYTES as usize {
            return Ok(None);
        }
        let Some(left) = LIMIT_WORK_BYTES.checked_sub(kept + best.len() as u64) else { return Ok(None) };
        let room = room.min(left);
        for (image, before) in self.pair.before(range, &self.parts.literals, room as usize) {
            let (bytes, offset) = (&self.pair.all.image(image)[before.clone()], before.start as u64);
            if !self.pair.repeats(bytes, &self.parts.literals, best.len()) {
                continue;
            }
            let (length, sha256) = (bytes.len() as u32, Sha256::digest(bytes).into());
            self.parts.written = Some(Written { image, offset, length, sha256 });
            let literals = coder::compress_after(bytes, &self.parts.literals)?;
            let stored = coded.with_literals(&self.parts, &literals);
            // Reading so much costs a device time.
            if stored.len() + stored.len() / 128 < best.len() {
                best = stored;
            }
        }
        Ok(Some(best))
    }
}
