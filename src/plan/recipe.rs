//! One recipe in, its tasks out: `source`, `build`, `sysroot` and `packages`.
//!
//! Invariant: a recipe is planned once; dependents see only its outputs.

use super::builder::{mount, output, shell, step, PlanBuilder, RecipeTasks};
use super::class::{self, BuildScript};
use super::task::{Input, InputMount, OutputRef, TaskId};
use super::{source, steps, toolchain};
use crate::model::recipe::{BuildClass, FileMetadata, OutputPackage, Recipe, RunsOn};
use crate::model::{Origin, RecipeName, RelPath};
use serde_json::{json, Value};
use std::collections::BTreeMap;

/// Plans `name` and what it needs; none when a problem was reported.
///
/// Without recursion: the longest chain that layers can hold must not run out of stack.
pub(super) fn plan(builder: &mut PlanBuilder, name: &RecipeName) -> Option<RecipeTasks> {
    let config = builder.config;
    let mut waiting = vec![name];
    while let Some(next) = waiting.pop() {
        if builder.recipes.contains_key(next) {
            continue;
        }
        let Some(recipe) = config.recipes.get(next) else {
            builder.recipes.insert(next.clone(), None);
            continue;
        };
        let needed = recipe.build_depends.iter().chain(&recipe.tool_depends);
        let missing: Vec<&RecipeName> = needed.filter(|needed| !builder.recipes.contains_key(*needed)).collect();
        if missing.is_empty() {
            let tasks = tasks(builder, recipe);
            builder.recipes.insert(next.clone(), tasks);
        } else {
            waiting.push(next);
            waiting.extend(missing.into_iter().rev());
        }
    }
    builder.recipe(name)
}

/// The tasks of a recipe whose dependencies are planned.
fn tasks(builder: &mut PlanBuilder, recipe: &Recipe) -> Option<RecipeTasks> {
    for needed in recipe.build_depends.iter().chain(&recipe.tool_depends) {
        builder.recipe(needed)?;
    }
    let tools = toolchain::for_recipe(builder, recipe)?;
    let source = source::plan(builder, recipe);
    let installed = build(builder, recipe, &source, tools)?;
    let tasks = RecipeTasks {
        sysroot: sysroot(builder, recipe, &installed)?,
        packages: packages(builder, recipe, &installed),
        installed,
    };
    builder.goal(recipe.name.to_string(), tasks.installed.clone());
    Some(tasks)
}

fn build(builder: &mut PlanBuilder, recipe: &Recipe, source: &OutputRef, tools: Input) -> Option<OutputRef> {
    let mut inputs = vec![mount("src", Input::Output(source.clone()))];
    inputs.extend(patches(builder, recipe)?);
    inputs.extend(sysroots(builder, recipe, "sysroot")?);
    if let BuildClass::Kernel { kind, fragments, .. } = &recipe.class {
        let config = class::kernel::configure(builder, recipe, *kind, fragments, &inputs, &tools)?;
        inputs.push(mount("config", config));
        class::editing::offer(builder, recipe);
    }
    let machine = &builder.config.machine;
    let BuildScript { env, lines } = class::script(recipe, machine.architecture, machine.kernel_compression);
    let command = shell(tools, env, lines);
    let task = builder.task(format!("{}:build", recipe.name), &recipe.origin, command, inputs, &["out"]);
    Some(output(task, "out"))
}

/// The patch files, at `recipe/0000.patch` and on: in the order in which they apply.
fn patches(builder: &mut PlanBuilder, recipe: &Recipe) -> Option<Vec<InputMount>> {
    let mut mounts = Vec::new();
    for (index, path) in recipe.patches.iter().enumerate() {
        let Some(node) = source::local_node(builder, path) else {
            let message = format!("patch `{path}` of recipe `{}` does not exist", recipe.name);
            let help = "paths are relative to the project's root".to_owned();
            builder.problem(&recipe.origin, message, Some(help));
            return None;
        };
        mounts.push(mount(&format!("recipe/{index:04}.patch"), node));
    }
    Some(mounts)
}

/// The sysroots of the build dependencies, merged at `path`. Each has those of its own dependencies in it, so
/// that a long chain takes no more than a short one.
fn sysroots(builder: &PlanBuilder, recipe: &Recipe, path: &str) -> Option<Vec<InputMount>> {
    let needed = recipe.build_depends.iter().map(|needed| builder.recipe(needed));
    needed.map(|tasks| Some(mount(path, Input::Output(tasks?.sysroot)))).collect()
}

fn sysroot(builder: &mut PlanBuilder, recipe: &Recipe, installed: &OutputRef) -> Option<OutputRef> {
    let mut inputs = vec![mount("out", Input::Output(installed.clone()))];
    // Who builds on a host recipe sees that recipe's own libraries only.
    if recipe.runs_on == RunsOn::Device {
        inputs.extend(sysroots(builder, recipe, "below")?);
    }
    let command = step(steps::SYSROOT, &json!({}));
    let task = builder.task(format!("{}:sysroot", recipe.name), &recipe.origin, command, inputs, &["sysroot"]);
    Some(output(task, "sysroot"))
}

fn packages(builder: &mut PlanBuilder, recipe: &Recipe, installed: &OutputRef) -> TaskId {
    let definitions: Vec<Value> = recipe
        .packages
        .iter()
        .map(|package| {
            json!({ "name": package.name.as_str(), "files": package.files, "origin": package.origin.to_string() })
        })
        .collect();
    let inputs = vec![mount("out", Input::Output(installed.clone()))];
    let command = step(steps::PACKAGES, &json!({ "packages": definitions }));
    let outputs: Vec<&str> = recipe.packages.iter().map(|package| package.name.as_str()).collect();
    builder.task(format!("{}:packages", recipe.name), &recipe.origin, command, inputs, &outputs)
}

/// The output folder of one package.
pub(super) fn package_output(tasks: &RecipeTasks, package: &OutputPackage) -> OutputRef {
    output(tasks.packages, package.name.as_str())
}

/// Metadata as step parameters; values of attributes may be any bytes, so they are hex digits there.
pub(super) fn metadata_json(metadata: &[FileMetadata]) -> Vec<Value> {
    let xattrs = |item: &FileMetadata| -> BTreeMap<String, String> {
        item.xattrs.iter().map(|(name, value)| (name.clone(), hex::encode(value))).collect()
    };
    let one = |item: &FileMetadata| {
        json!({
            "path": item.path.as_str(), "user": item.user, "group": item.group, "mode": item.mode,
            "xattrs": xattrs(item), "origin": origin_json(&item.origin),
            "device": item.device.map(|d| json!({ "block": d.block, "major": d.major, "minor": d.minor })),
        })
    };
    metadata.iter().map(one).collect()
}

pub(super) fn origin_json(origin: &Origin) -> Value {
    json!(origin.to_string())
}

/// The path of a file inside a recipe's installed tree.
pub(super) fn installed_file(tasks: &RecipeTasks, below: &str) -> Input {
    let below = RelPath::new(below).expect("paths written in the plan are valid");
    Input::Output(OutputRef { below: Some(below), ..tasks.installed.clone() })
}
