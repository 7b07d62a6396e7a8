//! The lock of the fuzz workspace against the project's: one version of each crate that both have.
//!
//! Invariant: libFuzzer tries the code that the project ships.

use crate::read;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const LOCK: &str = "fuzz/Cargo.lock";

/// What is wrong, one line each.
pub fn check(root: &Path) -> Vec<String> {
    differences(&versions(&read(&root.join(LOCK))), &versions(&read(&root.join("Cargo.lock"))))
}

type Versions = BTreeMap<String, BTreeSet<String>>;

/// Crates of both whose versions in `fuzz` are not among those of the project.
fn differences(fuzz: &Versions, project: &Versions) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, versions) in fuzz {
        let Some(ours) = project.get(name) else { continue };
        for version in versions.difference(ours) {
            let wanted = ours.iter().map(String::as_str).collect::<Vec<_>>().join(" or ");
            problems.push(format!(
                "{LOCK}: {name} {version}, but Cargo.lock has {wanted}: run `cargo update -p {name}@{version} --precise VERSION` in fuzz/"
            ));
        }
    }
    problems
}

/// Name to versions, as cargo writes them.
fn versions(lock: &str) -> Versions {
    let mut versions = Versions::new();
    let mut name = None;
    for line in lock.lines() {
        let value = |key: &str| line.strip_prefix(key).map(|rest| rest.trim_matches('"').to_owned());
        if let Some(found) = value("name = ") {
            name = Some(found);
        } else if let Some((version, name)) = value("version = ").zip(name.take()) {
            versions.entry(name).or_default().insert(version);
        }
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_the_project_does_not_have_is_found() {
        let lock = |crates: &[(&str, &str)]| -> Versions {
            let package =
                |(name, version): &(&str, &str)| format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n");
            versions(&format!("version = 4\n\n{}", crates.iter().map(package).collect::<String>()))
        };
        let project = lock(&[("a", "1.0.0"), ("a", "2.0.0"), ("b", "1.0.0"), ("c", "1.0.0")]);
        assert_eq!(
            differences(&lock(&[("a", "2.0.0"), ("b", "1.0.0"), ("libfuzzer-sys", "0.4.0")]), &project),
            [""; 0]
        );
        let found = differences(&lock(&[("a", "2.0.1"), ("b", "1.0.0")]), &project);
        assert!(
            matches!(found.as_slice(), [one] if one.contains("a 2.0.1, but Cargo.lock has 1.0.0 or 2.0.0")),
            "{found:?}"
        );
    }

    #[test]
    fn what_is_fuzzed_is_what_is_shipped() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the project");
        assert_eq!(check(root), Vec::<String>::new());
    }
}
