//! `osbuild cache stat|gc|verify`: how large the cache is, a smaller one, a sound one.
//!
//! Invariant: whatever is removed is made again when it is needed.

use super::project::Project;
use super::report::Failure;
use super::session;
use crate::io::store::Store;
use crate::model::Digest;
use std::collections::HashSet;
use std::time::Duration;

#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub enum CacheCommand {
    /// Show what the cache holds
    Stat,
    /// Remove results that were not used for a while, what only they need, and what tasks left that failed as long
    /// ago; the sources and tool packages of this project's `osbuild.lock` stay
    Gc {
        /// Keep what was used, fetched or left within this many days
        #[arg(long, default_value_t = 30, value_name = "DAYS")]
        keep_days: u64,
    },
    /// Read everything and remove what is damaged
    Verify,
}

pub fn cache(project: Project, command: CacheCommand) -> Result<(), Failure> {
    let store = project.store()?;
    match command {
        CacheCommand::Stat => stat(&store),
        CacheCommand::Gc { keep_days } => {
            let _alone = alone(&project, &store)?;
            let age = Duration::from_secs(keep_days.saturating_mul(24 * 60 * 60));
            let removed = store.sweep(age, &pinned(&project)?)?;
            let (results, failed) = (removed.actions, removed.failed);
            println!(
                "removed {results} results, {failed} failed sandboxes and {} files, {}",
                removed.blobs,
                size(removed.bytes)
            );
            Ok(())
        }
        CacheCommand::Verify => {
            let _alone = alone(&project, &store)?;
            let report = store.verify()?;
            for digest in &report.damaged {
                println!("damaged and removed: {digest}");
            }
            println!("{} files, {} read; {} damaged", report.blobs, size(report.bytes), report.damaged.len());
            match report.damaged.is_empty() {
                true => Ok(()),
                false => Err(Failure::new("the cache was damaged").help("what was removed is made again when needed")),
            }
        }
    }
}

/// What an offline build may have to start from.
fn pinned(project: &Project) -> Result<HashSet<Digest>, Failure> {
    match project.root.join(session::LOCK_FILE).exists() {
        true => Ok(session::read_lock(project)?.digests().collect()),
        false => Ok(HashSet::new()),
    }
}

fn alone(project: &Project, store: &Store) -> Result<crate::io::store::StoreLock, Failure> {
    let alone = store.try_lock_whole()?.ok_or_else(|| {
        let message = format!("another osbuild uses the cache at `{}`", project.cache.display());
        Failure::new(message).help("try again when it has finished")
    })?;
    session::recover(store)?;
    Ok(alone)
}

fn stat(store: &Store) -> Result<(), Failure> {
    let usage = store.usage()?;
    println!("{}", store.root().display());
    println!("{:>10} results", usage.actions);
    println!("{:>10} files, {}", usage.blobs, size(usage.bytes));
    println!("{:>10} trees checked out", usage.trees);
    println!("{:>10} failed sandboxes kept", usage.failed);
    Ok(())
}

/// `12.3 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}
