//! `.crate` files of the registry in cargo's own cache in, blobs in the store out.
//!
//! The host's cargo downloads them, so the user's registries, mirrors, proxies and credentials apply. It is
//! given a package that depends on each crate at its exact version without features, and a Cargo.lock that has
//! them already, as cargo takes a version that was yanked only from there.
//! Invariant: a crate's SHA-256 is that of the lock, whatever registry it came from.

use super::{from_file, Attempt, Failure, FetchError, Fetcher, Reason, Wanted};
use crate::io::store::{Store, StoreError};
use crate::io::{command, file};
use crate::model::Digest;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::PoisonError;

/// A crate of the registry and its pin.
#[derive(Clone, Debug)]
pub struct WantedCrate {
    pub name: String,
    pub version: String,
    pub wanted: Wanted,
}

impl Fetcher {
    /// Makes sure that all of `crates` are in the store, with at most one run of cargo; digests in the same order.
    pub fn fetch_crates(&self, store: &Store, crates: &[WantedCrate]) -> Result<Vec<Digest>, FetchError> {
        let mut found = self.present(store, crates)?;
        let missing: Vec<&WantedCrate> =
            crates.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(wanted, _)| wanted).collect();
        let failure = match missing.is_empty() {
            true => None,
            false => self.run_cargo(store, &missing)?.err(),
        };
        if !missing.is_empty() {
            found = self.present(store, crates)?;
        }
        let mut failure = failure;
        crates
            .iter()
            .zip(found)
            .map(|(wanted, found)| found.ok_or_else(|| self.unavailable(wanted, failure.take())))
            .collect()
    }

    pub(super) fn via_cargo(&self, store: &Store, wanted: &WantedCrate) -> Result<Digest, Failure> {
        match self.fetch_crates(store, std::slice::from_ref(wanted)) {
            Ok(mut digests) => Ok(digests.remove(0)),
            Err(FetchError::Store(error)) => Err(Failure::Store(error)),
            Err(FetchError::Unavailable { mut attempts, .. }) => Err(attempts.remove(0).reason.into()),
        }
    }

    /// Runs `cargo fetch` for `crates`. The outer error is the cache's, the inner one cargo's.
    fn run_cargo(&self, store: &Store, crates: &[&WantedCrate]) -> Result<Result<(), Reason>, StoreError> {
        if self.options.offline {
            return Ok(Err(Reason::Offline));
        }
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+".contains(&b));
        if let Some(odd) = crates.iter().find(|wanted| !plain(&wanted.name) || !plain(&wanted.version)) {
            return Ok(Err(Reason::Other(format!("`{} {}` is not the name of a crate", odd.name, odd.version))));
        }
        let _one_at_a_time = self.cargo.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = store.temporary_folder()?;
        let manifest = folder.path().join("Cargo.toml");
        file::write_atomic(&manifest, manifest_of(crates).as_bytes(), 0o644)?;
        file::write_atomic(&folder.path().join("Cargo.lock"), lock_of(crates).as_bytes(), 0o644)?;
        file::write_atomic(&folder.path().join("lib.rs"), b"", 0o644)?;
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = Command::new(cargo);
        command.args(["fetch", "--quiet", "--manifest-path"]).arg(&manifest).current_dir(&self.options.project);
        if let Some(home) = &self.options.cargo_home {
            command.env("CARGO_HOME", home);
        }
        Ok(command::run(&mut command).map(|_| ()).map_err(Reason::Command))
    }

    fn unavailable(&self, wanted: &WantedCrate, reason: Option<Reason>) -> FetchError {
        let reason = reason.unwrap_or_else(|| {
            let folder = self.cargo_home().map_or("its cache".to_owned(), |home| format!("`{}`", home.display()));
            Reason::Other(format!("cargo left no file of that name and SHA-256 in {folder}"))
        });
        FetchError::Unavailable {
            name: format!("crate {} {}", wanted.name, wanted.version),
            wanted: wanted.wanted,
            attempts: vec![Attempt { place: "cargo".to_owned(), reason, is_debian: false }],
        }
    }

    /// For each crate its digest, when the store or cargo's cache has it.
    fn present(&self, store: &Store, crates: &[WantedCrate]) -> Result<Vec<Option<Digest>>, StoreError> {
        let folders = self.registry_caches();
        crates.iter().map(|wanted| find(store, &folders, wanted)).collect()
    }

    fn cargo_home(&self) -> Option<PathBuf> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let from_host = || set("CARGO_HOME").or_else(|| set("HOME").map(|home| home.join(".cargo")));
        self.options.cargo_home.clone().or_else(from_host)
    }

    /// One folder for each registry that cargo has used.
    fn registry_caches(&self) -> Vec<PathBuf> {
        let Some(listing) = self.cargo_home().and_then(|home| std::fs::read_dir(home.join("registry/cache")).ok())
        else {
            return Vec::new();
        };
        let mut folders: Vec<PathBuf> =
            listing.flatten().map(|entry| entry.path()).filter(|path| Path::is_dir(path)).collect();
        folders.sort();
        folders
    }
}

fn find(store: &Store, folders: &[PathBuf], wanted: &WantedCrate) -> Result<Option<Digest>, StoreError> {
    if let Some(digest) = super::cached(store, &wanted.wanted) {
        return Ok(Some(digest));
    }
    for folder in folders {
        let path = folder.join(format!("{}-{}.crate", wanted.name, wanted.version));
        match from_file(store, &wanted.wanted, &path, &|_| {}) {
            Ok(digest) => return Ok(Some(digest)),
            Err(Failure::Store(error)) => return Err(error),
            // Absent there, or another registry's crate of the same name.
            Err(Failure::Place(_)) => {}
        }
    }
    Ok(None)
}

/// How cargo names its default registry in a lock, whatever the user has put in its place.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Dependencies are left out: cargo adds them, and keeps what is there.
fn lock_of(crates: &[&WantedCrate]) -> String {
    let mut text = "version = 3\n\n[[package]]\nname = \"osbuild-fetch\"\nversion = \"0.0.0\"\n".to_owned();
    for WantedCrate { name, version, wanted } in crates {
        let checksum = hex::encode(wanted.sha256);
        let entry = format!(
            "\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"{REGISTRY}\"\n\
             checksum = \"{checksum}\"\n"
        );
        text.push_str(&entry);
    }
    text
}

/// Names and versions have been checked to hold nothing that TOML would have to escape.
fn manifest_of(crates: &[&WantedCrate]) -> String {
    let mut text = "[package]\nname = \"osbuild-fetch\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[workspace]\n\n\
        [lib]\npath = \"lib.rs\"\n\n[dependencies]\n"
        .to_owned();
    for (index, WantedCrate { name, version, .. }) in crates.iter().enumerate() {
        let entry =
            format!("c{index} = {{ package = \"{name}\", version = \"={version}\", default-features = false }}\n");
        text.push_str(&entry);
    }
    text
}
