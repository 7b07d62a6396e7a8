//! A composed root in, everything in it that could not work on the device out.
//!
//! Invariant: checks only read the root; each names the path, who brought it, and what is missing.

mod dependencies;
pub mod elf;
pub(super) mod links;
mod production;
pub(super) mod programs;
mod services;

use super::accounts::Accounts;
use super::compose::Composer;
use super::parameters::Parameters;
use super::problem::{did_you_mean, TreeError};

/// Runs every check; what they find is among the composer's problems.
pub(super) fn check_all(
    composer: &mut Composer,
    parameters: &Parameters,
    accounts: &Accounts,
) -> Result<(), TreeError> {
    closure(composer, parameters);
    links::check(&composer.root, &mut composer.problems);
    programs::check(composer, parameters)?;
    services::check(&composer.root, parameters, accounts, &mut composer.problems);
    if parameters.product.production {
        production::check(&composer.root, accounts, &mut composer.problems);
    }
    Ok(())
}

/// Every package that a package needs at run time is there.
pub(super) fn closure(composer: &mut Composer, parameters: &Parameters) {
    let names: Vec<&str> = parameters.packages.iter().map(|package| package.name.as_str()).collect();
    for package in &parameters.packages {
        for needed in package.run_depends.iter().filter(|needed| !names.contains(&needed.as_str())) {
            let (name, origin) = (&package.name, &package.origin);
            let message = format!("package `{name}` ({origin}) needs package `{needed}`, which is not in the image");
            composer.problems.add_with_hint(message, did_you_mean(needed, names.iter().copied()));
        }
    }
}
