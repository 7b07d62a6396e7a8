//! A lock in, its text out.
//!
//! Invariant: canonical: equal locks give equal bytes.

use crate::config::yaml::scalar;
use crate::model::lock::{Lock, LockedCrate, LockedPackage, TreeRequest};
use std::fmt::Write;

/// The text of `lock`.
pub fn emit(lock: &Lock) -> String {
    let mut text = String::from("# Written by `osbuild lock`; keep it in version control.\nschema: 1\n");
    // Writing to a string cannot fail.
    if !lock.requests.is_empty() {
        text.push_str("requests:\n");
    }
    for (name, TreeRequest { packages, exclude }) in &lock.requests {
        let (name, packages, exclude) = (scalar(name.as_str()), list(packages), list(exclude));
        let _ = writeln!(text, "  {name}: {{packages: {packages}, exclude: {exclude}}}");
    }
    if !lock.tool_trees.is_empty() {
        text.push_str("tools:\n");
    }
    for (name, packages) in &lock.tool_trees {
        let _ = writeln!(text, "  {}:{}", scalar(name.as_str()), if packages.is_empty() { " []" } else { "" });
        for package in packages {
            let LockedPackage { name, version, pool_path, digest } = package;
            let (name, version, file) = (scalar(name), quoted(version), scalar(pool_path));
            let _ = writeln!(
                text,
                "    - {{name: {name}, version: {version}, file: {file}, size: {}, sha256: \"{}\"}}",
                digest.size_bytes,
                digest.hex()
            );
        }
    }
    if !lock.source_sizes.is_empty() {
        text.push_str("sources:\n");
    }
    for (sha256, size_bytes) in &lock.source_sizes {
        let _ = writeln!(text, "  \"{sha256}\": {size_bytes}");
    }
    if !lock.cargo_locks.is_empty() {
        text.push_str("cargo-locks:\n");
    }
    for (path, sha256) in &lock.cargo_locks {
        let _ = writeln!(text, "  {}: \"{sha256}\"", scalar(path));
    }
    if !lock.crates.is_empty() {
        text.push_str("crates:\n");
    }
    for (path, crates) in &lock.crates {
        let _ = writeln!(text, "  {}:{}", scalar(path), if crates.is_empty() { " []" } else { "" });
        for LockedCrate { name, version, digest } in crates {
            let (name, version) = (scalar(name), quoted(version));
            let (size, hex) = (digest.size_bytes, digest.hex());
            let _ = writeln!(text, "    - {{name: {name}, version: {version}, size: {size}, sha256: \"{hex}\"}}");
        }
    }
    text
}

fn list(items: &[String]) -> String {
    format!("[{}]", items.iter().map(|item| scalar(item)).collect::<Vec<_>>().join(", "))
}

/// Versions are in quotes always, so that a diff shows the version only.
fn quoted(version: &str) -> String {
    let plain = version.bytes().all(|b| b.is_ascii_alphanumeric() || b".+~:-_".contains(&b));
    if plain {
        format!("\"{version}\"")
    } else {
        scalar(version)
    }
}
