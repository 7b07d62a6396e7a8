//! Services and logins whose programs are not in the image.
//!
//! Invariant: what the agent will start exists and is a program.

use crate::tree::accounts::Accounts;
use crate::tree::parameters::Parameters;
use crate::tree::problem::{did_you_mean, Problems};
use crate::tree::root::{Content, Root};

/// What the firmware's kernel hands the machine to.
const AGENT: &str = "/usr/bin/osagent";

pub fn check(root: &Root, parameters: &Parameters, accounts: &Accounts, problems: &mut Problems) {
    if !is_program(root, AGENT) {
        let message = format!("the image has no `{AGENT}`, so nothing would start the services");
        problems.add_with_help(message, "add the package `osagent` to the product");
    }
    for (name, service) in &parameters.product.services {
        let program = service.argv.first().map_or("", String::as_str);
        if !is_program(root, program) {
            let message =
                format!("service `{name}` ({}) starts a program that is not in the image: `{program}`", service.origin);
            problems.add_with_hint(message, hint(root, program));
        }
    }
    for (name, user) in &accounts.users {
        let Some(shell) = user.shell.as_ref().filter(|shell| !is_program(root, shell)) else { continue };
        let message = format!("the shell of user `{name}` is not in the image: `{shell}`");
        let none = "leave `shell` out: a user without one cannot log in";
        problems.add_with_hint(message, hint(root, shell).or_else(|| Some(none.to_owned())));
    }
}

fn is_program(root: &Root, path: &str) -> bool {
    let found = root.file(path).map(|(_, item)| &item.content);
    path.starts_with('/') && matches!(found, Some(Content::File { executable: true, .. }))
}

fn hint(root: &Root, program: &str) -> Option<String> {
    let known: Vec<String> = root.items.keys().map(|path| format!("/{path}")).collect();
    did_you_mean(program, known.iter().map(String::as_str))
}
