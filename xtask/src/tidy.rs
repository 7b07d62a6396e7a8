//! The rules of the source tree: the dependency table, file sizes, module headers, unsafe code.
//!
//! Invariant: the table is read from ARCHITECTURE.md, so the page cannot drift from the code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use walkdir::WalkDir;

const LIMIT_LINES: usize = 500;

/// Everything that breaks a rule, one line each.
pub fn check(root: &Path) -> Vec<String> {
    let architecture = read(&root.join("ARCHITECTURE.md"));
    let table = table(&architecture);
    let mut problems = Vec::new();
    for (file, text) in sources(root) {
        problems.extend(check_file(&file, &text));
        if let Some(stage) = file.strip_prefix("src/").and_then(|rest| rest.split_once('/')).map(|(stage, _)| stage) {
            problems.extend(check_uses(&file, stage, &text, &table));
        }
    }
    problems
}

#[allow(clippy::disallowed_methods)]
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

/// Folder to the folders it may use, from the page's table.
fn table(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let rows = page.lines().skip_while(|line| !line.starts_with("| folder |")).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .filter_map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            let folder = cells.next()?.to_owned();
            Some((folder, cells.next()?.split_whitespace().map(str::to_owned).collect()))
        })
        .collect()
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

fn check_uses(file: &str, stage: &str, text: &str, table: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let Some(allowed) = table.get(stage) else {
        return vec![format!("{file}: `{stage}` is not in the table of ARCHITECTURE.md")];
    };
    let mut problems = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("//") {
            continue;
        }
        for used in line.match_indices("crate::").flat_map(|(at, _)| stages_at(&line[at + "crate::".len()..])) {
            if used != stage && table.contains_key(used) && !allowed.contains(used) {
                problems.push(format!("{file}:{}: `{stage}` may not use `{used}`", number + 1));
            }
        }
    }
    problems
}

/// The folder after `crate::`, or those in the braces after it.
fn stages_at(text: &str) -> Vec<&str> {
    let first = |text: &'_ str| text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    match text.strip_prefix('{') {
        None => vec![&text[..first(text)]],
        Some(list) => list.split(',').map(|item| item.trim_start()).map(|item| &item[..first(item)]).collect(),
    }
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
    fn a_stage_that_reaches_into_a_later_one_is_found() {
        let table = table("| folder | may use |\n|---|---|\n| plan | model |\n| model | |\n| disk | plan |\n");
        let problems = check_uses("src/plan/x.rs", "plan", "use crate::model::A;\nuse crate::disk::B;\n", &table);
        assert_eq!(problems, ["src/plan/x.rs:2: `plan` may not use `disk`"]);
        let problems = check_uses("src/plan/x.rs", "plan", "use crate::{disk::B, model};\n", &table);
        assert_eq!(problems, ["src/plan/x.rs:1: `plan` may not use `disk`"]);
    }
}
