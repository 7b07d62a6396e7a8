//! The images of two releases to the segments of a payload that makes one of the other; of one release to a full payload.
//!
//! Invariant: equal images give equal bytes, with however many threads; every segment was applied and compared.

mod before;
mod btf;
mod coder;
mod matching;
mod names;
mod nearby;
mod program;
mod segment;
mod shape;
mod space;
mod unmoved;
mod ways;
#[cfg(test)]
mod tests;

use before::Samples;
use matching::{Index, Match};
use osbuild_format::payload::{apply, ImageName, Segment, SegmentError, Source, Sources, LIMIT_OUTPUT_BYTES};
use program::Programs;
use rayon::prelude::*;
use segment::Pair;
use std::io;
use std::ops::Range;

/// What of a release travels.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    pub root: &'a [u8],
    pub esp: &'a [u8],
}

/// Segments in their order, each with its bytes as they travel.
#[derive(Debug, PartialEq, Eq)]
pub struct Generated {
    pub segments: Vec<(Segment, Vec<u8>)>,
}

#[derive(Debug, thiserror::Error)]
pub enum DeltaError {
    #[error("an image has {0} bytes; a payload is made of images of less than 4 GiB")]
    Large(usize),
    #[error("a column of a segment cannot be compressed")]
    Compress(#[source] io::Error),
    #[error("a segment that was made cannot be applied")]
    Apply(#[from] SegmentError),
}

impl Source for Images<'_> {
    fn read_at(&self, image: ImageName, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let whole = self.image(image);
        let range = usize::try_from(offset).ok().and_then(|start| whole.get(start..start.checked_add(bytes.len())?));
        bytes.copy_from_slice(range.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }
}

impl<'a> Images<'a> {
    fn image(&self, name: ImageName) -> &'a [u8] {
        match name {
            ImageName::Esp => self.esp,
            ImageName::Root => self.root,
        }
    }
}

/// What makes `new` of `old`; without `old`, of nothing. Runs on the threads of the pool that it is called in.
pub fn generate(old: Option<&Images>, new: &Images) -> Result<Generated, DeltaError> {
    let mut segments = Vec::new();
    let samples = Samples::of(new);
    for name in [ImageName::Root, ImageName::Esp] {
        let images = (old.map_or(&[][..], |old| old.image(name)), new.image(name));
        if let Some(large) = [images.0.len(), images.1.len()].into_iter().find(|length| u32::try_from(*length).is_err())
        {
            return Err(DeltaError::Large(large));
        }
        segments.extend(image(name, images.0, new, &samples)?);
    }
    Ok(Generated { segments })
}

fn image(image: ImageName, old: &[u8], all: &Images, samples: &Samples) -> Result<Vec<(Segment, Vec<u8>)>, DeltaError> {
    let new = all.image(image);
    let (old_programs, new_programs) = (Programs::find(old, image), Programs::find(new, image));
    // What is literal leaves room in the window for what it goes on from.
    let step = if old.is_empty() { LIMIT_OUTPUT_BYTES / 2 } else { LIMIT_OUTPUT_BYTES } as usize;
    let ranges: Vec<Range<usize>> =
        (0..new.len()).step_by(step).map(|start| start..new.len().min(start + step)).collect();
    let matches: Vec<Vec<Match>> = match old.is_empty() {
        true => ranges.iter().map(|_| Vec::new()).collect(),
        false => {
            let old_shape = shape::shape(old, &old_programs, 0..old.len());
            let index = Index::new(&old_shape);
            let counterparts = names::counterparts(&old_programs, &new_programs);
            let found = |range: &Range<usize>| {
                let shape = shape::shape(new, &new_programs, range.clone());
                let unmoved = unmoved::runs(old, new, range.clone());
                index.matches(&shape, range.start, &counterparts, &unmoved)
            };
            ranges.par_iter().map(found).collect()
        }
    };
    // Zeros say nothing about what moved where.
    let telling =
        matches.iter().flatten().filter(|found| new[found.new..found.new_end()].iter().any(|byte| *byte != 0));
    let spaces = space::between(&old_programs, &new_programs, telling);
    let pair = Pair {
        image,
        old,
        new,
        all,
        samples,
        step,
        old_programs: &old_programs,
        new_programs: &new_programs,
        spaces: &spaces,
    };
    ranges.into_par_iter().zip(&matches).map(|(range, matches)| checked(&pair, range, matches)).collect()
}

/// The smaller of the segment with and without the old image, applied and compared.
fn checked(pair: &Pair, range: Range<usize>, matches: &[Match]) -> Result<(Segment, Vec<u8>), DeltaError> {
    let built = segment::build(pair, range.clone(), matches)?;
    let old = match pair.image {
        ImageName::Root => Images { root: pair.old, esp: &[] },
        ImageName::Esp => Images { root: &[], esp: pair.old },
    };
    let sources = Sources { old: Some(&old), written: Some(pair.all) };
    apply(&built.0, &built.1, sources)?;
    if pair.old.is_empty() {
        return Ok(built);
    }
    let changed = built.0.stored_bytes > built.0.output_bytes / 8;
    let without = if changed { Some(segment::build(pair, range, &[])?) } else { None };
    match without.filter(|without| without.0.stored_bytes < built.0.stored_bytes) {
        Some(without) => {
            apply(&without.0, &without.1, Sources { old: None, ..sources })?;
            Ok(without)
        }
        None => Ok(built),
    }
}
