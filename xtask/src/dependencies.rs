//! The crates we drag in: licences we may ship, and no crate in two versions without a reason.
//!
//! Invariant: every exception is listed here with its cause, and an unused exception is an error.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// One of these must be offered by each crate.
const LICENCES: [&str; 9] = [
    "Apache-2.0",
    "MIT",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "CDLA-Permissive-2.0",
    "bzip2-1.0.6",
];

/// A crate that is here more than once, its lines of versions that promise to be compatible, and what holds back.
type Duplicate = (&'static str, [&'static str; 2], &'static str);

const DUPLICATES: [Duplicate; 8] = [
    ("base64", ["0.22", "0.23"], "ureq has moved on; pgp and tonic have not"),
    ("bitflags", ["1", "2"], "fatfs 0.3 is the last release of its line"),
    (
        "cpufeatures",
        ["0.2", "0.3"],
        "proptest's random numbers are a generation ahead of the RustCrypto crates that rsa 0.9 fixes",
    ),
    ("getrandom", ["0.2", "0.4"], "rsa 0.9 and ed25519-dalek 2 want the generation of rand_core 0.6"),
    ("rand", ["0.8", "0.10"], "proptest is a generation ahead of rsa 0.9 and pgp"),
    ("rand_core", ["0.6", "0.10"], "as for rand"),
    ("serdect", ["0.2", "0.3"], "cx448, which pgp brings, is ahead of elliptic-curve"),
    ("syn", ["2", "3"], "procedural macros only: nothing of it is in the program"),
];

/// A crate as cargo describes it.
struct Crate {
    name: String,
    version: String,
    licence: String,
}

pub fn check(root: &Path) -> Vec<String> {
    let crates = crates(&metadata(root));
    [check_licences(&crates, &LICENCES), check_duplicates(&crates, &DUPLICATES)].concat()
}

fn crates(metadata: &Value) -> Vec<Crate> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let text = |package: &Value, key: &str| package[key].as_str().unwrap_or_default().to_owned();
    packages
        .map(|p| Crate { name: text(p, "name"), version: text(p, "version"), licence: text(p, "license") })
        .collect()
}

fn check_licences(crates: &[Crate], licences: &[&str]) -> Vec<String> {
    let refused = |licences: &[&str]| -> Vec<String> {
        let refused = crates.iter().filter(|c| !licence_is_allowed(&c.licence, licences));
        refused.map(|c| format!("{} {}: licence `{}`", c.name, c.version, c.licence)).collect()
    };
    let mut problems = refused(licences);
    let known = problems.len();
    for licence in licences {
        let others: Vec<&str> = licences.iter().copied().filter(|other| other != licence).collect();
        if refused(&others).len() == known {
            problems
                .push(format!("licence `{licence}` is in the list, but no crate needs it: remove it from the list"));
        }
    }
    problems
}

fn check_duplicates(crates: &[Crate], duplicates: &[Duplicate]) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for found in crates {
        versions.entry(&found.name).or_default().insert(&found.version);
    }
    let mut problems = Vec::new();
    for (name, versions) in &versions {
        let all = || versions.iter().copied().collect::<Vec<_>>().join(", ");
        match duplicates.iter().find(|(listed, _, _)| listed == name) {
            None if versions.len() > 1 => problems.push(format!("{name}: in {} versions: {}", versions.len(), all())),
            Some((_, lines, _)) => {
                let found: BTreeSet<&str> = versions.iter().map(|version| line(version)).collect();
                if versions.len() != lines.len() || found != lines.iter().copied().collect() {
                    problems.push(format!(
                        "{name}: listed as {}, but is there as {}: mend the list",
                        lines.join(", "),
                        all()
                    ));
                }
            }
            None => {}
        }
    }
    let gone = duplicates.iter().filter(|(listed, _, _)| !versions.contains_key(listed));
    problems
        .extend(gone.map(|(listed, _, _)| format!("{listed}: listed as a duplicate, but is not there: mend the list")));
    problems
}

/// The part of a version that must not change for it to be compatible: up to the first number that is not zero.
fn line(version: &str) -> &str {
    let zero = |part: &&str| *part == "0";
    let parts = version.split('.').take_while(zero).count() + 1;
    version.match_indices('.').nth(parts - 1).map_or(version, |(at, _)| &version[..at])
}

/// Whether an SPDX expression (SPDX 2.3, annex D) leaves a choice of listed licences only; `/` is an older `OR`.
fn licence_is_allowed(expression: &str, licences: &[&str]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    any_of(&mut words, licences) && words.next().is_none()
}

type Words<'a, 'b> = &'b mut std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: Words, licences: &[&str]) -> bool {
    let mut allowed = all_of(words, licences);
    while words.next_if_eq(&"OR").is_some() {
        // Whatever the left side said, the words of the right side have to be read.
        allowed |= all_of(words, licences);
    }
    allowed
}

fn all_of(words: Words, licences: &[&str]) -> bool {
    let mut allowed = one(words, licences);
    while words.next_if_eq(&"AND").is_some() {
        allowed &= one(words, licences);
    }
    allowed
}

fn one(words: Words, licences: &[&str]) -> bool {
    let Some(word) = words.next() else { return false };
    if word == "(" {
        let allowed = any_of(words, licences);
        return words.next() == Some(")") && allowed;
    }
    if words.next_if_eq(&"WITH").is_some() {
        words.next();
    }
    licences.contains(&word)
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
            ("(MIT OR Apache-2.0) AND GPL-2.0-only", false),
            ("GPL-2.0-only AND (MIT OR Apache-2.0)", false),
            ("MIT GPL-2.0-only", false),
            ("", false),
        ] {
            assert_eq!(licence_is_allowed(expression, &LICENCES), allowed, "{expression}");
        }
    }

    fn of(name: &str, version: &str, licence: &str) -> Crate {
        Crate { name: name.to_owned(), version: version.to_owned(), licence: licence.to_owned() }
    }

    #[test]
    fn a_licence_that_is_not_listed_and_one_that_nobody_needs_are_found() {
        let crates = [of("a", "1.0.0", "MIT OR Zlib"), of("b", "2.1.0", "Apache-2.0")];
        assert_eq!(check_licences(&crates, &["MIT", "Apache-2.0"]), [""; 0]);
        assert_eq!(check_licences(&crates, &["MIT"]), ["b 2.1.0: licence `Apache-2.0`"]);
        let unused = "licence `ISC` is in the list, but no crate needs it: remove it from the list";
        assert_eq!(check_licences(&crates, &["MIT", "Apache-2.0", "ISC"]), [unused]);
    }

    #[test]
    fn a_duplicate_is_listed_with_the_versions_that_are_there() {
        let two = [of("a", "0.2.17", "MIT"), of("a", "1.4.0", "MIT")];
        assert_eq!(check_duplicates(&two, &[("a", ["0.2", "1"], "because")]), [""; 0]);
        assert_eq!(check_duplicates(&two, &[]), ["a: in 2 versions: 0.2.17, 1.4.0"]);
        for (crates, expected) in [
            (&two[..1], "a: listed as 0.2, 1, but is there as 0.2.17: mend the list"),
            (&[], "a: listed as a duplicate, but is not there: mend the list"),
            (
                &[of("a", "0.2.17", ""), of("a", "1.4.0", ""), of("a", "2.0.0", "")][..],
                "a: listed as 0.2, 1, but is there as 0.2.17, 1.4.0, 2.0.0: mend the list",
            ),
        ] {
            assert_eq!(check_duplicates(crates, &[("a", ["0.2", "1"], "because")]), [expected]);
        }
        assert_eq!(["0.2.17", "0.0.3", "1.4.0", "10.0.0"].map(line), ["0.2", "0.0.3", "1", "10"]);
    }
}
