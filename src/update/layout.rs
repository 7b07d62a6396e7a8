//! The roots of two releases in; the layout of the later one that makes the smaller delta out.
//!
//! Invariant: both ways are tried with the generator that makes payloads; a layout is chosen only where it saves bytes.

use super::delta::{self, DeltaError, Images};
use crate::image::erofs::{self, Layout, PlaceError};

/// How the files of a root lie, with the bytes that the segments of a delta of it take.
#[derive(Debug)]
pub enum Choice {
    /// Files stay where the release before has them.
    Stay { layout: Layout, bytes: u64, own_bytes: u64 },
    /// Nothing, or less than nothing, would be saved.
    Own { bytes: u64, own_bytes: u64 },
    /// They lie there anyway.
    Same,
    /// Files of one of the two cannot be moved.
    Unmovable(PlaceError),
}

/// `root` is to follow `previous`.
pub fn choose(previous: &[u8], root: &[u8]) -> Result<Choice, DeltaError> {
    let placed = erofs::follow(root, previous).and_then(|layout| Ok((erofs::place(root, &layout)?, layout)));
    let (image, layout) = match placed {
        Ok(placed) => placed,
        Err(error) => return Ok(Choice::Unmovable(error)),
    };
    if image == root {
        return Ok(Choice::Same);
    }
    let (bytes, own_bytes) = (delta_bytes(previous, &image)?, delta_bytes(previous, root)?);
    Ok(match bytes < own_bytes {
        true => Choice::Stay { layout, bytes, own_bytes },
        false => Choice::Own { bytes, own_bytes },
    })
}

fn delta_bytes(previous: &[u8], root: &[u8]) -> Result<u64, DeltaError> {
    let generated = delta::generate(Some(&Images { root: previous, esp: &[] }), &Images { root, esp: &[] })?;
    Ok(generated.segments.iter().map(|(_, stored)| stored.len() as u64).sum())
}
