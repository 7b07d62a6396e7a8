//! The recipes and tool trees of all products in, what one lock has to cover out.
//!
//! Invariant: a tool tree asks for the same packages in every product, as a lock has one list for each name.

use super::LockError;
use crate::model::recipe::{Place, Recipe, Source};
use crate::model::tooltree::ToolTree;
use crate::model::{Origin, ProductName, RecipeName, RelPath, ToolTreeName};
use crate::tools::debian::SUITES;
use std::collections::BTreeMap;
use std::path::Path;

/// What is to be locked.
#[derive(Clone, Debug)]
pub struct LockRequest<'a> {
    /// The project's root.
    pub project: &'a Path,
    /// Of Debian's archive, the default one first.
    pub suites: Vec<String>,
    recipes: Vec<&'a Recipe>,
    /// Each tree with the product it was first seen in.
    trees: BTreeMap<&'a ToolTreeName, (&'a ProductName, &'a ToolTree)>,
}

impl<'a> LockRequest<'a> {
    /// Nothing of `project` yet; without `suites`, those that osbuild knows.
    pub fn new(project: &'a Path, suites: &[String]) -> Self {
        let known = || SUITES.map(str::to_owned).into();
        let suites = if suites.is_empty() { known() } else { suites.to_owned() };
        LockRequest { project, suites, recipes: Vec::new(), trees: BTreeMap::new() }
    }

    /// Adds what `product` is built from.
    pub fn add(
        &mut self,
        product: &'a ProductName,
        recipes: &'a BTreeMap<RecipeName, Recipe>,
        trees: &'a BTreeMap<ToolTreeName, ToolTree>,
    ) -> Result<(), LockError> {
        self.recipes.extend(recipes.values());
        for (name, tree) in trees {
            let (first, known) = *self.trees.entry(name).or_insert((product, tree));
            if known.request() != tree.request() {
                let (first, second) = (first.clone(), product.clone());
                return Err(LockError::Differs { tree: name.clone(), first, second, origin: tree.origin.clone() });
            }
        }
        Ok(())
    }

    pub fn trees(&self) -> impl Iterator<Item = &'a ToolTree> + '_ {
        self.trees.values().map(|(_, tree)| *tree)
    }

    /// The sources that are named by a SHA-256, each once, with a recipe that has it.
    pub fn archives(&self) -> Vec<(&'a Recipe, &'a Source, &'a str)> {
        let pinned = |(recipe, source): (&'a Recipe, &'a Source)| {
            let sha256 = source.sha256.as_deref()?;
            Some((sha256, (recipe, source, sha256)))
        };
        // The first product's recipe counts: it has the places that most products have.
        let by_digest: BTreeMap<_, _> = self.sources().rev().filter_map(pinned).collect();
        by_digest.into_values().collect()
    }

    /// Every Cargo.lock that a recipe names, and where it does.
    pub fn cargo_locks(&self) -> BTreeMap<&'a RelPath, &'a Origin> {
        let places = self.sources().flat_map(|(_, source)| source.places.iter().map(move |place| (source, place)));
        let lock = |(source, place): (&'a Source, &'a Place)| match place {
            Place::Crates { lock } => Some((lock, &source.origin)),
            _ => None,
        };
        places.filter_map(lock).collect()
    }

    fn sources(&self) -> impl DoubleEndedIterator<Item = (&'a Recipe, &'a Source)> + '_ {
        self.recipes.iter().flat_map(|recipe| recipe.sources.iter().map(move |source| (*recipe, source)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Located;

    fn trees(name: &str, packages: &[&str]) -> BTreeMap<ToolTreeName, ToolTree> {
        let name = ToolTreeName::new(name).expect("valid");
        let origin = Origin { file: "layers/core/tools/c.yaml".into(), line: 3, column: 1 };
        let located = |package: &&str| Located { value: (*package).to_owned(), origin: origin.clone() };
        let packages = packages.iter().map(located).collect();
        let tree = ToolTree { name: name.clone(), packages, exclude: vec![], links: BTreeMap::new(), origin };
        BTreeMap::from([(name, tree)])
    }

    #[test]
    fn trees_of_all_products_come_together_and_must_not_differ() {
        let [a, b] = ["a", "b"].map(|name| ProductName::new(name).expect("valid"));
        let (c, also_c, rust) = (trees("c", &["gcc"]), trees("c", &["gcc", "make"]), trees("rust", &["rustc"]));
        let none = BTreeMap::new();
        let mut request = LockRequest::new(Path::new("/"), &[]);
        for (product, trees) in [(&a, &c), (&b, &c), (&b, &rust)] {
            request.add(product, &none, trees).expect("agreed");
        }
        assert_eq!(request.trees().map(|tree| tree.name.as_str()).collect::<Vec<_>>(), ["c", "rust"]);
        let error = request.add(&b, &none, &also_c).expect_err("two lists for one name").to_string();
        assert!(error.contains("tool tree `c` asks for other packages in product `b` than in product `a`"), "{error}");
    }
}
