//! Owners, modes, xattrs and device nodes in, applied to the paths of a root.
//!
//! Invariant: metadata names a path that exists and that its author brought; the product may name any. A skeleton
//! replaces what a file says, not whose it is and who may read it.

use super::accounts::Accounts;
use super::agreement;
use super::compose::{placed_file, Composer};
use super::parameters::{Metadata, Parameters};
use super::problem::{did_you_mean, TreeError};
use super::root::{Content, Owner};
use crate::model::RelPath;

const LIMIT_MODE: u32 = 0o7777;
const SET_ID: u32 = 0o6000;
const WORLD_WRITABLE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Applies that of every package, then the product's own.
pub fn apply_all(composer: &mut Composer, parameters: &Parameters, accounts: &Accounts) -> Result<(), TreeError> {
    agreement::check(parameters, &mut composer.problems)?;
    for package in &parameters.packages {
        for metadata in &package.metadata {
            apply(composer, metadata, Some(&package.name), accounts)?;
        }
    }
    for metadata in &parameters.metadata {
        apply(composer, metadata, None, accounts)?;
    }
    Ok(())
}

fn apply(
    composer: &mut Composer,
    metadata: &Metadata,
    package: Option<&str>,
    accounts: &Accounts,
) -> Result<(), TreeError> {
    let path = RelPath::new(&metadata.path)?;
    let label = label(metadata, &path, package);
    if let Some(device) = metadata.device {
        let owner = package.map_or(Owner::Generated, |name| Owner::Package(name.to_owned()));
        composer.add(&path, Content::Device(device), owner);
    }
    let Some(path) = placed_file(&path) else { return Ok(()) };
    let uid = metadata.user.as_ref().and_then(|name| accounts.user(name, &label, &mut composer.problems));
    let gid = metadata.group.as_ref().and_then(|name| accounts.group(name, &label, &mut composer.problems));
    let Some(item) = composer.root.items.get_mut(&path) else {
        let absolute = format!("/{path}");
        let known: Vec<String> = composer.root.items.keys().map(|known| format!("/{known}")).collect();
        let hint = did_you_mean(&absolute, known.iter().map(String::as_str));
        composer.problems.add_with_hint(format!("{label}: there is no such path in the image"), hint);
        return Ok(());
    };
    let is_foreign = package.is_some_and(|name| !item.packages.contains(name));
    if is_foreign && !matches!(item.content, Content::Folder) {
        let message = format!("{label}: the path belongs to {}", item.owner);
        composer.problems.add_with_help(message, "set it there, or in the product, which overrides packages");
        return Ok(());
    }
    item.uid = uid.unwrap_or(item.uid);
    item.gid = gid.unwrap_or(item.gid);
    item.mode = metadata.mode.unwrap_or(item.mode);
    item.xattrs.extend(metadata.xattrs.iter().map(|(name, value)| (name.clone(), value.0.clone())));
    if let Some(reason) = mode_problem(&item.content, item.mode) {
        composer.problems.add(format!("{label}: mode {:04o} {reason}", item.mode));
    }
    Ok(())
}

/// `metadata of PATH`, with its author and place.
pub fn label(metadata: &Metadata, path: &RelPath, package: Option<&str>) -> String {
    let author = package.map_or_else(|| "the product".to_owned(), |name| format!("package `{name}`"));
    format!("metadata of `/{path}` ({author}, {})", metadata.origin)
}

fn mode_problem(content: &Content, mode: u32) -> Option<&'static str> {
    let is_program = matches!(content, Content::File { executable: true, .. });
    match content {
        _ if mode > LIMIT_MODE => Some("has bits that no mode has"),
        Content::Symlink { .. } => Some("has no effect on a symlink"),
        Content::File { .. } if mode & WORLD_WRITABLE != 0 => Some("lets every user write the file"),
        Content::Folder if mode & WORLD_WRITABLE != 0 && mode & STICKY == 0 => {
            Some("lets every user replace what is in the folder; add the sticky bit: 1777")
        }
        Content::File { .. } if mode & SET_ID != 0 && !is_program => Some("sets an id on a file that is not a program"),
        _ => None,
    }
}
