//! What one file says of another: does the recipe, package, machine, tree or fragment exist?
//!
//! Invariant: after it, every name in the configuration refers to something, and dependencies have an order.

use super::cycle;
use super::diagnostic::{suggest, Diagnostic};
use super::file::app::AppFile;
use super::file::machine::MachineFile;
use super::file::product::ProductFile;
use super::file::recipe::{PackageEntry, RecipeFile};
use super::gaps::Gaps;
use super::lower::BUILT_IN;
use super::read::Kind;
use super::Fragment;
use crate::model::recipe::RunsOn;
use crate::model::{Located, Origin, RecipeName};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Everything that can be referred to.
pub struct World<'a> {
    pub recipes: HashMap<&'a str, &'a RecipeFile>,
    pub packages: HashMap<&'a str, (&'a RecipeFile, &'a PackageEntry)>,
    pub tools: BTreeSet<&'a str>,
    pub apps: BTreeSet<&'a str>,
    pub fragments: &'a BTreeMap<String, Fragment>,
    gaps: &'a Gaps,
}

impl<'a> World<'a> {
    /// Reports packages that two recipes yield.
    pub fn new(
        recipes: &'a [RecipeFile],
        tools: BTreeSet<&'a str>,
        apps: BTreeSet<&'a str>,
        fragments: &'a BTreeMap<String, Fragment>,
        gaps: &'a Gaps,
        problems: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut packages: HashMap<&str, (&RecipeFile, &PackageEntry)> = HashMap::new();
        for recipe in recipes {
            for package in &recipe.packages {
                let name = package.name.value.as_str();
                if let Some((other, first)) = packages.insert(name, (recipe, package)) {
                    let message = format!("package `{name}` is also a package of recipe `{}`", other.recipe.value);
                    let help = format!("rename one of them; the other is at {}", first.name.origin);
                    problems.push(Diagnostic::at(&package.name.origin, message).help(help));
                }
            }
        }
        let recipes = recipes.iter().map(|recipe| (recipe.recipe.value.as_str(), recipe)).collect();
        World { recipes, packages, tools, apps, fragments, gaps }
    }

    /// Recipes refer to recipes, packages, tool trees and fragments.
    pub fn check_recipes(&self, recipes: &[RecipeFile], problems: &mut Vec<Diagnostic>) {
        for recipe in recipes {
            for depended in &recipe.build_depends {
                self.check_dependency(depended, recipe.runs_on, "build-depends", problems);
            }
            for depended in &recipe.tool_depends {
                self.check_dependency(depended, RunsOn::Host, "tool-depends", problems);
            }
            for tree in &recipe.tools {
                let name = tree.value.as_str();
                if !self.tools.contains(name) && !self.gaps.may_define(Kind::Tools, name) {
                    let known = self.tools.iter().copied();
                    problems.push(unknown("tool tree", name, &tree.origin, known));
                }
            }
            for package in recipe.packages.iter().flat_map(|package| &package.run_depends) {
                self.check_package(package.value.as_str(), &package.origin, problems);
            }
            self.check_fragments(recipe.fragments.iter().flatten(), problems);
        }
        problems.extend(cycle::problems(&graph(recipes), "recipes", "builds on"));
    }

    /// Apps refer to packages.
    pub fn check_apps(&self, apps: &[AppFile], problems: &mut Vec<Diagnostic>) {
        for package in apps.iter().flat_map(|app| &app.packages) {
            self.check_package(package.value.as_str(), &package.origin, problems);
        }
    }

    fn check_dependency(
        &self,
        depended: &Located<RecipeName>,
        runs_on: RunsOn,
        field: &str,
        problems: &mut Vec<Diagnostic>,
    ) {
        let name = depended.value.as_str();
        match self.recipes.get(name) {
            None => problems.extend(self.unknown_recipe(name, &depended.origin)),
            Some(recipe) if recipe.runs_on != runs_on => {
                let (is, wanted) = match runs_on {
                    RunsOn::Device => ("host", "device"),
                    RunsOn::Host => ("device", "host"),
                };
                let message =
                    format!("`{field}` here takes recipes that run on the {wanted}; `{name}` is for the {is}");
                let help = match runs_on {
                    RunsOn::Device => format!("move `{name}` to `tool-depends`"),
                    RunsOn::Host => format!("add a recipe with `runs-on: host`, or move `{name}` to `build-depends`"),
                };
                problems.push(Diagnostic::at(&depended.origin, message).help(help));
            }
            Some(_) => {}
        }
    }

    /// None: a file that cannot be understood may have it.
    fn unknown_recipe(&self, name: &str, origin: &Origin) -> Option<Diagnostic> {
        if self.gaps.may_define(Kind::Recipe, name) {
            return None;
        }
        let problem = unknown("recipe", name, origin, self.recipes.keys().copied());
        Some(match self.packages.get(name) {
            Some((recipe, _)) => {
                problem.help(format!("`{name}` is a package; its recipe is `{}`", recipe.recipe.value))
            }
            None => problem,
        })
    }

    fn check_package(&self, name: &str, origin: &Origin, problems: &mut Vec<Diagnostic>) {
        if !self.packages.contains_key(name) && !self.gaps.may_hold_package(name) {
            let problem = unknown("package", name, origin, self.packages.keys().copied());
            problems.push(match self.recipes.get(name).and_then(|recipe| recipe.packages.first()) {
                Some(_) => problem.help(format!("recipe `{name}` has packages: {}", self.package_names(name))),
                None => problem,
            });
        }
    }

    fn package_names(&self, recipe: &str) -> String {
        let packages = self.recipes.get(recipe).map(|recipe| recipe.packages.as_slice()).unwrap_or_default();
        packages.iter().map(|package| format!("`{}`", package.name.value)).collect::<Vec<_>>().join(", ")
    }

    fn check_fragments<'b>(
        &self,
        fragments: impl Iterator<Item = &'b Located<String>>,
        problems: &mut Vec<Diagnostic>,
    ) {
        for fragment in fragments.filter(|fragment| !self.fragments.contains_key(&fragment.value)) {
            let known = self.fragments.keys().map(String::as_str);
            problems.push(unknown("kernel fragment", &fragment.value, &fragment.origin, known));
        }
    }

    /// A machine refers to its kernel, its stub and fragments.
    pub fn check_machine(&self, machine: &MachineFile, problems: &mut Vec<Diagnostic>) {
        for recipe in [&machine.kernel, &machine.efi_stub] {
            if !self.recipes.contains_key(recipe.value.as_str()) {
                problems.extend(self.unknown_recipe(recipe.value.as_str(), &recipe.origin));
            }
        }
        self.check_fragments(machine.kernel_fragments.iter(), problems);
    }

    /// A product refers to packages, apps and fragments. It may have packages of its own beside those here: `own`.
    pub fn check_references(&self, product: &ProductFile, own: &HashSet<String>, problems: &mut Vec<Diagnostic>) {
        for package in product.packages.iter().filter(|package| !own.contains(package.value.as_str())) {
            self.check_package(package.value.as_str(), &package.origin, problems);
        }
        self.check_fragments(product.kernel_fragments.iter(), problems);
        for (name, entry) in &product.apps {
            if !self.apps.contains(name.as_str()) && !self.gaps.may_define(Kind::App, name) {
                problems.push(unknown("app", name, &entry.origin, self.apps.iter().copied()));
            }
        }
        super::lower::check_accounts(product, problems);
    }

    /// The product that is built: its packages refer to its users and groups, too.
    pub fn check_product(&self, product: &ProductFile, problems: &mut Vec<Diagnostic>) {
        self.check_references(product, &HashSet::new(), problems);
        for entry in self.closure(product).into_iter().flat_map(|package| &package.metadata) {
            let users: Vec<&str> = product.users.keys().map(String::as_str).chain(BUILT_IN).collect();
            let groups: Vec<&str> = product.groups.keys().map(String::as_str).chain(BUILT_IN).collect();
            for (what, name, known) in [("user", &entry.user, users), ("group", &entry.group, groups)] {
                let Some(name) = name.as_ref().filter(|name| !known.contains(&name.value.as_str())) else { continue };
                let problem = unknown(what, &name.value, &name.origin, known.into_iter());
                problems.push(problem.help(format!("add it to `{what}s:` of product `{}`", product.product.value)));
            }
        }
    }

    /// The packages of the image: those named, and what they need at run time.
    fn closure(&self, product: &ProductFile) -> Vec<&'a PackageEntry> {
        let mut waiting: Vec<&str> = product.packages.iter().map(|package| package.value.as_str()).collect();
        let mut seen = BTreeSet::new();
        let mut packages = Vec::new();
        while let Some(name) = waiting.pop() {
            let Some((_, package)) = self.packages.get(name) else { continue };
            if seen.insert(package.name.value.as_str()) {
                waiting.extend(package.run_depends.iter().map(|package| package.value.as_str()));
                packages.push(*package);
            }
        }
        packages
    }
}

fn graph(recipes: &[RecipeFile]) -> cycle::Graph<'_> {
    let edges = |recipe: &'_ RecipeFile| recipe.build_depends.len() + recipe.tool_depends.len();
    recipes
        .iter()
        .filter(|recipe| edges(recipe) > 0)
        .map(|recipe| {
            let depended = recipe.build_depends.iter().chain(&recipe.tool_depends);
            (recipe.recipe.value.as_str(), depended.map(|d| (d.value.as_str(), &d.origin)).collect())
        })
        .collect()
}

fn unknown<'a>(what: &str, name: &str, origin: &Origin, known: impl Iterator<Item = &'a str>) -> Diagnostic {
    Diagnostic::at(origin, format!("there is no {what} `{name}`")).maybe_help(suggest(name, known))
}
