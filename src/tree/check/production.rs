//! Ways into a production image: shells, logins, keys.
//!
//! Invariant: what is found here is an error however it came into the image.

use crate::model::RelPath;
use crate::tree::accounts::Accounts;
use crate::tree::problem::Problems;
use crate::tree::root::{Content, Root};

/// Names of programs that run what is typed or sent to them.
const SHELLS: [&str; 11] = ["ash", "bash", "busybox", "csh", "dash", "fish", "hush", "ksh", "mksh", "sh", "zsh"];
/// Names of programs that let somebody in.
const LOGINS: [&str; 9] = ["agetty", "dropbear", "getty", "login", "sshd", "su", "sudo", "sulogin", "telnetd"];
const FOLDERS: [&str; 4] = ["usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin"];

const HELP: &str = "leave the package to a developer product, or set `production: false`";

pub fn check(root: &Root, accounts: &Accounts, problems: &mut Problems) {
    for (path, item) in &root.items {
        if matches!(item.content, Content::Folder) || !is_in_search_path(path) {
            continue;
        }
        let name = path.file_name();
        let kind = match name {
            _ if SHELLS.contains(&name) => "a shell",
            _ if LOGINS.contains(&name) => "a login",
            _ => continue,
        };
        let message = format!("a production image must not have {kind}: `/{path}` of {}", item.owner);
        problems.add_with_help(message, HELP);
    }
    for (name, user) in &accounts.users {
        if let Some(shell) = &user.shell {
            problems.add_with_help(
                format!("a production image must not have a login: user `{name}` has the shell `{shell}`"),
                HELP,
            );
        }
        if !user.ssh_keys.is_empty() {
            problems
                .add_with_help(format!("a production image must not have a login: user `{name}` has ssh keys"), HELP);
        }
    }
}

fn is_in_search_path(path: &RelPath) -> bool {
    path.parent().is_some_and(|folder| FOLDERS.contains(&folder.as_str()))
}
