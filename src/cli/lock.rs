//! `osbuild lock`: resolves the tool packages and sources of every product, and writes `osbuild.lock`.
//!
//! Invariant: the old lock stays until the new one is whole.

use super::project::Project;
use super::report::Failure;
use super::session::{explain, fetcher, open_store, read_lock, LOCK_FILE};
use crate::config::{self, Config};
use crate::io::file;
use crate::model::lock::Lock;
use crate::tools::debian::archive::Trust;
use crate::tools::fetch::Fetcher;
use crate::tools::lock::{update_lock, LockError, LockRequest};

#[derive(Clone, Debug, clap::Args)]
pub struct LockArgs {
    /// Only say whether the lock is what a new one would be
    #[arg(long)]
    pub check: bool,
}

pub fn lock(project: Project, args: &LockArgs) -> Result<(), Failure> {
    let trust = Trust::of_debian()?;
    lock_from(&project, args, &fetcher(&project, false), &trust)
}

/// [`lock`] from where `fetcher` is told to, and from whom `trust` says.
fn lock_from(project: &Project, args: &LockArgs, fetcher: &Fetcher, trust: &Trust) -> Result<(), Failure> {
    let configs = config::load_all(&project.root)?;
    let (store, _in_use) = open_store(project)?;
    let path = project.root.join(LOCK_FILE);
    let old = if path.exists() { old_lock(project) } else { None };
    let update = request(project, &configs)
        .and_then(|request| update_lock(&request, &store, fetcher, old.as_ref(), trust))
        .map_err(|error| failure(project, error))?;
    update.notes.iter().for_each(|note| eprintln!("note: {note}"));
    let packages: usize = update.lock.tool_trees.values().map(Vec::len).sum();
    let summary = format!("{packages} tool packages, {} sources", update.lock.source_sizes.len());
    if old.as_ref() == Some(&update.lock) {
        println!("{LOCK_FILE} is up to date: {summary}");
    } else if args.check {
        return Err(Failure::new(format!("{LOCK_FILE} is not what a new one would be")).help("run `osbuild lock`"));
    } else {
        file::write_atomic(&path, config::lock::emit(&update.lock).as_bytes(), 0o644)?;
        println!("{LOCK_FILE} written: {summary}");
    }
    Ok(())
}

/// Points at the line that asked for what could not be had.
fn failure(project: &Project, error: LockError) -> Failure {
    let (origin, help) = (error.origin().cloned(), error.help());
    let failure = Failure::from(error);
    explain(project, origin.as_ref(), failure.message, help.or(failure.help))
}

/// A lock that cannot be read is no reason not to write a good one.
fn old_lock(project: &Project) -> Option<Lock> {
    let noted = |failure| eprintln!("note: the old {LOCK_FILE} cannot be read, and counts as none: {failure}");
    read_lock(project).map_err(noted).ok()
}

/// What any product needs.
fn request<'a>(project: &'a Project, configs: &'a [Config]) -> Result<LockRequest<'a>, LockError> {
    // Layers, and so the suites, are the project's, whatever the product.
    let suites = configs.first().map_or(&[][..], |config| &config.suites);
    let mut request = LockRequest::new(&project.root, suites);
    for config in configs {
        request.add(&config.product.name, &config.recipes, &config.tool_trees)?;
    }
    Ok(request)
}

#[cfg(test)]
mod tests;
