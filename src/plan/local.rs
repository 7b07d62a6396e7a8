//! The project's own files that take part in a build: which ones, and their content.
//!
//! Invariant: only what is listed here is ever read; everything else in the project cannot change a build.

use crate::config::Config;
use crate::io::store::Node;
use crate::model::recipe::Place;
use crate::model::{Digest, RelPath};
use std::collections::{BTreeMap, BTreeSet};

/// The content of each path of [`paths`], already in the store. A path that does not exist is absent.
#[derive(Clone, Debug, Default)]
pub struct LocalInputs {
    pub nodes: BTreeMap<RelPath, Node>,
    /// Project path and permission bits of each file among them that sets a user or group id: nodes keep no such bit.
    pub set_id: BTreeMap<RelPath, u32>,
    /// Where the files of the product's root are to lie; none: where `mkfs.erofs` puts them.
    pub layout: Option<Digest>,
}

/// Every project path that the configuration refers to.
pub fn paths(config: &Config) -> BTreeSet<RelPath> {
    let mut paths: BTreeSet<RelPath> = config.product.skeletons.iter().map(|s| s.value.clone()).collect();
    let update = &config.product.update;
    paths.extend([&update.root, &update.ca].into_iter().flatten().map(|file| file.value.clone()));
    paths.extend(config.apps.values().flat_map(|app| app.skeletons.iter().map(|s| s.value.clone())));
    for recipe in config.recipes.values() {
        paths.extend(recipe.patches.iter().cloned());
        for place in recipe.sources.iter().flat_map(|source| &source.places) {
            // A Cargo.lock takes part in no build, but it must be the one that was locked.
            if let Place::File(path) | Place::Crates { lock: path } = place {
                paths.insert(path.clone());
            }
        }
    }
    paths
}
