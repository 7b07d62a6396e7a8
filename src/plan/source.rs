//! A recipe's sources: archives, project files and crates in, one task that leaves the source tree.
//!
//! Invariant: every byte that comes from outside is named by a digest from the recipe and the lock.

use super::builder::{mount, output, step, PlanBuilder};
use super::set_id;
use super::steps;
use super::task::{Fetch, FetchPlace, Input, InputMount, OutputRef};
use crate::io::store::Node;
use crate::model::recipe::{Place, Recipe, Source, Unpack};
use crate::model::{Digest, RelPath};
use serde_json::{json, Value};

/// Adds `RECIPE:source`; its output `source` is the source tree.
pub(super) fn plan(builder: &mut PlanBuilder, recipe: &Recipe) -> OutputRef {
    let mut inputs = Vec::new();
    let mut parts = Vec::new();
    for (index, source) in recipe.sources.iter().enumerate() {
        if let Some(part) = part(builder, recipe, source, &format!("inputs/{index}"), &mut inputs) {
            parts.push(part);
        }
    }
    let command = step(steps::SOURCE, &json!({ "parts": parts }));
    // The line to blame, when there is only one.
    let origin = if let [only] = recipe.sources.as_slice() { &only.origin } else { &recipe.origin };
    let task = builder.task(format!("{}:source", recipe.name), origin, command, inputs, &["source"]);
    output(task, "source")
}

fn part(
    builder: &mut PlanBuilder,
    recipe: &Recipe,
    source: &Source,
    at: &str,
    inputs: &mut Vec<InputMount>,
) -> Option<Value> {
    let into = source.into.as_ref().map(RelPath::as_str);
    match source.places.first() {
        Some(Place::File(path)) => {
            set_id::check_source(builder, recipe, source, path);
            inputs.push(mount(at, local_input(builder, recipe, source, path)?));
            Some(json!({ "kind": "tree", "input": at, "name": path.file_name(), "into": into }))
        }
        Some(Place::Crates { lock }) => {
            let crates = crates(builder, recipe, source, lock, at, inputs)?;
            Some(json!({ "kind": "crates", "crates": crates, "into": into }))
        }
        _ => {
            inputs.push(mount(at, archive(builder, recipe, source)?));
            Some(match &source.unpack {
                Unpack::No { file_name } => json!({ "kind": "file", "input": at, "name": file_name, "into": into }),
                Unpack::Archive { strip, inner } => {
                    let mut part = json!({
                        "kind": "archive", "input": at, "strip": strip,
                        "inner": inner.as_ref().map(RelPath::as_str), "into": into,
                    });
                    if let Some(installs) = set_id::installs(builder, recipe) {
                        part["installs"] = installs;
                    }
                    part
                }
            })
        }
    }
}

fn local_input(builder: &mut PlanBuilder, recipe: &Recipe, source: &Source, path: &RelPath) -> Option<Input> {
    let input = local_node(builder, path);
    if input.is_none() {
        let message = format!("source `{path}` of recipe `{}` does not exist", recipe.name);
        builder.problem(&source.origin, message, Some("paths are relative to the project's root".to_owned()));
    }
    input
}

/// A file or folder of the project as an input.
pub(super) fn local_node(builder: &PlanBuilder, path: &RelPath) -> Option<Input> {
    match builder.local.nodes.get(path)? {
        Node::File { digest, executable } => Some(Input::File { digest: *digest, executable: *executable }),
        Node::Folder(digest) => Some(Input::Tree(*digest)),
        Node::Symlink { .. } => None,
    }
}

fn archive(builder: &mut PlanBuilder, recipe: &Recipe, source: &Source) -> Option<Input> {
    let Some(sha256) = &source.sha256 else {
        let message = format!("a source of recipe `{}` has no sha256", recipe.name);
        builder.problem(&source.origin, message, Some("add `sha256:` with the digest of the file".to_owned()));
        return None;
    };
    let size = builder.lock.source_sizes.get(sha256).copied();
    let digest = size.and_then(|size| Digest::from_hex(sha256, size).ok());
    let Some(digest) = digest else {
        let message = format!("source {sha256} of recipe `{}` is not in osbuild.lock", recipe.name);
        builder.problem(&source.origin, message, Some("run `osbuild lock`".to_owned()));
        return None;
    };
    let places = source.places.iter().filter_map(FetchPlace::of).collect();
    let name = format!("{} {}", recipe.name, recipe.version);
    Some(builder.fetched(digest, Fetch { name, places, origin: Some(source.origin.clone()) }))
}

fn crates(
    builder: &mut PlanBuilder,
    recipe: &Recipe,
    source: &Source,
    lock: &RelPath,
    at: &str,
    inputs: &mut Vec<InputMount>,
) -> Option<Vec<Value>> {
    let Some(locked) = builder.lock.crates.get(lock.as_str()) else {
        let message = format!("the crates of `{lock}` are not in osbuild.lock");
        builder.problem(&source.origin, message, Some("run `osbuild lock`".to_owned()));
        return None;
    };
    let Input::File { digest, .. } = local_input(builder, recipe, source, lock)? else {
        builder.problem(&source.origin, format!("`{lock}` is not a file"), None);
        return None;
    };
    if builder.lock.cargo_locks.get(lock.as_str()) != Some(&digest.hex()) {
        let message = format!("`{lock}` has changed since osbuild.lock was made");
        builder.problem(&source.origin, message, Some("run `osbuild lock`".to_owned()));
        return None;
    }
    let mut crates = Vec::new();
    for krate in locked {
        let (name, version) = (krate.name.clone(), krate.version.clone());
        let input = format!("{at}/{name}-{version}.crate");
        let places = vec![FetchPlace::Crate { name: name.clone(), version: version.clone() }];
        let fetch = Fetch { name: format!("crate {name} {version}"), places, origin: Some(source.origin.clone()) };
        inputs.push(mount(&input, builder.fetched(krate.digest, fetch)));
        crates.push(json!({ "name": name, "version": version, "input": input }));
    }
    Some(crates)
}
