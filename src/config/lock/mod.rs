//! `osbuild.lock`: YAML in, a [`Lock`] out, and back, one line per package so that diffs are readable.
//!
//! Invariant: `parse` gives back the lock that `emit` wrote; what it gives has passed the model's checks.

mod emit;
mod file;

pub use emit::emit;

use super::diagnostic::{Diagnostic, Diagnostics, Sources};
use super::record::{Decode, Problems};
use super::yaml::{self, Limits};
use crate::model::lock::{InvalidLocked, Lock, LockedCrate, LockedPackage, TreeRequest};
use crate::model::{Digest, Origin, ToolTreeName};
use file::{CrateLine, LockFile, PackageLine, RequestLine};
use std::sync::Arc;

/// Reads a lock. `file` is its project path, for messages.
pub fn parse(text: &str, file: &str) -> Result<Lock, Diagnostics> {
    let file: Arc<str> = file.into();
    read(text, &file).map_err(|problems| {
        let rescue = |problem: Diagnostic| match problem.help {
            None => problem.help("`osbuild lock` writes this file anew"),
            Some(_) => problem,
        };
        let problems = problems.into_iter().map(rescue).collect();
        Diagnostics::new(problems, &Sources::from([(file.clone(), text.into())]))
    })
}

fn read(text: &str, file: &Arc<str>) -> Result<Lock, Vec<Diagnostic>> {
    let tree = yaml::parse(text, file, Limits::LOCK)?;
    let mut problems = Problems::default();
    let lines = LockFile::decode(&tree, &mut problems);
    let lock = lines.and_then(|lines| lock(lines, &mut problems));
    match lock {
        Some(lock) if problems.list.is_empty() => Ok(lock),
        _ => Err(problems.list),
    }
}

fn lock(lines: LockFile, problems: &mut Problems) -> Option<Lock> {
    if lines.schema != 1 {
        let message = format!("this lock has schema {}, and this osbuild reads schema 1", lines.schema);
        problems.add(Diagnostic::at(&lines.origin, message));
        return None;
    }
    let mut lock = Lock::default();
    for (name, RequestLine { packages, exclude, origin }) in lines.requests {
        if let Some(name) = tree_name(&name, &origin, problems) {
            lock.requests.insert(name, TreeRequest { packages, exclude });
        }
    }
    for (name, lines_of_tree) in lines.tools {
        let packages = lines_of_tree.into_iter().filter_map(|line| package(line, problems)).collect();
        if let Some(name) = tree_name(&name, &lines.origin, problems) {
            lock.tool_trees.insert(name, packages);
        }
    }
    for (sha256, size_bytes) in lines.sources {
        if digest(&sha256, size_bytes, &lines.origin, problems).is_some() {
            lock.source_sizes.insert(sha256, size_bytes);
        }
    }
    for (path, sha256) in lines.cargo_locks {
        if digest(&sha256, 0, &lines.origin, problems).is_some() {
            lock.cargo_locks.insert(path, sha256);
        }
    }
    for (path, crates) in lines.crates {
        lock.crates.insert(path, crates.into_iter().filter_map(|line| krate(line, problems)).collect());
    }
    Some(lock)
}

fn tree_name(text: &str, origin: &Origin, problems: &mut Problems) -> Option<ToolTreeName> {
    ToolTreeName::new(text).map_err(|error| problems.add(Diagnostic::at(origin, error.to_string()))).ok()
}

fn package(line: PackageLine, problems: &mut Problems) -> Option<LockedPackage> {
    let digest = digest(&line.sha256, line.size, &line.origin, problems)?;
    let package = LockedPackage { name: line.name, version: line.version, pool_path: line.file, digest };
    checked(package.check(), &line.origin, problems).then_some(package)
}

fn krate(line: CrateLine, problems: &mut Problems) -> Option<LockedCrate> {
    let digest = digest(&line.sha256, line.size, &line.origin, problems)?;
    let locked = LockedCrate { name: line.name, version: line.version, digest };
    checked(locked.check(), &line.origin, problems).then_some(locked)
}

/// Files are named after what a lock says, so nothing in it may lead elsewhere.
fn checked(result: Result<(), InvalidLocked>, origin: &Origin, problems: &mut Problems) -> bool {
    result.map_err(|error| problems.add(Diagnostic::at(origin, error.to_string()))).is_ok()
}

fn digest(hex: &str, size_bytes: u64, origin: &Origin, problems: &mut Problems) -> Option<Digest> {
    match Digest::from_hex(hex, size_bytes) {
        Ok(digest) => Some(digest),
        Err(_) => {
            let message = format!("`{hex}` is not a SHA-256: expected 64 lower-case hex digits");
            problems.add(Diagnostic::at(origin, message));
            None
        }
    }
}

#[cfg(test)]
mod tests;
