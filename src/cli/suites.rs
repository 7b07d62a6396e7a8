//! `tests/board/*.yaml` to suites of checks.
//!
//! Invariant: files are read in the order of their names; a mistake names its file, line and column.

use super::report::Failure;
use crate::config::yaml::{self, Limits, Node};
use crate::config::{Diagnostic, Diagnostics};
use crate::io::file;
use crate::tools::board::check::{CheckFile, SuiteFile};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The suites of the project, or every mistake in the first file that has any.
pub fn read(project: &Path) -> Result<Vec<SuiteFile>, Failure> {
    const FOLDER: &str = "tests/board";
    let folder = project.join(FOLDER);
    let mut suites = Vec::new();
    for name in file::list(&folder)?.into_iter().filter(|name| name.ends_with(".yaml")) {
        suites.push(parse(&file::read_text(&folder.join(&name))?, &format!("{FOLDER}/{name}"))?);
    }
    Ok(suites)
}

fn parse(text: &str, name: &str) -> Result<SuiteFile, Diagnostics> {
    let file: Arc<str> = name.into();
    let sources = BTreeMap::from([(Arc::clone(&file), text.into())]);
    let located = |problems| Diagnostics::new(problems, &sources);
    let node = yaml::parse(text, &file, Limits::FILE).map_err(located)?;
    let problems: Vec<Diagnostic> = node
        .get("checks")
        .map_or(&[][..], Node::items)
        .iter()
        .filter_map(|check| Some((check, serde_json::from_value::<CheckFile>(check.to_json()).err()?)))
        .map(|(check, error)| Diagnostic::at(&check.origin, format!("this check is not valid: {error}")))
        .collect();
    if !problems.is_empty() {
        return Err(located(problems));
    }
    serde_json::from_value(node.to_json()).map_err(|error| {
        located(vec![Diagnostic::at(&node.origin, format!("this suite of checks is not valid: {error}"))])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::board::check::{checks_for, Probe};
    use serde_json::json;

    #[test]
    fn the_project_s_own_suites_are_valid_and_both_products_have_checks() {
        let suites = read(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("valid suites");
        for product in ["gateway", "gateway-dev"] {
            let count: usize = suites.iter().map(|s| checks_for(s, product).expect("valid checks").len()).sum();
            assert!(count >= 10, "{product}: {count}");
        }
    }

    #[test]
    fn a_watchdog_that_is_not_fed_fails_its_check() {
        let suites = read(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("valid suites");
        let mut checks = suites.iter().flat_map(|suite| checks_for(suite, "gateway").expect("valid checks"));
        let check = checks.find(|check| check.name == "the watchdog is fed").expect("every product is checked for it");
        let Probe::Status { wanted, .. } = check.probe else { panic!("{:?}", check.probe) };
        for (fed_ms_ago, holds) in [(json!(0), true), (json!(5100), true), (json!(null), false), (json!(30_000), false)]
        {
            assert_eq!(wanted.objection(Some(&fed_ms_ago)).is_none(), holds, "{fed_ms_ago}");
        }
        assert!(wanted.objection(None).is_some());
    }

    #[test]
    fn a_mistake_is_shown_where_it_is() {
        let text = "schema: 1\nsuite: s\nchecks:\n  - name: a\n    console: x\n  - name: b\n    consle: x\n";
        let error = parse(text, "tests/board/x.yaml").unwrap_err().to_string();
        assert!(error.contains("tests/board/x.yaml:6:") && error.contains("consle"), "{error}");
    }
}
