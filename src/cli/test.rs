//! `osbuild test PRODUCT`: boots an image on the virtual board and runs the checks of `tests/board/` on it.
//!
//! Invariant: the board starts as from the factory; the exit status is 0 only if every check holds.

use super::board::failure;
use super::report::Failure;
use super::run::BoardInputs;
use crate::io::file;
use crate::tools::board::check::{self, Check, Outcome, Plan, Report, SshAccess, SuiteFile};
use crate::tools::board::Persistence;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, clap::Args)]
pub struct TestArgs {
    /// The product to test; the default product unless told.
    pub product: Option<String>,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
    /// Also write the report as JUnit XML to this file.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Also boot copies with one bit changed, which must be refused: of the UKI, the root, the data partition.
    #[arg(long)]
    pub tampered: bool,
    /// Run only the checks whose name contains this text.
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
}

/// Boots, checks, prints the report; a check that does not hold is a failure. `report.json` and the logs of
/// the console stay in the state folder.
pub fn test(
    args: &TestArgs,
    inputs: &BoardInputs,
    suites: &[SuiteFile],
    ssh: Option<&SshAccess>,
) -> Result<(), Failure> {
    let checks = checks(suites, &inputs.product, args.only.as_deref())?;
    let setup = inputs.setup(Persistence::Fresh);
    let plan = Plan { checks: &checks, ssh, tampered: args.tampered };
    let mut tell = |outcome: &Outcome| {
        if let (false, Some(objection)) = (args.json, &outcome.objection) {
            eprintln!("does not hold: {}: {}", outcome.name, objection.lines().next().unwrap_or_default());
        }
    };
    let report = check::test(&setup, &plan, &mut tell).map_err(failure)?;
    keep(&report, &inputs.state, args.junit.as_deref())?;
    if args.json {
        println!("{:#}", report.json());
    } else {
        print!("{}", report.text());
    }
    if report.passed() {
        return Ok(());
    }
    let count = report.failures();
    let console = inputs.state.join("console.log");
    Err(Failure::new(format!("{count} checks of `{}` do not hold", inputs.product))
        .help(format!("the guest's console is in `{}`", console.display())))
}

/// The checks for `product` whose name contains `only`; none at all is an error, for it would pass.
pub fn checks(suites: &[SuiteFile], product: &str, only: Option<&str>) -> Result<Vec<Check>, Failure> {
    let mut checks = Vec::new();
    for suite in suites {
        checks.extend(check::checks_for(suite, product)?);
    }
    checks.retain(|check| only.is_none_or(|text| check.name.contains(text)));
    if checks.is_empty() {
        let help = "a check lies in `tests/board/*.yaml` and applies to the products its suite names";
        return Err(Failure::new(format!("no check applies to `{product}`")).help(help));
    }
    Ok(checks)
}

fn keep(report: &Report, state: &Path, junit: Option<&Path>) -> Result<(), Failure> {
    file::write_atomic(&state.join("report.json"), format!("{:#}\n", report.json()).as_bytes(), 0o644)?;
    if let Some(path) = junit {
        file::write_atomic(path, report.junit().as_bytes(), 0o644)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn checks_are_chosen_by_product_and_name() {
        let file = json!({"schema": 1, "suite": "s", "products": ["gateway"], "checks": [
            {"name": "clock runs", "console": "x"}, {"name": "disk grew", "console": "x"}]});
        let suites = [serde_json::from_value(file).unwrap()];
        assert_eq!(checks(&suites, "gateway", None).unwrap().len(), 2);
        assert_eq!(checks(&suites, "gateway", Some("disk")).unwrap()[0].name, "disk grew");
        assert!(checks(&suites, "gateway", Some("nope")).is_err());
        assert!(checks(&suites, "other", None).unwrap_err().message.contains("`other`"));
    }
}
