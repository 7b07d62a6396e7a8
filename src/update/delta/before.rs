//! The new images, and the literals of a segment, in; the ranges that the literals best go on from out.
//!
//! How much a range has of the literals is estimated by samples: of all places, those whose next bytes have a hash that ends in
//! zeros, so that the same content is sampled wherever it lies. Invariant: a range was written before the segment is, whatever
//! is estimated; equal images give equal ranges.

use super::matching::Index;
use super::segment::Pair;
use super::Images;
use osbuild_format::payload::{ImageName, WINDOW_BYTES};
use std::collections::BTreeMap;
use std::ops::Range;

/// Of all places, about one in so many is a sample.
const EVERY: u32 = 64;
const SAMPLE_BYTES: usize = 8;
/// Ranges begin at multiples of it.
const ALIGN: usize = 4096;

/// Fewer literals gain nothing from what they could go on from.
const SHORTEST_LITERALS: usize = 4096;
const LONGEST_BEFORE: usize = 4 << 20;
/// The same of a delta: what is new there is less, and most of the time went into the rest.
const LONGEST_BEFORE_OF_DELTA: usize = 1 << 20;
/// Fewer bytes of a delta's literals that are in what lies before are not worth the time that compressing after it takes.
const LEAST_REPEATED: usize = 4096;

/// Where it was sampled, and the hash there.
type Sample = (u32, u32);

/// Samples of both new images.
pub struct Samples {
    root: Vec<Sample>,
    esp: Vec<Sample>,
}

impl Samples {
    pub fn of(images: &Images) -> Samples {
        Samples { root: samples(images.root), esp: samples(images.esp) }
    }

    fn image(&self, image: ImageName) -> &[Sample] {
        match image {
            ImageName::Root => &self.root,
            ImageName::Esp => &self.esp,
        }
    }

    /// Of ranges of `room` bytes within one of `written`, that which has most of `literals`; none if none has anything.
    pub fn best(
        &self,
        written: &[(ImageName, Range<usize>)],
        literals: &[u8],
        room: usize,
    ) -> Option<(ImageName, Range<usize>)> {
        // Of so few bytes, hits lie as far apart as the range is long.
        if room < 2 * ALIGN {
            return None;
        }
        let wanted: BTreeMap<u32, usize> =
            samples(literals).into_iter().enumerate().map(|(index, (_, hash))| (hash, index)).collect();
        let mut best: Option<(usize, ImageName, Range<usize>)> = None;
        for (image, within) in written {
            let Some((found, start)) = most(self.image(*image), within, &wanted, room) else { continue };
            let start = (start / ALIGN * ALIGN).max(within.start);
            let range = start..within.end.min(start + room);
            if best.as_ref().is_none_or(|(most, ..)| found > *most) {
                best = Some((found, *image, range));
            }
        }
        best.map(|(_, image, range)| (image, range))
    }
}

impl Pair<'_> {
    /// What the literals of a segment could go on from, at most `room` bytes: what lies before it, and the range that has most of
    /// them. Of the ESP, the first segment is the last that is written.
    pub(super) fn before(&self, range: Range<usize>, literals: &[u8], room: usize) -> Vec<(ImageName, Range<usize>)> {
        let longest = if self.old.is_empty() { LONGEST_BEFORE } else { LONGEST_BEFORE_OF_DELTA };
        let room = (WINDOW_BYTES as usize).saturating_sub(literals.len()).min(longest).min(room);
        if literals.len() < SHORTEST_LITERALS || room == 0 {
            return Vec::new();
        }
        let root = (ImageName::Root, 0..self.all.root.len());
        let written = match self.image {
            ImageName::Root => vec![(ImageName::Root, 0..range.start)],
            ImageName::Esp if range.start == 0 => vec![root],
            ImageName::Esp => vec![(ImageName::Esp, self.step..range.start), root],
        };
        let near = written[0].clone();
        let near = (near.0, near.1.end.saturating_sub(room).max(near.1.start)..near.1.end);
        let most = self.samples.best(&written, literals, room);
        // What is nearly the same is not tried twice.
        let differs = |(image, range): &(ImageName, Range<usize>)| {
            *image != near.0 || range.start.abs_diff(near.1.start) > room / 8
        };
        let most = most.filter(differs);
        [Some(near.clone()), most].into_iter().flatten().filter(|(_, range)| !range.is_empty()).collect()
    }

    /// Whether enough literals lie in `before`, too, to compress them after it. Of a delta they seldom do, and to look takes a
    /// fraction of the time.
    pub(super) fn repeats(&self, before: &[u8], literals: &[u8], stored: usize) -> bool {
        self.old.is_empty() || Index::new(before).repeated(literals) >= LEAST_REPEATED.max(stored / 8)
    }
}

/// How many different wanted hashes are in the `room` bytes that have most of them, and where those begin.
fn most(
    samples: &[Sample],
    within: &Range<usize>,
    wanted: &BTreeMap<u32, usize>,
    room: usize,
) -> Option<(usize, usize)> {
    let first = samples.partition_point(|(place, _)| (*place as usize) < within.start);
    let inside = samples[first..].iter().take_while(|(place, _)| (*place as usize) + SAMPLE_BYTES <= within.end);
    let hits: Vec<(usize, usize)> =
        inside.filter_map(|(place, hash)| Some((*place as usize, *wanted.get(hash)?))).collect();
    let mut counts = vec![0_u32; wanted.len().max(1 + wanted.values().max().copied().unwrap_or_default())];
    let (mut distinct, mut left, mut best) = (0, 0, None);
    for (place, wanted) in &hits {
        counts[*wanted] += 1;
        distinct += usize::from(counts[*wanted] == 1);
        // A range begins up to so much before its first hit.
        while hits[left].0 + room < place + SAMPLE_BYTES + ALIGN {
            counts[hits[left].1] -= 1;
            distinct -= usize::from(counts[hits[left].1] == 0);
            left += 1;
        }
        if best.is_none_or(|(most, _)| distinct > most) {
            best = Some((distinct, hits[left].0));
        }
    }
    best
}

fn samples(bytes: &[u8]) -> Vec<Sample> {
    let hash = |window: &[u8]| {
        let mut eight = [0; SAMPLE_BYTES];
        eight.copy_from_slice(window);
        (u64::from_le_bytes(eight).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
    };
    let all = bytes.windows(SAMPLE_BYTES).enumerate();
    let sampled =
        all.filter_map(|(place, window)| Some((place as u32, hash(window))).filter(|(_, hash)| hash % EVERY == 0));
    // Zeros, and what is repeated byte by byte, say nothing.
    sampled.filter(|(place, _)| bytes[*place as usize] != bytes[*place as usize + 1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u64, bytes: usize) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        std::iter::repeat_with(&mut next).take(bytes).collect()
    }

    #[test]
    fn the_range_with_most_of_the_literals_is_found_wherever_it_lies() {
        let (part, other) = (noise(1, 100_000), noise(2, 100_000));
        let root = [noise(3, 300_001), part.clone(), noise(4, 300_000)].concat();
        let esp = [noise(5, 200_000), other.clone(), noise(6, 50_000)].concat();
        let images = Images { root: &root, esp: &esp };
        let samples = Samples::of(&images);
        let written = [(ImageName::Root, 0..root.len()), (ImageName::Esp, 0..esp.len())];
        let (image, range) = samples.best(&written, &[&part[..], &other[..30_000]].concat(), 120_000).unwrap();
        assert_eq!(image, ImageName::Root);
        assert!(range.start <= 301_000 && range.end >= 399_000 && range.len() <= 120_000, "{range:?}");
        let (image, range) = samples.best(&written, &other, 120_000).unwrap();
        assert_eq!(image, ImageName::Esp);
        assert!(range.start <= 201_000 && range.end >= 299_000, "{range:?}");
        // It has not been written yet.
        assert_eq!(samples.best(&[(ImageName::Root, 0..300_000)], &part, 120_000), None);
        assert_eq!(samples.best(&written, &noise(7, 100_000), 120_000), None);
        assert_eq!(samples.best(&written, &[0; 100_000], 120_000), None);
        for room in [0, 1, ALIGN, 2 * ALIGN, usize::MAX / 2] {
            let found = samples.best(&written, &part, room);
            assert!(found.is_none_or(|(_, range)| range.len() <= room), "{room}");
        }
    }
}
