//! The crates we drag in: licences we may ship, and no crate in two versions without a reason.
//!
//! Invariant: every exception is listed here with its cause, and an unused exception is an error.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// One of these must be offered by each crate.
const LICENCES: [&str; 12] = [
    "Apache-2.0",
    "MIT",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "Unicode-3.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "Unlicense",
    "bzip2-1.0.6",
];

/// Crates that are here in two versions because dependencies of ours disagree, with the one that holds back.
const DUPLICATES: [(&str, &str); 8] = [
    ("base64", "ureq has moved on; pgp and tonic have not"),
    ("bitflags", "fatfs 0.3 is the last release of its line"),
    ("cpufeatures", "proptest's random numbers are a generation ahead of the RustCrypto crates that rsa 0.9 fixes"),
    ("getrandom", "rsa 0.9 and ed25519-dalek 2 want the generation of rand_core 0.6"),
    ("rand", "proptest is a generation ahead of rsa 0.9 and pgp"),
    ("rand_core", "as for rand"),
    ("serdect", "cx448, which pgp brings, is ahead of elliptic-curve"),
    ("syn", "procedural macros only: nothing of it is in the program"),
];

pub fn check(root: &Path) -> Vec<String> {
    let metadata = metadata(root);
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut problems = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
        versions.entry(text("name")).or_default().insert(text("version"));
        if !licence_is_allowed(&text("license")) {
            problems.push(format!("{} {}: licence `{}`", text("name"), text("version"), text("license")));
        }
    }
    for (name, versions) in &versions {
        let listed = DUPLICATES.iter().any(|(listed, _)| listed == name);
        if versions.len() > 1 && !listed {
            let all: Vec<_> = versions.iter().map(String::as_str).collect();
            problems.push(format!("{name}: in {} versions: {}", all.len(), all.join(", ")));
        } else if versions.len() < 2 && listed {
            problems.push(format!("{name}: listed as a duplicate, but is there once: remove it from the list"));
        }
    }
    problems
}

fn licence_is_allowed(expression: &str) -> bool {
    let alternatives = expression.replace('/', " OR ").replace(['(', ')'], " ");
    alternatives.split(" OR ").any(|alternative| {
        let mut parts = alternative.split(" AND ").map(str::trim);
        parts.all(|part| LICENCES.contains(&part.split(" WITH ").next().unwrap_or_default().trim()))
    })
}

/// What is compiled for Linux on x86-64; other targets' crates never reach a user.
#[allow(clippy::disallowed_methods)]
fn metadata(root: &Path) -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--format-version=1", "--locked", "--filter-platform=x86_64-unknown-linux-gnu"];
    let output = Command::new(cargo).args(arguments).current_dir(root).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_is_allowed_when_one_alternative_is() {
        for (expression, allowed) in [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("MIT OR GPL-3.0-only", true),
            ("MIT/Apache-2.0", true),
            ("MIT AND GPL-2.0-only", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("", false),
        ] {
            assert_eq!(licence_is_allowed(expression), allowed, "{expression}");
        }
    }
}
