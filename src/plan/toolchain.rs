//! Tool trees: what a recipe's class and target need in, one task per distinct combination out.
//!
//! Invariant: equal combinations share one task, so a tree is composed once.

use super::builder::{mount, output, step, PlanBuilder};
use super::steps;
use super::task::{Fetch, FetchPlace, Input, InputMount};
use crate::model::machine::Architecture;
use crate::model::recipe::{BuildClass, Recipe, RunsOn};
use crate::model::{Origin, RecipeName, ToolTreeName};
use serde_json::json;

/// The tree that `recipe`'s tasks run on: named trees, then host recipes laid over them.
pub(super) fn for_recipe(builder: &mut PlanBuilder, recipe: &Recipe) -> Option<Input> {
    let names = names(builder, recipe);
    combined(builder, &names, &recipe.tool_depends, &recipe.origin)
}

/// The same with `extra` laid over it; none when no layer has such a tree.
pub(super) fn for_recipe_with(builder: &mut PlanBuilder, recipe: &Recipe, extra: &str) -> Option<Input> {
    let extra = tree_name(extra);
    builder.config.tool_trees.contains_key(&extra).then_some(())?;
    let mut names = names(builder, recipe);
    names.push(extra);
    combined(builder, &names, &recipe.tool_depends, &recipe.origin)
}

fn names(builder: &PlanBuilder, recipe: &Recipe) -> Vec<ToolTreeName> {
    let mut names = match recipe.tools.is_empty() {
        true => class_trees(&recipe.class),
        false => recipe.tools.clone(),
    };
    // A recipe that names its trees builds for every machine, and cannot know the cross compiler of each.
    if let Some(cross) = cross_tree(recipe.runs_on, builder.config.machine.architecture) {
        if !names.contains(&cross) {
            names.push(cross);
        }
    }
    names
}

fn tree_name(name: &str) -> ToolTreeName {
    ToolTreeName::new(name).expect("tree names written in the plan are valid")
}

/// What a class needs whatever it builds for.
fn class_trees(class: &BuildClass) -> Vec<ToolTreeName> {
    let own = match class {
        BuildClass::Cmake { .. } => Some("cmake"),
        BuildClass::Meson { .. } => Some("meson"),
        BuildClass::Cargo { .. } => Some("rust"),
        BuildClass::Kernel { .. } => Some("kernel"),
        _ => None,
    };
    [Some("c"), own].into_iter().flatten().map(tree_name).collect()
}

/// `c-ARCHITECTURE`, for a device that is not what the tools run on.
fn cross_tree(runs_on: RunsOn, architecture: Architecture) -> Option<ToolTreeName> {
    let crosses = runs_on == RunsOn::Device && architecture != Architecture::X86_64;
    crosses.then(|| tree_name(&format!("c-{}", architecture.gnu_cpu())))
}

/// The merge of `trees` and of the installed files of `host_recipes`.
pub(super) fn combined(
    builder: &mut PlanBuilder,
    trees: &[ToolTreeName],
    host_recipes: &[RecipeName],
    origin: &Origin,
) -> Option<Input> {
    let names = trees.iter().map(ToolTreeName::as_str).chain(host_recipes.iter().map(RecipeName::as_str));
    let key = names.collect::<Vec<_>>().join("+");
    if let Some(input) = builder.tool_trees.get(&key) {
        return Some(input.clone());
    }
    let mut layers = Vec::new();
    for name in trees {
        layers.push(tree(builder, name, origin)?);
    }
    for name in host_recipes {
        layers.push(Input::Output(super::recipe::plan(builder, name)?.installed));
    }
    let input = match layers.len() {
        1 => layers.remove(0),
        _ => merged(builder, &key, layers, origin),
    };
    builder.tool_trees.insert(key, input.clone());
    Some(input)
}

fn merged(builder: &mut PlanBuilder, key: &str, layers: Vec<Input>, origin: &Origin) -> Input {
    let inputs: Vec<InputMount> =
        layers.into_iter().enumerate().map(|(index, layer)| mount(&format!("layers/{index:03}"), layer)).collect();
    let command = step(steps::MERGE, &json!({}));
    let task = builder.task(format!("tools:{key}"), origin, command, inputs, &["tree"]);
    Input::Output(output(task, "tree"))
}

/// The task that composes one tree from its locked Debian packages.
fn tree(builder: &mut PlanBuilder, name: &ToolTreeName, origin: &Origin) -> Option<Input> {
    if let Some(input) = builder.tool_trees.get(name.as_str()) {
        return Some(input.clone());
    }
    let Some(tree) = builder.config.tool_trees.get(name) else {
        builder.problem(
            origin,
            format!("there is no tool tree `{name}`"),
            Some(format!("add `layers/LAYER/tools/{name}.yaml`")),
        );
        return None;
    };
    let Some(packages) = builder.lock.tool_trees.get(name) else {
        let message = format!("tool tree `{name}` is not in osbuild.lock");
        builder.problem(&tree.origin, message, Some("run `osbuild lock`".to_owned()));
        return None;
    };
    if builder.lock.requests.get(name) != Some(&tree.request()) {
        let message = format!("tool tree `{name}` does not ask for what it did when osbuild.lock was made");
        builder.problem(&tree.origin, message, Some("run `osbuild lock`".to_owned()));
        return None;
    }
    let mut inputs = Vec::new();
    let mut debs = Vec::new();
    for package in packages {
        let at = format!("debs/{}_{}.deb", package.name, package.version.replace(['/', ':'], "-"));
        let places = vec![FetchPlace::Debian(package.pool_path.clone())];
        let fetch =
            Fetch { name: format!("{} {}", package.name, package.version), places, origin: Some(tree.origin.clone()) };
        inputs.push(mount(&at, builder.fetched(package.digest, fetch)));
        debs.push(at);
    }
    let links: std::collections::BTreeMap<&str, &str> =
        tree.links.iter().map(|(path, target)| (path.as_str(), target.as_str())).collect();
    let command = step(steps::TOOL_TREE, &json!({ "debs": debs, "links": links }));
    let task = builder.task(format!("tools:{name}"), &tree.origin, command, inputs, &["tree"]);
    let input = Input::Output(output(task, "tree"));
    builder.tool_trees.insert(name.to_string(), input.clone());
    Some(input)
}
