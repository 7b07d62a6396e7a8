//! The products that are not being built, and whether what they refer to is there.
//!
//! Invariant: each is seen with its own overrides, so a package that only one product has is not missing there.

use super::check::World;
use super::diagnostic::Diagnostic;
use super::file::machine::MachineFile;
use super::file::overriding::TargetKind;
use super::file::product::ProductFile;
use super::gaps::Gaps;
use super::index::Index;
use super::inherit;
use super::read::File;
use super::record;
use super::resolve::{self, Resolved, Wanted};
use super::yaml::Node;
use crate::template;
use std::collections::{BTreeMap, HashSet};

/// A product that is not being built.
pub struct Other {
    product: Option<ProductFile>,
    machine: Option<MachineFile>,
    packages: HashSet<String>,
}

/// All products but `built`.
pub fn resolve(
    index: &Index,
    recipes: &BTreeMap<String, File>,
    built: &str,
    gaps: &Gaps,
    problems: &mut Vec<Diagnostic>,
) -> Vec<Other> {
    let vars = BTreeMap::new();
    let mut others = Vec::new();
    for product in inherit::buildable(index).into_iter().filter(|name| *name != built) {
        let wanted = Wanted { product, vars: &vars, with_app: None };
        let Some(resolved) = resolve::product(index, wanted, gaps, problems) else { continue };
        others.push(Other {
            product: record::read(&resolved.effective.product, problems),
            machine: record::read(&resolved.effective.machine, problems),
            packages: packages(recipes, &resolved),
        });
    }
    others
}

impl Other {
    /// Reports what is not there.
    pub fn check(&self, world: &World, problems: &mut Vec<Diagnostic>) {
        self.machine.iter().for_each(|file| world.check_machine(file, problems));
        self.product.iter().for_each(|file| world.check_references(file, &self.packages, problems));
    }
}

/// The names of all packages that recipes have in this product. What is wrong with a recipe there is said when that
/// product is built.
fn packages(recipes: &BTreeMap<String, File>, resolved: &Resolved) -> HashSet<String> {
    let mut names = HashSet::new();
    for (recipe, file) in recipes {
        if resolved.overrides.has(TargetKind::Recipe, recipe) {
            let mut tree = file.tree.clone();
            resolved.overrides.apply(TargetKind::Recipe, recipe, &mut tree, &mut Vec::new());
            names.extend(package_names(&tree, resolved));
        } else {
            names.extend(package_names(&file.tree, resolved));
        }
    }
    names
}

fn package_names<'a>(recipe: &'a Node, resolved: &'a Resolved) -> impl Iterator<Item = String> + 'a {
    let items = recipe.get("packages").map(Node::items).unwrap_or_default();
    let name = |item: &Node| {
        let text = item.get("name")?.text()?;
        template::render(text, "", &resolved.context).ok()
    };
    items.iter().filter_map(name)
}
