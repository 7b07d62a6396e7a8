//! An app's root in, everything in it that could not work, or could do more than the manifest says, out.
//!
//! Invariant: device nodes, set-id bits, file capabilities and links that lead out of the root are refused although
//! the device's mount options and the app's own root make each of them harmless: one layer is not enough.

use crate::model::RelPath;
use crate::tree::check::{closure, links, programs};
use crate::tree::compose::Composer;
use crate::tree::metadata::label;
use crate::tree::parameters::{AppParameters, Metadata};
use crate::tree::problem::{did_you_mean, Problems, TreeError};
use crate::tree::root::{Content, Root};

const SET_ID: u32 = 0o6000;
/// Extended attributes with which the kernel gives a program rights.
const RIGHTS: &str = "security.";

pub fn check_all(composer: &mut Composer, parameters: &AppParameters) -> Result<(), TreeError> {
    for package in &parameters.root.packages {
        for metadata in &package.metadata {
            check_metadata(metadata, &package.name, parameters, &mut composer.problems)?;
        }
    }
    escapes(&composer.root, parameters, &mut composer.problems);
    program(&composer.root, parameters, &mut composer.problems);
    closure(composer, &parameters.root);
    links::check(&composer.root, &mut composer.problems);
    programs::check(composer, &parameters.root)
}

/// An app has one user, so owners and modes of its files say nothing; what would say something is refused.
fn check_metadata(
    metadata: &Metadata,
    package: &str,
    parameters: &AppParameters,
    problems: &mut Problems,
) -> Result<(), TreeError> {
    let path = RelPath::new(&metadata.path)?;
    let mut refuse = |what: &str, help: &str| {
        let (label, app, at) = (label(metadata, &path, Some(package)), &parameters.id, &parameters.origin);
        problems.add_with_help(format!("{label}: {what}, which app `{app}` ({at}) must not have"), help);
    };
    if metadata.device.is_some() {
        refuse("a device node", "name the device in `devices` of the app's capabilities instead");
    }
    if metadata.mode.is_some_and(|mode| mode & SET_ID != 0) {
        refuse("a set-id bit", "an app has one user; leave the bit out");
    }
    if metadata.xattrs.keys().any(|name| name.starts_with(RIGHTS)) {
        refuse("file capabilities", "name what the app may do in its `capabilities` instead");
    }
    Ok(())
}

/// Inside the app, `..` stops at its root; whoever opens the image elsewhere is not that safe.
fn escapes(root: &Root, parameters: &AppParameters, problems: &mut Problems) {
    for (path, item) in &root.items {
        let Content::Symlink { target } = &item.content else { continue };
        if leaves(path, target) {
            let app = &parameters.id;
            let message = format!(
                "symlink `/{path}` of {} leads out of the root of app `{app}` ({}): `{target}`",
                item.owner, parameters.origin
            );
            problems.add_with_help(message, "let it lead to a file that the app brings");
        }
    }
}

/// Whether the text of a link climbs above the root that its own path is in.
fn leaves(path: &RelPath, target: &str) -> bool {
    let start = if target.starts_with('/') { 0 } else { path.components().count() - 1 };
    let mut depth = start;
    for name in target.split('/') {
        match name {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

fn program(root: &Root, parameters: &AppParameters, problems: &mut Problems) {
    let (program, app, at) = (&parameters.program, &parameters.id, &parameters.origin);
    let found = root.file(program).map(|(_, item)| &item.content);
    match found {
        Some(Content::File { executable: true, .. }) => {}
        Some(_) => problems.add_with_help(
            format!("app `{app}` ({at}) starts `{program}`, which is not a program"),
            "install it with an executable mode",
        ),
        None => {
            let known: Vec<String> = root.items.keys().map(|path| format!("/{path}")).collect();
            let message = format!("app `{app}` ({at}) starts a program that is not in it: `{program}`");
            problems.add_with_hint(message, did_you_mean(program, known.iter().map(String::as_str)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leaves_where_its_text_climbs_above_the_root() {
        let table = [
            ("a", "../etc", true),
            ("usr/lib/a", "../../etc/passwd", false),
            ("usr/lib/a", "../../../etc/passwd", true),
            ("usr/lib/a", "b/../../../x/../../..", true),
            ("usr/a", "/../etc", true),
            ("usr/a", "/etc/../etc", false),
            ("usr/a", ".", false),
        ];
        for (path, target, expected) in table {
            assert_eq!(leaves(&RelPath::new(path).expect("a path"), target), expected, "{path} -> {target}");
        }
    }
}
