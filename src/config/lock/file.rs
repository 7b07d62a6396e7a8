//! The lines of `osbuild.lock` as they are written.
//!
//! Invariant: these types never leave the reader; what leaves is the model's [`crate::model::lock::Lock`].

use crate::config::record::record;
use std::collections::BTreeMap;

record! {
    /// The exact bytes of every source and tool package. `osbuild lock` writes it; keep it in version control.
    pub struct LockFile as "lock" {
        /// Version of this format: 1.
        "schema" schema: u32,
        /// What each tool tree asked for when its packages were resolved.
        "requests" requests: BTreeMap<String, RequestLine>,
        /// The Debian packages of each tool tree.
        "tools" tools: BTreeMap<String, Vec<PackageLine>>,
        /// Size in bytes of each source, by its SHA-256.
        "sources" sources: BTreeMap<String, u64>,
        /// SHA-256 of each `Cargo.lock` when its crates were written down, by its path.
        "cargo-locks" cargo_locks: BTreeMap<String, String>,
        /// The crates behind each `Cargo.lock`, by its path.
        "crates" crates: BTreeMap<String, Vec<CrateLine>>,
    }
}

record! {
    /// What the packages of a tool tree follow from.
    pub struct RequestLine as "request" {
        /// Packages it asks for.
        "packages" packages: Vec<String>,
        /// Dependencies that are not followed.
        "exclude" exclude: Vec<String>,
    }
}

record! {
    /// A Debian package.
    pub struct PackageLine as "locked package" {
        /// Its name in the archive.
        "name" name: String,
        /// Its version in the archive.
        "version" version: String,
        /// Path below the archive's root.
        "file" file: String,
        /// Size in bytes.
        "size" size: u64,
        /// SHA-256, 64 lower-case hex digits.
        "sha256" sha256: String,
    }
}

record! {
    /// A crate.
    pub struct CrateLine as "locked crate" {
        /// Its name in the registry.
        "name" name: String,
        /// Its version.
        "version" version: String,
        /// Size of the `.crate` file in bytes.
        "size" size: u64,
        /// SHA-256 of the `.crate` file, 64 lower-case hex digits.
        "sha256" sha256: String,
    }
}
