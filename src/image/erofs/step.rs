//! The step `place`: a root file system and a layout in, the root with its files there out.
//!
//! Invariant: that of [`place`].

use super::layout::{Layout, LIMIT_LAYOUT_BYTES};
use super::place::{place, PlaceError};
use crate::image::step::{input, output, ImageError};
use crate::io::store::{Node, Store};
use crate::model::machine::PartitionSizes;
use crate::model::{Digest, RelPath};
use std::collections::BTreeMap;

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {}

/// Inputs `root.erofs` and `layout.json`, output `root.erofs`.
pub fn step(store: &Store, inputs: &Digest, parameters: &str) -> Result<BTreeMap<RelPath, Node>, ImageError> {
    let Parameters {} = serde_json::from_str(parameters)?;
    let image = store.read(&input(store, inputs, "root.erofs")?, PartitionSizes::ROOT_MOST_BYTES)?;
    let layout = store.read(&input(store, inputs, "layout.json")?, LIMIT_LAYOUT_BYTES)?;
    let layout: Layout = serde_json::from_slice(&layout).map_err(PlaceError::from)?;
    Ok(BTreeMap::from([output(store, "root.erofs", &place(&image, &layout)?)?]))
}
