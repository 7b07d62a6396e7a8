//! Paths in the code of a stage in, the stages that it may not use out.
//!
//! Invariant: a path is found however it is laid out: in braces, over several lines, or from the root by `super`.

use super::blank::is_word;
use std::collections::{BTreeMap, BTreeSet};

/// Folder to the folders it may use.
pub type Table = BTreeMap<String, BTreeSet<String>>;

/// The table of a page that starts with this column.
pub fn table(page: &str, column: &str) -> Table {
    let start = format!("| {column} |");
    let rows = page.lines().skip_while(|line| !line.starts_with(&start)).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .filter_map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            let folder = cells.next()?.to_owned();
            Some((folder, cells.next()?.split_whitespace().map(str::to_owned).collect()))
        })
        .collect()
}

/// What `code`, blanked, of `file` below `src/STAGE/` uses against the table.
pub fn check(file: &str, stage: &str, code: &str, table: &Table) -> Vec<String> {
    let Some(allowed) = table.get(stage) else {
        return vec![format!("{file}: `{stage}` is not in the table of ARCHITECTURE.md")];
    };
    let mut problems = Vec::new();
    for (at, length) in roots(file, code) {
        for used in heads(&code[at + length..]) {
            if used != stage && table.contains_key(used) && !allowed.contains(used) {
                let line = code[..at].matches('\n').count() + 1;
                problems.push(format!("{file}:{line}: `{stage}` may not use `{used}`"));
            }
        }
    }
    problems
}

/// Where paths from the crate's root start, and the length of what leads there: `crate::`, or enough of `super::`.
fn roots(file: &str, code: &str) -> Vec<(usize, usize)> {
    let words = |word: &'static str| {
        code.match_indices(word).map(|(at, _)| at).filter(|at| !code[..*at].ends_with(|c| is_word(c) || c == ':'))
    };
    let mut found: Vec<(usize, usize)> = words("crate::").map(|at| (at, "crate::".len())).collect();
    for at in words("super::") {
        let length = code[at..].split_inclusive("::").take_while(|part| *part == "super::").map(str::len).sum();
        if length / "super::".len() == depth(file) + inline_modules(&code[..at]) {
            found.push((at, length));
        }
    }
    found.sort_unstable();
    found
}

/// How many modules a file below `src/` lies in.
fn depth(file: &str) -> usize {
    let inside = file.trim_start_matches("src/").trim_end_matches(".rs");
    inside.trim_end_matches("/mod").split('/').count()
}

/// How many `mod NAME {` are open at the end of `code`.
fn inline_modules(code: &str) -> usize {
    let mut open = Vec::new();
    for (at, c) in code.char_indices() {
        match c {
            '{' => {
                let mut words = code[..at].split_whitespace().rev().skip(1);
                open.push(words.next() == Some("mod"));
            }
            '}' => drop(open.pop()),
            _ => {}
        }
    }
    open.into_iter().filter(|is_module| *is_module).count()
}

/// The first name of a path, or of each path in the braces that it starts with.
fn heads(path: &str) -> Vec<&str> {
    let path = path.trim_start();
    let name = |path: &'_ str| path.find(|c| !is_word(c)).unwrap_or(path.len());
    let Some(list) = path.strip_prefix('{') else { return vec![&path[..name(path)]] };
    let (mut heads, mut depth, mut starts) = (Vec::new(), 0, true);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' => starts |= depth == 0,
            c if starts && is_word(c) => {
                heads.push(&list[at..at + name(&list[at..])]);
                starts = false;
            }
            _ => {}
        }
    }
    heads
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "| folder | may use |\n|---|---|\n| plan | model |\n| model | |\n| disk | plan |\n";

    fn problems(file: &str, code: &str) -> Vec<String> {
        check(file, "plan", code, &table(PAGE, "folder"))
    }

    #[test]
    fn a_stage_that_reaches_into_a_later_one_is_found_however_it_is_written() {
        for (line, code) in [
            (2, "use crate::model::A;\nuse crate::disk::B;\n"),
            (1, "use crate::{disk::B, model};\n"),
            (1, "use crate::{\n    model::{A, B},\n    disk,\n};\n"),
            (3, "fn f() {\n    let x =\n        crate::disk::write();\n}\n"),
            (1, "pub(in crate::disk) fn f() {}\n"),
            (1, "use super::super::disk::B;\n"),
            (1, "use super::super::{\n    model, disk};\n"),
            (3, "fn f() {}\nmod tests {\n    use super::super::super::disk::B;\n}\n"),
        ] {
            let expected = format!("src/plan/x.rs:{line}: `plan` may not use `disk`");
            assert_eq!(problems("src/plan/x.rs", code), [expected], "{code}");
        }
    }

    #[test]
    fn what_is_the_stage_s_own_or_allowed_passes() {
        for code in [
            "use crate::{\n    model::{disk, A},\n    plan,\n};\n",
            "use super::disk::B;\n",
            "fn f() {}\nmod tests {\n    use super::super::disk::B;\n}\n",
            "use other_crate::disk;\n",
            "use osbuild::crate::disk;\n",
        ] {
            assert_eq!(problems("src/plan/x.rs", code), [""; 0], "{code}");
        }
        assert_eq!(problems("src/plan/class/mod.rs", "use super::disk::B;\n"), [""; 0]);
        assert_eq!(problems("src/plan/class/mod.rs", "use super::super::disk::B;\n").len(), 1);
    }
}
