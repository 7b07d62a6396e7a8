//! The stages between the project's files and [`Config`].
//!
//! Invariant: a stage that fails still lets the others report what they can, so one run shows every error.

use super::check::World;
use super::diagnostic::{suggest, Diagnostic, Diagnostics, Sources};
use super::file::machine::MachineFile;
use super::file::overriding::TargetKind;
use super::file::product::ProductFile;
use super::file::recipe::RecipeFile;
use super::file::tools::ToolsFile;
use super::index::{self, Index};
use super::overrides::Overrides;
use super::read::{self, File, Project};
use super::record::{Decode, Problems};
use super::render::{needs_rendering, render};
use super::yaml::{self, Node, Style};
use super::{inherit, lower, Config, Fragment};
use crate::model::{MachineName, ProductName};
use crate::template::Context;
use rayon::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// The product when none is named.
pub const DEFAULT_PRODUCT: &str = "gateway";

/// What the user asks for.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    product: &'a str,
    vars: &'a BTreeMap<String, String>,
}

/// The effective trees of a product and its machine.
pub struct Effective {
    pub product: Node,
    pub machine: Node,
}

/// Reads the project and resolves `product`; `vars` replace variables of that name.
pub fn load(
    root: &Path,
    product: Option<&str>,
    vars: &BTreeMap<String, String>,
) -> Result<(Config, Effective), Diagnostics> {
    let mut problems = Vec::new();
    let mut project = read::project(root, &mut problems);
    let index = index::build(&mut project, &mut problems);
    let wanted = Wanted { product: product.unwrap_or(DEFAULT_PRODUCT), vars };
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
    let resolved = resolve_product(&index, wanted, problems);
    let Some(resolved) = resolved else {
        // Without a product there is nothing to render with; look at the files as they are.
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
        return None;
    };
    let Resolved { overrides, context, effective } = resolved;
    let product_file: Option<ProductFile> = decode(&effective.product, problems);
    let machine_file: Option<MachineFile> = decode(&effective.machine, problems);
    let tools = tools(&index, &overrides, &context, problems);
    let before = problems.len();
    let recipes = recipe_files(recipes, &overrides, &context, problems);
    let whole = problems.len() == before && !project.incomplete;
    let fragments = std::mem::take(&mut project.fragments);
    if whole {
        let trees = index.tools.keys().map(String::as_str).collect();
        let world = World::new(&recipes, trees, &fragments, problems);
        world.check_recipes(&recipes, problems);
        machine_file.iter().for_each(|file| world.check_machine(file, problems));
        product_file.iter().for_each(|file| world.check_product(file, problems));
    }
    assemble(Parts { index: &index, product_file, machine_file, tools, recipes, fragments }, problems)
        .map(|config| (config, effective))
}

/// Reports what is wrong with `file` whatever inheritance and templates make of it.
fn check_alone<T: Decode>(file: &File, problems: &mut Vec<Diagnostic>) {
    let mut own = Problems { partial: true, ..Problems::default() };
    T::decode(&file.tree, &mut own);
    problems.append(&mut own.list);
}

fn decode<T: Decode>(tree: &Node, problems: &mut Vec<Diagnostic>) -> Option<T> {
    let mut own = Problems::default();
    let value = T::decode(tree, &mut own);
    problems.append(&mut own.list);
    value
}

struct Resolved<'a> {
    overrides: Overrides<'a>,
    /// What the values of recipes and tool trees may name, but for the recipe's own names.
    context: Context,
    effective: Effective,
}

fn resolve_product<'a>(index: &'a Index, wanted: Wanted, problems: &mut Vec<Diagnostic>) -> Option<Resolved<'a>> {
    let chain = inherit::chain(index, wanted.product, problems)?;
    // Conditions ask about features as the product files set them, so those are merged first.
    let plain = inherit::merged(&chain, None, &mut Vec::new());
    let overrides = Overrides::new(&index.overrides, inherit::situation(index, &chain, &plain), problems);
    let mut product = inherit::merged(&chain, Some(&overrides), problems);
    replace_vars(&mut product, wanted.vars, problems);
    let Some(machine_name) = product.get("machine") else {
        let problem = Diagnostic::at(&product.origin, "product lacks the field `machine`");
        problems.push(problem.help("add `machine: NAME`"));
        return None;
    };
    let Some(file) = machine_name.text().and_then(|name| index.machines.get(name)) else {
        let name = machine_name.text().unwrap_or_default();
        let problem = Diagnostic::at(&machine_name.origin, format!("there is no machine `{name}`"));
        problems.push(problem.maybe_help(suggest(name, index.machines.keys().map(String::as_str))));
        return None;
    };
    let mut machine = file.tree.clone();
    overrides.apply(TargetKind::Machine, &file.stem, &mut machine, problems);
    let mut context = context(&mut product, &machine, problems);
    render(&mut product, &context, problems);
    render(&mut machine, &context, problems);
    // A recipe's version is its own.
    context.insert("product_version", scalar(&product, "version"));
    Some(Resolved { overrides, context, effective: Effective { product, machine } })
}

/// Values from outside stand where the product's own were; they are taken as they are.
fn replace_vars(product: &mut Node, vars: &BTreeMap<String, String>, problems: &mut Vec<Diagnostic>) {
    for (name, text) in vars {
        let known = product.get("vars").map(Node::entries).unwrap_or_default().iter().map(|entry| entry.key.as_str());
        let help = suggest(name, known);
        match product.get_mut("vars").and_then(|vars| vars.get_mut(name)) {
            Some(node) => node.value = yaml::Value::Scalar { text: text.clone(), style: Style::Quoted },
            None => problems.push(
                Diagnostic::at(&product.origin, format!("the product has no variable `{name}`")).maybe_help(help),
            ),
        }
    }
}

fn scalar(tree: &Node, key: &str) -> Value {
    Value::String(tree.get(key).and_then(Node::text).unwrap_or_default().to_owned())
}

/// What values may name. Renders `vars` on the way, which may name everything but each other.
fn context(product: &mut Node, machine: &Node, problems: &mut Vec<Diagnostic>) -> Context {
    let mut context = Context::new();
    for (name, tree, key) in [
        ("product", &*product, "product"),
        ("version", &*product, "version"),
        ("machine", machine, "machine"),
        ("architecture", machine, "architecture"),
    ] {
        context.insert(name, scalar(tree, key));
    }
    let features = product.get("features").map(Node::entries).unwrap_or_default();
    let features = features.iter().map(|entry| (entry.key.clone(), Value::Bool(entry.node.text() == Some("true"))));
    context.insert("features", Value::Object(features.collect()));
    context.insert("vars", Value::Object(serde_json::Map::new()));
    if let Some(vars) = product.get_mut("vars") {
        render(vars, &context, problems);
        let text = |node: &Node| Value::String(node.text().unwrap_or_default().to_owned());
        let vars = vars.entries().iter().map(|entry| (entry.key.clone(), text(&entry.node)));
        context.insert("vars", Value::Object(vars.collect()));
    }
    context
}

fn tools(index: &Index, overrides: &Overrides, context: &Context, problems: &mut Vec<Diagnostic>) -> Vec<ToolsFile> {
    let file = |file: &File| {
        let mut tree = file.tree.clone();
        overrides.apply(TargetKind::Tools, &file.stem, &mut tree, problems);
        render(&mut tree, context, problems);
        decode(&tree, problems)
    };
    index.tools.values().filter_map(file).collect()
}

fn recipe_files(
    files: BTreeMap<String, File>,
    overrides: &Overrides,
    context: &Context,
    problems: &mut Vec<Diagnostic>,
) -> Vec<RecipeFile> {
    let done: Vec<(Option<RecipeFile>, Vec<Diagnostic>)> = files
        .into_par_iter()
        .map(|(name, file)| {
            let mut problems = Vec::new();
            let mut tree = file.tree;
            overrides.apply(TargetKind::Recipe, &name, &mut tree, &mut problems);
            if needs_rendering(&tree) {
                render_recipe(&name, &mut tree, context.clone(), &mut problems);
            }
            (decode(&tree, &mut problems), problems)
        })
        .collect();
    let mut recipes = Vec::with_capacity(done.len());
    for (recipe, own) in done {
        recipes.extend(recipe);
        problems.extend(own);
    }
    recipes
}

fn render_recipe(name: &str, tree: &mut Node, mut context: Context, problems: &mut Vec<Diagnostic>) {
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
    let product_names = parts.index.products.keys().filter_map(|name| ProductName::new(name).ok());
    let machine_names = parts.index.machines.keys().filter_map(|name| MachineName::new(name).ok());
    Some(Config {
        product: product?,
        machine: machine?,
        recipes,
        tool_trees: tools.into_iter().map(|tree| (tree.name.clone(), tree)).collect(),
        fragments: parts.fragments,
        all_products: product_names.collect(),
        all_machines: machine_names.collect(),
    })
}
