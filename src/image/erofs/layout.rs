//! Paths in, the places of their inodes and blocks out: what a manifest keeps of an image that follows another one.
//!
//! Invariant: equal layouts give equal bytes; the root's path is `/`, and all others begin with it.

use super::read::placed;
use super::{ErofsError, BLOCK_BYTES, SLOT_BYTES};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Of its JSON; a manifest that holds it has a limit of the same size.
pub const LIMIT_LAYOUT_BYTES: u64 = 16 << 20;

/// Of one inode, as three numbers, or two where there is no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u64>", into = "Vec<u64>")]
pub struct Place {
    /// Number of the inode, which counts units of 32 bytes.
    pub number: u64,
    /// What programs see as its number.
    pub serial: u32,
    /// First block of its bytes; the others follow.
    pub block: Option<u32>,
}

/// Of every inode that the root leads to, under the first of its names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Layout {
    pub places: BTreeMap<String, Place>,
}

impl Layout {
    /// Where the files of `image` lie.
    pub fn of(image: &[u8]) -> Result<Layout, ErofsError> {
        let place = |file: super::Placed| {
            let block = file.block().map(|start| u32::try_from(start / BLOCK_BYTES)).transpose();
            let block = block.map_err(|_| ErofsError::Damaged("a file has no valid place"))?;
            let place = Place { number: file.inode.start / SLOT_BYTES, serial: file.serial, block };
            Ok((file.key(), place))
        };
        Ok(Layout { places: placed(image)?.into_iter().map(place).collect::<Result<_, ErofsError>>()? })
    }

    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers can be written as JSON")
    }
}

impl From<Place> for Vec<u64> {
    fn from(place: Place) -> Self {
        [place.number, place.serial.into()].into_iter().chain(place.block.map(u64::from)).collect()
    }
}

impl TryFrom<Vec<u64>> for Place {
    type Error = &'static str;

    fn try_from(numbers: Vec<u64>) -> Result<Self, Self::Error> {
        let short = |number: u64| u32::try_from(number).map_err(|_| "a number of a place is too large");
        match numbers[..] {
            [number, serial] => Ok(Place { number, serial: short(serial)?, block: None }),
            [number, serial, block] => Ok(Place { number, serial: short(serial)?, block: Some(short(block)?) }),
            _ => Err("a place has two or three numbers"),
        }
    }
}
