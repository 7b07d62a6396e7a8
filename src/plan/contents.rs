//! The packages and skeletons of a root in, the inputs and parameters of the step that composes it out.
//!
//! Invariant: what a package needs at run time comes with it.

use super::builder::{mount, PlanBuilder};
use super::recipe::{self, metadata_json, package_output};
use super::source::local_node;
use super::task::{Input, InputMount};
use crate::model::recipe::{OutputPackage, Recipe};
use crate::model::{Located, PackageName, RelPath};
use serde_json::{json, Value};
use std::collections::{BTreeMap, BTreeSet};

pub(super) struct Contents {
    pub inputs: Vec<InputMount>,
    /// As `tree::parameters::Package` and `Skeleton`.
    pub packages: Vec<Value>,
    pub skeletons: Vec<Value>,
}

/// None: a problem was reported.
pub(super) fn plan(
    builder: &mut PlanBuilder,
    packages: &[Located<PackageName>],
    skeletons: &[Located<RelPath>],
) -> Option<Contents> {
    let mut contents = Contents { inputs: Vec::new(), packages: Vec::new(), skeletons: Vec::new() };
    for (owner, package) in closure(builder, packages) {
        let tasks = recipe::plan(builder, &owner.name)?;
        let tree = Input::Output(package_output(&tasks, package));
        contents.inputs.push(mount(&format!("packages/{}", package.name), tree));
        contents.packages.push(json!({
            "name": package.name.as_str(), "recipe": owner.name.as_str(), "version": owner.version,
            "license": owner.license, "origin": package.origin.to_string(),
            "run_depends": package.run_depends.iter().map(PackageName::as_str).collect::<Vec<_>>(),
            "metadata": metadata_json(&package.metadata),
        }));
    }
    for (index, skeleton) in skeletons.iter().enumerate() {
        let Some(node) = local_node(builder, &skeleton.value) else {
            let message = format!("skeleton folder `{}` does not exist", skeleton.value);
            builder.problem(&skeleton.origin, message, Some("paths are relative to the project's root".into()));
            return None;
        };
        let input = format!("skeletons/{index:03}");
        contents.inputs.push(mount(&input, node));
        contents.skeletons.push(json!({ "input": input, "path": skeleton.value.as_str() }));
    }
    Some(contents)
}

/// The named packages and what they need at run time, each with its recipe.
fn closure<'a>(builder: &PlanBuilder<'a>, packages: &[Located<PackageName>]) -> Vec<(&'a Recipe, &'a OutputPackage)> {
    let mut owners: BTreeMap<&PackageName, (&Recipe, &OutputPackage)> = BTreeMap::new();
    for recipe in builder.config.recipes.values() {
        owners.extend(recipe.packages.iter().map(|package| (&package.name, (recipe, package))));
    }
    let mut chosen = BTreeSet::new();
    let mut waiting: Vec<&PackageName> = packages.iter().map(|p| &p.value).collect();
    while let Some(name) = waiting.pop() {
        // Names that no recipe owns were reported when the configuration was loaded.
        if let Some((_, package)) = owners.get(name) {
            if chosen.insert(name) {
                waiting.extend(&package.run_depends);
            }
        }
    }
    chosen.into_iter().filter_map(|name| owners.get(name).copied()).collect()
}
