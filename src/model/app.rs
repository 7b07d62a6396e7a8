//! An app: a program that the device confines to what its manifest declares.
//!
//! Invariant: the manifest keeps every rule of its format; what it says of the image is filled in when there is one.

use super::{AppName, Located, Origin, PackageName, RelPath};
use osbuild_format::app::Manifest;

#[derive(Clone, Debug)]
pub struct App {
    pub name: AppName,
    /// Without their run-time dependencies, which the plan adds.
    pub packages: Vec<Located<PackageName>>,
    /// Folders copied into the image in order; a file ending in `.tera` is rendered and loses the ending.
    pub skeletons: Vec<Located<RelPath>>,
    /// With [`no_image`] in place of what its image is.
    pub manifest: Manifest,
    pub origin: Origin,
}

/// Stands in a manifest whose image is not made yet: passes the format's rules and is the hash of nothing.
pub fn no_image() -> osbuild_format::app::ImageFacts {
    osbuild_format::app::ImageFacts { data_blocks: 1, root_hash: "0".repeat(64), salt: String::new() }
}
