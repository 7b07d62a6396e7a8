//! The manifests of our crates in, the dependencies between them that the table does not allow out.
//!
//! Invariant: only what is compiled into a program counts; a test may use any crate of the project.

use super::uses::Table;
use std::collections::BTreeMap;

const PREFIX: &str = "osbuild-";

/// `manifests` are the texts of Cargo.toml by the name in the table.
pub fn check(manifests: &BTreeMap<String, String>, table: &Table) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, manifest) in manifests {
        let Some(allowed) = table.get(name) else {
            problems.push(format!("the crate `{name}` is not in the table of ARCHITECTURE.md"));
            continue;
        };
        for used in dependencies(manifest).filter(|used| !allowed.contains(*used)) {
            problems.push(format!("the crate `{name}` may not use `{used}`"));
        }
    }
    let gone = table.keys().filter(|name| !manifests.contains_key(*name));
    problems.extend(gone.map(|name| format!("ARCHITECTURE.md lists the crate `{name}`, which is not there")));
    problems
}

/// The crates of the project among the dependencies, those of one target included, without the prefix.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let mut section = "";
    manifest.lines().filter_map(move |line| {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        }
        let counts = section == "dependencies" || section.ends_with(".dependencies") && section.starts_with("target.");
        let name = line.split(['.', '=', ' ']).next().filter(|_| counts)?;
        name.strip_prefix(PREFIX).or_else(|| (name == "osbuild").then_some(name))
    })
}

#[cfg(test)]
mod tests {
    use super::super::uses::table;
    use super::*;

    fn problems(crates: &[(&str, &str)]) -> Vec<String> {
        let page = "| crate | may use |\n|---|---|\n| format | |\n| agent | format |\n";
        let manifests = crates.iter().map(|(name, manifest)| (name.to_string(), manifest.to_string())).collect();
        check(&manifests, &table(page, "crate"))
    }

    #[test]
    fn a_crate_that_uses_another_against_the_table_is_found() {
        let format = "[package]\nname = \"osbuild-format\"\n\n[dependencies]\nserde = \"1\"\n";
        let agent =
            "[dependencies]\nosbuild-format.workspace = true\n[dev-dependencies]\nosbuild-sys = { path = \"..\" }\n";
        assert_eq!(problems(&[("format", format), ("agent", agent)]), [""; 0]);
        for (line, used) in [
            ("osbuild-agent.workspace = true\n", "agent"),
            ("osbuild-sys = { path = \"../sys\" }\n", "sys"),
            ("osbuild = { path = \"../..\" }\n", "osbuild"),
            ("\n[target.'cfg(unix)'.dependencies]\nosbuild-sys = \"1\"\n", "sys"),
        ] {
            let expected = format!("the crate `format` may not use `{used}`");
            assert_eq!(problems(&[("format", &format!("{format}{line}")), ("agent", agent)]), [expected]);
        }
    }

    #[test]
    fn the_table_has_each_crate_that_is_there_and_no_other() {
        let expected = [
            "the crate `new` is not in the table of ARCHITECTURE.md",
            "ARCHITECTURE.md lists the crate `agent`, which is not there",
        ];
        assert_eq!(problems(&[("format", ""), ("new", "")]), expected);
    }
}
