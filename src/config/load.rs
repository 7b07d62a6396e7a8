//! The stages between the project's files and [`Config`].
//!
//! Invariant: a stage that fails still lets the others report what they can, so one run shows every error.

use super::check::World;
use super::diagnostic::{Diagnostic, Diagnostics, Sources};
use super::file::app::AppFile;
use super::file::machine::MachineFile;
use super::file::overriding::TargetKind;
use super::file::product::{ProductAppEntry, ProductFile};
use super::file::recipe::RecipeFile;
use super::file::tools::ToolsFile;
use super::index::{self, Index};
use super::overrides::Overrides;
use super::read::{self, File, Kind, Project};
use super::record::{self, Decode, Problems};
use super::render::{needs_rendering, render};
use super::resolve::{self, Effective, Resolved, Wanted};
use super::yaml::Node;
use super::{check_apps, inherit, lower, others, Config, Fragment};
use crate::model::{MachineName, ProductName};
use crate::template::Context;
use rayon::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// The product when none is named.
pub const DEFAULT_PRODUCT: &str = "gateway";

/// Reads the project and resolves `product`; `vars` replace variables of that name.
pub fn load(
    root: &Path,
    product: Option<&str>,
    vars: &BTreeMap<String, String>,
) -> Result<(Config, Effective), Diagnostics> {
    load_wanted(root, Wanted { product: product.unwrap_or(DEFAULT_PRODUCT), vars, with_app: None })
}

/// Reads the project and resolves what is wanted of it.
pub fn load_wanted(root: &Path, wanted: Wanted) -> Result<(Config, Effective), Diagnostics> {
    let mut problems = Vec::new();
    let mut project = read::project(root, &mut problems);
    let index = index::build(&mut project, &mut problems);
    let result = resolve(&mut project, index, wanted, &mut problems);
    match result {
        Some(result) if problems.is_empty() => Ok(result),
        _ => Err(finish(problems, &project.sources)),
    }
}

/// Resolves each product that can be built; what is wrong with any of them is reported together.
pub fn load_all(root: &Path) -> Result<Vec<Config>, Diagnostics> {
    let mut problems = Vec::new();
    let index = index::build(&mut read::project(root, &mut problems), &mut problems);
    let names = inherit::buildable(&index);
    if names.is_empty() {
        // This says what there is instead.
        return load(root, None, &BTreeMap::new()).map(|(config, _)| vec![config]);
    }
    let mut configs = Vec::new();
    let mut wrong = Vec::new();
    for name in names {
        match load(root, Some(name), &BTreeMap::new()) {
            Ok((config, _)) => configs.push(config),
            Err(Diagnostics(list)) => wrong.extend(list),
        }
    }
    // The lines have been quoted already.
    if wrong.is_empty() {
        Ok(configs)
    } else {
        Err(Diagnostics::new(wrong, &Sources::new()))
    }
}

fn finish(mut problems: Vec<Diagnostic>, sources: &Sources) -> Diagnostics {
    if problems.is_empty() {
        problems.push(Diagnostic::nowhere("the configuration is not valid"));
    }
    Diagnostics::new(problems, sources)
}

fn resolve(
    project: &mut Project,
    mut index: Index,
    wanted: Wanted,
    problems: &mut Vec<Diagnostic>,
) -> Option<(Config, Effective)> {
    for file in index.products.values() {
        check_alone::<ProductFile>(file, problems);
    }
    for file in index.machines.values() {
        check_alone::<MachineFile>(file, problems);
    }
    let recipes = std::mem::take(&mut index.recipes);
    let resolved = resolve::product(&index, wanted, &project.gaps, problems);
    let Some(resolved) = resolved else {
        check_unrendered(&index, &recipes, problems);
        return None;
    };
    let Resolved { overrides, context, effective } = resolved;
    let mut product_file: Option<ProductFile> = record::read(&effective.product, problems);
    if let (Some(product), Some(app)) = (&mut product_file, wanted.with_app) {
        let origin = product.product.origin.clone();
        let entry = || ProductAppEntry { critical: false, third_party: true, origin };
        product.apps.entry(app.to_owned()).or_insert_with(entry);
    }
    let machine_file: Option<MachineFile> = record::read(&effective.machine, problems);
    let tools = tools(&index, &overrides, &context, problems);
    let others = others::resolve(&index, &recipes, wanted.product, &project.gaps, problems);
    let Project { gaps, sources, .. } = project;
    let failed = |path: &str, name: &str| gaps.add(Kind::Recipe, name, sources.get(path).cloned());
    let recipes = recipe_files(recipes, &overrides, &context, failed, problems);
    let apps = app_files(&index, &overrides, &context, problems);
    let fragments = std::mem::take(&mut project.fragments);
    let trees = index.tools.keys().map(String::as_str).collect();
    let names = index.apps.keys().map(String::as_str).collect();
    let world = World::new(&recipes, trees, names, &fragments, &project.gaps, problems);
    world.check_recipes(&recipes, problems);
    world.check_apps(&apps, problems);
    machine_file.iter().for_each(|file| world.check_machine(file, problems));
    product_file.iter().for_each(|file| world.check_product(file, problems));
    if let (Some(product), Some(machine)) = (&product_file, &machine_file) {
        check_apps::check(product, machine, &apps, problems);
    }
    others.iter().for_each(|other| other.check(&world, problems));
    assemble(Parts { index: &index, product_file, machine_file, tools, recipes, apps, fragments }, problems)
        .map(|config| (config, effective))
}

/// Without a product there is nothing to render with: looks at the files as they are.
fn check_unrendered(index: &Index, recipes: &BTreeMap<String, File>, problems: &mut Vec<Diagnostic>) {
    let own: Vec<Vec<Diagnostic>> = recipes
        .par_iter()
        .map(|(_, file)| {
            let mut problems = Vec::new();
            check_alone::<RecipeFile>(file, &mut problems);
            problems
        })
        .collect();
    problems.extend(own.into_iter().flatten());
    index.tools.values().for_each(|file| check_alone::<ToolsFile>(file, problems));
    index.apps.values().for_each(|file| check_alone::<AppFile>(file, problems));
}

/// Reports what is wrong with `file` whatever inheritance and templates make of it.
fn check_alone<T: Decode>(file: &File, problems: &mut Vec<Diagnostic>) {
    let mut own = Problems { partial: true, ..Problems::default() };
    T::decode(&file.tree, &mut own);
    problems.append(&mut own.list);
}

fn tools(index: &Index, overrides: &Overrides, context: &Context, problems: &mut Vec<Diagnostic>) -> Vec<ToolsFile> {
    let file = |file: &File| {
        let mut tree = file.tree.clone();
        overrides.apply(TargetKind::Tools, &file.stem, &mut tree, problems);
        render(&mut tree, context, problems);
        record::read(&tree, problems)
    };
    index.tools.values().filter_map(file).collect()
}

fn app_files(index: &Index, overrides: &Overrides, context: &Context, problems: &mut Vec<Diagnostic>) -> Vec<AppFile> {
    let file = |(name, file): (&String, &File)| {
        let mut tree = file.tree.clone();
        overrides.apply(TargetKind::App, name, &mut tree, problems);
        if needs_rendering(&tree) {
            render_versioned(name, &mut tree, context.clone(), problems);
        }
        record::read(&tree, problems)
    };
    index.apps.iter().filter_map(file).collect()
}

/// Tells `failed` the path and name of each recipe that cannot be understood.
fn recipe_files(
    files: BTreeMap<String, File>,
    overrides: &Overrides,
    context: &Context,
    mut failed: impl FnMut(&str, &str),
    problems: &mut Vec<Diagnostic>,
) -> Vec<RecipeFile> {
    let done: Vec<_> = files
        .into_par_iter()
        .map(|(name, file)| {
            let mut problems = Vec::new();
            let mut tree = file.tree;
            overrides.apply(TargetKind::Recipe, &name, &mut tree, &mut problems);
            if needs_rendering(&tree) {
                render_versioned(&name, &mut tree, context.clone(), &mut problems);
            }
            let recipe: Option<RecipeFile> = record::read(&tree, &mut problems);
            (recipe.ok_or((file.path, name)), problems)
        })
        .collect();
    let mut recipes = Vec::with_capacity(done.len());
    for (recipe, own) in done {
        problems.extend(own);
        match recipe {
            Ok(recipe) => recipes.push(recipe),
            Err((path, name)) => failed(&path, &name),
        }
    }
    recipes
}

/// What has a version of its own, which its other values may name.
fn render_versioned(name: &str, tree: &mut Node, mut context: Context, problems: &mut Vec<Diagnostic>) {
    context.insert("name", Value::String(name.to_owned()));
    if let Some(version) = tree.get_mut("version") {
        // The version itself may name the product's variables.
        render(version, &context, problems);
        context.insert("version", Value::String(version.text().unwrap_or_default().to_owned()));
    }
    render(tree, &context, problems);
}

struct Parts<'a> {
    index: &'a Index,
    product_file: Option<ProductFile>,
    machine_file: Option<MachineFile>,
    tools: Vec<ToolsFile>,
    recipes: Vec<RecipeFile>,
    apps: Vec<AppFile>,
    fragments: BTreeMap<String, Fragment>,
}

fn assemble(parts: Parts, problems: &mut Vec<Diagnostic>) -> Option<Config> {
    let product = parts.product_file.and_then(|file| lower::product(file, problems));
    let machine = parts.machine_file.and_then(|file| lower::machine(file, problems));
    let tools: Vec<_> = parts.tools.into_iter().filter_map(|file| lower::tool_tree(file, problems)).collect();
    let lowered: Vec<_> = parts
        .recipes
        .into_par_iter()
        .map(|file| {
            let mut problems = Vec::new();
            (lower::recipe(file, &mut problems), problems)
        })
        .collect();
    let mut recipes = BTreeMap::new();
    for (recipe, own) in lowered {
        problems.extend(own);
        recipes.extend(recipe.map(|recipe| (recipe.name.clone(), recipe)));
    }
    let architecture = machine.as_ref().map(|machine| machine.architecture);
    let lower = |file: AppFile| lower::app(file, architecture?, problems);
    let apps: Vec<_> = parts.apps.into_iter().filter_map(lower).collect();
    let product_names = parts.index.products.keys().filter_map(|name| ProductName::new(name).ok());
    let machine_names = parts.index.machines.keys().filter_map(|name| MachineName::new(name).ok());
    Some(Config {
        product: product?,
        machine: machine?,
        recipes,
        apps: apps.into_iter().map(|app| (app.name.clone(), app)).collect(),
        tool_trees: tools.into_iter().map(|tree| (tree.name.clone(), tree)).collect(),
        fragments: parts.fragments,
        all_products: product_names.collect(),
        all_machines: machine_names.collect(),
        suites: parts.index.suites.clone(),
    })
}
