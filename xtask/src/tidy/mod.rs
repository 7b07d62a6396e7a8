//! The rules of the source tree: the dependency tables, file sizes, module headers, and words that have one home.
//!
//! Invariant: the tables are read from ARCHITECTURE.md, so the page cannot drift from the code.

mod blank;
mod crates;
mod uses;

use crate::read;
use std::collections::BTreeMap;
use std::path::Path;
use walkdir::WalkDir;

const LIMIT_LINES: usize = 500;

/// Words of code that may stand below these places only.
const HOMES: [(&str, &[&str]); 6] = [
    ("unsafe", &["crates/sys/"]),
    ("serde_yaml", &["src/config/yaml/"]),
    // What a build reads and leaves on the host; the device, the tests and the checks have files of their own.
    ("fs::read_dir", OUTSIDE_OF_STAGES),
    ("fs::copy", OUTSIDE_OF_STAGES),
    ("fs::create_dir_all", OUTSIDE_OF_STAGES),
    ("fs::remove_dir_all", OUTSIDE_OF_STAGES),
];
const OUTSIDE_OF_STAGES: &[&str] = &["src/io/", "src/tools/", "crates/", "tests/", "benches/", "xtask/", "fuzz/"];

const BETWEEN_PROCESSES: [&str; 1] = ["OSBUILD_BENCH_PROJECT"];

/// Everything that breaks a rule, one line each.
pub fn check(root: &Path) -> Vec<String> {
    let architecture = read(&root.join("ARCHITECTURE.md"));
    let table = uses::table(&architecture, "folder");
    let mut problems = crates::check(&manifests(root), &uses::table(&architecture, "crate"));
    let readme = read(&root.join("README.md"));
    for (file, text) in sources(root) {
        problems.extend(
            settings(&file, &text)
                .filter(|name| !readme.contains(&format!("| `{name}` |")))
                .map(|name| format!("{file}: the environment variable `{name}` is not in the tables of README.md")),
        );
        let code = blank::code(&text);
        problems.extend(check_file(&file, &text));
        problems.extend(check_homes(&file, &code));
        if let Some(stage) = file.strip_prefix("src/").and_then(|rest| rest.split_once('/')).map(|(stage, _)| stage) {
            problems.extend(uses::check(&file, stage, &code, &table));
        }
    }
    problems
}

fn manifests(root: &Path) -> BTreeMap<String, String> {
    let manifest = |folder: &Path| read(&folder.join("Cargo.toml"));
    let mut found: BTreeMap<String, String> =
        [("osbuild", ""), ("xtask", "xtask")].map(|(name, at)| (name.to_owned(), manifest(&root.join(at)))).into();
    for entry in WalkDir::new(root.join("crates")).min_depth(1).max_depth(1).into_iter().flatten() {
        found.insert(entry.file_name().to_string_lossy().into_owned(), manifest(entry.path()));
    }
    found
}

fn sources(root: &Path) -> Vec<(String, String)> {
    let folders =
        ["src", "crates", "tests", "benches", "xtask", "fuzz/src", "fuzz/fuzz_targets"].map(|name| root.join(name));
    let mut files = Vec::new();
    for entry in folders.iter().flat_map(|folder| WalkDir::new(folder).sort_by_file_name()).flatten() {
        if entry.path().extension().is_some_and(|e| e == "rs") {
            let name = entry.path().strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
            files.push((name, read(entry.path())));
        }
    }
    files
}

/// Our own environment variables that a file names; those between its own processes are not for people.
fn settings<'a>(file: &str, text: &'a str) -> impl Iterator<Item = &'a str> {
    const START: &str = "\"OSBUILD_";
    let of_program = ["src/", "tests/", "benches/"].iter().any(|folder| file.starts_with(folder));
    let text = if of_program { text } else { "" };
    let names = text.match_indices(START).filter_map(|(at, _)| text[at + 1..].split('"').next());
    names.filter(|name| name.chars().all(blank::is_word) && !BETWEEN_PROCESSES.contains(name))
}

fn is_test(file: &str) -> bool {
    file.ends_with("tests.rs") || file.contains("/tests/")
}

fn check_file(file: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let lines = text.lines().count();
    if lines > LIMIT_LINES {
        problems.push(format!("{file}: {lines} lines; over {LIMIT_LINES} there are two nouns in it"));
    }
    let inner = file.ends_with("tests.rs") || file.ends_with("/tests/mod.rs");
    if !inner && !text.starts_with("//!") && !text.starts_with("#![") {
        problems.push(format!("{file}:1: says not what it turns into what: open it with `//!`"));
    }
    problems
}

fn check_homes(file: &str, code: &str) -> Vec<String> {
    // Tests of a stage make and break files as they like; what they may not do is in the first two rows.
    let program = if is_test(file) { "" } else { code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default() };
    let mut problems = Vec::new();
    for (word, homes) in HOMES {
        if homes.iter().any(|home| file.starts_with(home)) {
            continue;
        }
        let searched = if word.starts_with("fs::") { program } else { code };
        for (at, _) in searched.match_indices(word) {
            let is_whole =
                !searched[..at].ends_with(blank::is_word) && !searched[at + word.len()..].starts_with(blank::is_word);
            if is_whole {
                let line = searched[..at].matches('\n').count() + 1;
                problems.push(format!("{file}:{line}: `{word}` is for {} only", homes.join(", ")));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_is_tidy() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent");
        let problems = check(root);
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }

    #[test]
    fn words_away_from_their_home_are_found() {
        for (file, code, expected) in [
            ("src/io/x.rs", "\nunsafe { f() }", "src/io/x.rs:2: `unsafe` is for crates/sys/ only"),
            ("crates/agent/src/x.rs", "unsafe fn f() {}", "crates/agent/src/x.rs:1: `unsafe` is for crates/sys/ only"),
            (
                "src/config/x.rs",
                "use serde_yaml::Value;",
                "src/config/x.rs:1: `serde_yaml` is for src/config/yaml/ only",
            ),
            (
                "tests/cli/x.rs",
                "serde_yaml::from_str(x)",
                "tests/cli/x.rs:1: `serde_yaml` is for src/config/yaml/ only",
            ),
        ] {
            assert_eq!(check_homes(file, code), [expected]);
        }
        let listed = check_homes("src/cli/x.rs", "\nstd::fs::read_dir(x)\n");
        assert!(matches!(listed.as_slice(), [one] if one.starts_with("src/cli/x.rs:2: `fs::read_dir` is for ")));
        for (file, code) in [
            ("crates/sys/src/x.rs", "unsafe { f() }"),
            ("src/config/yaml/emit.rs", "serde_yaml::to_string(x)"),
            ("src/x.rs", "#![allow(unsafe_code)]"),
            ("src/tree/x.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n    std::fs::read_dir(x);\n}\n"),
            ("src/release/tests.rs", "std::fs::copy(a, b)"),
        ] {
            assert_eq!(check_homes(file, code), [""; 0], "{file}");
        }
    }

    #[test]
    fn environment_variables_of_ours_are_found() {
        let text = "var(\"OSBUILD_CACHE\"), help: \"set OSBUILD_KEYS\", \"OSBUILD_BENCH_PROJECT\", \"OSBUILD_\"";
        assert_eq!(settings("src/x.rs", text).collect::<Vec<_>>(), ["OSBUILD_CACHE", "OSBUILD_"]);
        assert_eq!(settings("xtask/src/x.rs", text).count(), 0);
    }

    #[test]
    fn files_without_a_header_and_files_that_are_too_long_are_found() {
        assert_eq!(check_file("src/x.rs", "//! Says it.\n"), [""; 0]);
        assert_eq!(check_file("src/x.rs", "fn f() {}\n").len(), 1);
        assert_eq!(check_file("src/tests.rs", &"x\n".repeat(LIMIT_LINES + 1)).len(), 1);
    }
}
