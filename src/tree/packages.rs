//! The step `packages`: an installed tree and package definitions in, one folder per package out.
//!
//! Invariants: each file and symlink goes to the first package that claims it, and to that one only; a file
//! that nobody claims and a pattern that matches nothing are errors. An empty folder follows a claim too, and
//! is left out when there is none, for it holds nothing.

use super::glob::Glob;
use super::problem::{Problems, TreeError};
use crate::io::store::{Entry, Node, Store, TreeBuilder};
use crate::model::{Digest, RelPath};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Unclaimed paths that a message lists.
const LISTED: usize = 10;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// In the order in which they claim.
    pub packages: Vec<Definition>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    pub name: String,
    /// Patterns as in [`Glob`].
    pub files: Vec<String>,
    /// Where it was defined, for messages.
    pub origin: String,
}

struct Claim<'a> {
    definition: &'a Definition,
    /// Each with whether anything matched it, claimed before or not.
    globs: Vec<(Glob, bool)>,
    tree: TreeBuilder,
}

/// Splits the tree at `out` of the input root; the outputs are named like the packages.
pub fn step(store: &Store, inputs: &Digest, parameters: &str) -> Result<BTreeMap<RelPath, Node>, TreeError> {
    let parameters: Parameters = serde_json::from_str(parameters).map_err(TreeError::Parameters)?;
    let installed = match store.lookup(inputs, &RelPath::new("out")?)? {
        Some(Node::Folder(digest)) => digest,
        _ => return Err(TreeError::MissingInput("out".to_owned())),
    };
    let mut outputs = BTreeMap::new();
    for (name, tree) in split(store, &installed, &parameters)? {
        outputs.insert(RelPath::new(&name)?, Node::Folder(tree));
    }
    Ok(outputs)
}

/// The tree of each package.
pub fn split(
    store: &Store,
    installed: &Digest,
    parameters: &Parameters,
) -> Result<BTreeMap<String, Digest>, TreeError> {
    let mut problems = Problems::default();
    let mut claims = claims(parameters, &mut problems);
    let entries = store.walk(installed)?;
    let mut unclaimed = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let is_empty_folder = is_folder(entry) && !entries.get(index + 1).is_some_and(|next| is_below(next, entry));
        if is_folder(entry) && !is_empty_folder {
            continue;
        }
        if !claim(&mut claims, entry)? && !is_empty_folder {
            unclaimed.push(entry.path.as_str());
        }
    }
    report(&claims, &unclaimed, &mut problems);
    problems.into_result()?;
    claims.into_iter().map(|c| Ok((c.definition.name.clone(), c.tree.finish(store)?))).collect()
}

fn is_folder(entry: &Entry) -> bool {
    matches!(entry.node, Node::Folder(_))
}

fn is_below(entry: &Entry, folder: &Entry) -> bool {
    entry.path.parent().is_some_and(|parent| parent == folder.path)
}

fn claims<'a>(parameters: &'a Parameters, problems: &mut Problems) -> Vec<Claim<'a>> {
    let mut claims = Vec::new();
    for definition in &parameters.packages {
        let mut globs = Vec::new();
        for pattern in &definition.files {
            match Glob::new(pattern) {
                Ok(glob) => globs.push((glob, false)),
                Err(error) => problems.add(format!("package `{}` ({}): {error}", definition.name, definition.origin)),
            }
        }
        claims.push(Claim { definition, globs, tree: TreeBuilder::new() });
    }
    claims
}

/// Gives `entry` to the first package that claims it.
fn claim(claims: &mut [Claim], entry: &Entry) -> Result<bool, TreeError> {
    let mut claimed = false;
    for claim in claims {
        let mut matched = false;
        for (glob, used) in &mut claim.globs {
            if glob.matches(&entry.path) {
                *used = true;
                matched = true;
            }
        }
        if matched && !claimed {
            claimed = true;
            match &entry.node {
                Node::Folder(_) => claim.tree.insert_folder(&entry.path)?,
                node => claim.tree.insert(&entry.path, node.clone())?,
            }
        }
    }
    Ok(claimed)
}

fn report(claims: &[Claim], unclaimed: &[&str], problems: &mut Problems) {
    for claim in claims {
        let Definition { name, files, origin } = claim.definition;
        // Invalid patterns have been reported and are not among the globs.
        if claim.globs.len() != files.len() {
            continue;
        }
        for ((_, used), pattern) in claim.globs.iter().zip(files) {
            if !used {
                let message =
                    format!("package `{name}` ({origin}) claims `{pattern}`, which matches nothing installed");
                problems.add_with_help(message, "a folder's content is claimed by `/the/folder/**`");
            }
        }
    }
    if !unclaimed.is_empty() {
        let shown: Vec<String> = unclaimed.iter().take(LISTED).map(|path| format!("`/{path}`")).collect();
        let more = unclaimed.len().saturating_sub(LISTED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let message = format!("no package claims {}{more}", shown.join(", "));
        problems.add_with_help(message, "add a last package with `files: [\"/**\"]`, or remove them in `finish`");
    }
}
