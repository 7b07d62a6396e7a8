//! Recipes and tool trees in, the exact bytes they stand for out: what `osbuild lock` writes down.
//!
//! Invariant: every digest of a lock comes from a signed index, from a recipe or from a Cargo.lock, and the
//! sources have been downloaded and compared with it.

pub mod cargo_lock;
mod error;
mod request;

#[cfg(test)]
pub(crate) mod tests;

pub use cargo_lock::CargoLockError;
pub use error::LockError;
pub use request::LockRequest;

use super::debian::archive::{Archive, Trust};
use super::debian::index::{Index, Package};
use super::debian::mirror::Mirrors;
use super::debian::resolve::{self, ResolveError};
use super::fetch::{Fetcher, Wanted, WantedCrate};
use crate::io::file;
use crate::io::store::Store;
use crate::model::fetch::{Fetch, FetchPlace};
use crate::model::lock::{Lock, LockedCrate, LockedPackage, TreeRequest};
use crate::model::recipe::{Recipe, Source};
use crate::model::tooltree::ToolTree;
use crate::model::{Digest, Located, Origin, RelPath};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// A lock and what the user should know about how it came about.
#[derive(Debug)]
pub struct LockUpdate {
    pub lock: Lock,
    pub notes: Vec<String>,
}

/// Resolves everything anew; what `old` says about sources by SHA-256 still holds and is kept.
pub fn update_lock(
    request: &LockRequest,
    store: &Store,
    fetcher: &Fetcher,
    old: Option<&Lock>,
    trust: &Trust,
) -> Result<LockUpdate, LockError> {
    let archive = load_archive(fetcher, &request.suites, trust)?;
    let index = archive.index().map_err(LockError::Index)?;
    let mut lock = Lock::default();
    for tree in request.trees() {
        lock.requests.insert(tree.name.clone(), tree.request());
        lock.tool_trees.insert(tree.name.clone(), lock_tree(&index, tree)?);
    }
    lock.source_sizes = source_sizes(request, store, fetcher, old)?;
    for (path, origin) in request.cargo_locks() {
        let (sha256, crates) = crates(request, path, origin, store, fetcher)?;
        lock.cargo_locks.insert(path.to_string(), sha256);
        lock.crates.insert(path.to_string(), crates);
    }
    Ok(LockUpdate { lock, notes: archive.notes.clone() })
}

/// From the first mirror whose signatures are right.
fn load_archive(fetcher: &Fetcher, suites: &[String], trust: &Trust) -> Result<Archive, LockError> {
    let Mirrors { likeliest, others } = fetcher.debian_mirrors()?;
    let load = |mirror| Archive::load(fetcher.http(), mirror, suites, trust);
    let failed = match load(likeliest) {
        Ok(archive) => return Ok(archive),
        Err(source) => LockError::Debian { mirror: likeliest.to_string(), source: Box::new(source) },
    };
    others.iter().find_map(|mirror| load(mirror).ok()).ok_or(failed)
}

/// The packages of one tree.
pub fn lock_tree(index: &Index, tree: &ToolTree) -> Result<Vec<LockedPackage>, LockError> {
    let failed = |source: ResolveError| {
        let is_it = |request: &&Located<String>| request.value.split('/').next() == source.asked_for();
        let origin = tree.packages.iter().find(is_it).map_or(&tree.origin, |request| &request.origin).clone();
        LockError::Resolve { tree: tree.name.clone(), origin, source }
    };
    let TreeRequest { packages, exclude } = tree.request();
    let packages = resolve::resolve(index, &packages, &exclude).map_err(failed)?;
    packages.into_iter().map(locked_package).collect()
}

fn locked_package(package: &Package) -> Result<LockedPackage, LockError> {
    let package = LockedPackage {
        name: package.name.to_owned(),
        version: package.version.to_owned(),
        pool_path: package.filename.to_owned(),
        digest: package.digest().ok_or_else(|| LockError::Package(package.name.to_owned()))?,
    };
    package.check()?;
    Ok(package)
}

/// Sizes of all sources that recipes name by SHA-256; those not known yet are downloaded.
fn source_sizes(
    request: &LockRequest,
    store: &Store,
    fetcher: &Fetcher,
    old: Option<&Lock>,
) -> Result<BTreeMap<String, u64>, LockError> {
    let sizes = request.archives().into_par_iter().map(|(recipe, source, sha256)| {
        let known = old.and_then(|old| old.source_sizes.get(sha256)).copied();
        let size_bytes = match known {
            Some(size_bytes) => size_bytes,
            None => fetch_source(recipe, source, sha256, store, fetcher)?,
        };
        Ok((sha256.to_owned(), size_bytes))
    });
    sizes.collect()
}

fn fetch_source(
    recipe: &Recipe,
    source: &Source,
    sha256: &str,
    store: &Store,
    fetcher: &Fetcher,
) -> Result<u64, LockError> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(sha256, &mut bytes).map_err(|_| LockError::Sha256(sha256.to_owned()))?;
    let fetch = Fetch {
        name: format!("{} {}", recipe.name, recipe.version),
        places: source.places.iter().filter_map(FetchPlace::of).collect(),
        origin: Some(source.origin.clone()),
    };
    let wanted = Wanted { sha256: bytes, size_bytes: None };
    let failed = |error| LockError::Fetch { origin: source.origin.clone(), source: Box::new(error) };
    Ok(fetcher.obtain(store, &wanted, &fetch, &|_| {}).map_err(failed)?.size_bytes)
}

/// The SHA-256 of the Cargo.lock at `path`, and the crates that it names.
fn crates(
    request: &LockRequest,
    path: &RelPath,
    origin: &Origin,
    store: &Store,
    fetcher: &Fetcher,
) -> Result<(String, Vec<LockedCrate>), LockError> {
    let text = file::read_text(&request.project.join(path))
        .map_err(|source| LockError::File { origin: origin.clone(), source })?;
    let wanted = cargo_lock::parse(&text).map_err(|source| {
        let (path, origin) = (path.clone(), origin.clone());
        LockError::CargoLock { path, origin, source }
    })?;
    let digests = fetcher
        .fetch_crates(store, &wanted)
        .map_err(|source| LockError::Fetch { origin: origin.clone(), source: Box::new(source) })?;
    let locked = wanted.into_iter().zip(digests);
    let locked = locked.map(|(WantedCrate { name, version, .. }, digest)| LockedCrate { name, version, digest });
    Ok((Digest::of(text.as_bytes()).hex(), locked.collect()))
}
