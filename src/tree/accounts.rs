//! The product's users and groups in, `/etc/passwd`, `group`, `shadow` and `shells` out.
//!
//! Invariants: every name and number is there once; nobody has a password: logging in, where it exists at
//! all, is by key.

use super::parameters::Product;
use super::problem::{did_you_mean, Problems};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
    pub home: String,
    pub shell: Option<String>,
    pub ssh_keys: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    pub users: BTreeMap<String, Account>,
    pub groups: BTreeMap<String, u32>,
}

/// What stands for a shell where there is no login. No such file exists, so nothing can start it.
const NO_SHELL: &str = "/usr/sbin/nologin";
const NOBODY: u32 = 65534;

impl Accounts {
    /// The product's accounts, with `root` and `nobody` where it does not define them.
    pub fn new(product: &Product, problems: &mut Problems) -> Accounts {
        let mut accounts = Accounts::default();
        accounts.groups.insert("root".to_owned(), 0);
        accounts.groups.insert("nobody".to_owned(), NOBODY);
        for (name, group) in &product.groups {
            check_name("group", name, problems);
            accounts.groups.insert(name.clone(), group.gid);
        }
        for (name, uid, home) in [("root", 0, "/root"), ("nobody", NOBODY, "/nonexistent")] {
            let account = Account { uid, gid: uid, home: home.to_owned(), shell: None, ssh_keys: Vec::new() };
            accounts.users.insert(name.to_owned(), account);
        }
        for (name, user) in &product.users {
            check_name("user", name, problems);
            for (what, path) in [("home", Some(&user.home)), ("shell", user.shell.as_ref())] {
                check_path(name, what, path, problems);
            }
            let gid = accounts.group(&user.group, &format!("user `{name}`"), problems).unwrap_or(NOBODY);
            let (home, shell) = (user.home.clone(), user.shell.clone());
            // A template may leave a key empty: nobody's.
            let keys = user.ssh_keys.iter().map(|key| key.trim().to_owned());
            let ssh_keys = keys.filter(|key| !key.is_empty()).collect();
            accounts.users.insert(name.clone(), Account { uid: user.uid, gid, home, shell, ssh_keys });
        }
        unique("users", "uid", accounts.users.iter().map(|(name, user)| (name.as_str(), user.uid)), problems);
        unique("groups", "gid", accounts.groups.iter().map(|(name, gid)| (name.as_str(), *gid)), problems);
        if accounts.users.get("root").is_some_and(|root| root.uid != 0) {
            problems.add("user `root` must have uid 0".to_owned());
        }
        accounts
    }

    /// The uid of `name`; `for_whom` begins the message when there is no such user.
    pub fn user(&self, name: &str, for_whom: &str, problems: &mut Problems) -> Option<u32> {
        let found = self.users.get(name).map(|user| user.uid);
        if found.is_none() {
            let message = format!("{for_whom} names a user that the product does not define: `{name}`");
            problems.add_with_hint(message, did_you_mean(name, self.users.keys().map(String::as_str)));
        }
        found
    }

    /// The gid of `name`.
    pub fn group(&self, name: &str, for_whom: &str, problems: &mut Problems) -> Option<u32> {
        let found = self.groups.get(name).copied();
        if found.is_none() {
            let message = format!("{for_whom} names a group that the product does not define: `{name}`");
            problems.add_with_hint(message, did_you_mean(name, self.groups.keys().map(String::as_str)));
        }
        found
    }

    pub fn passwd(&self) -> String {
        let line = |(name, user): (&str, &Account)| {
            let shell = user.shell.as_deref().unwrap_or(NO_SHELL);
            format!("{name}:x:{}:{}::{}:{shell}\n", user.uid, user.gid, user.home)
        };
        self.users_by_uid().map(line).collect()
    }

    /// `*` is a password that nothing matches; the `!` before it locks the account altogether.
    pub fn shadow(&self) -> String {
        let line = |(name, user): (&str, &Account)| {
            let password = if user.shell.is_some() { "*" } else { "!*" };
            format!("{name}:{password}:::::::\n")
        };
        self.users_by_uid().map(line).collect()
    }

    pub fn group_file(&self) -> String {
        let mut groups: Vec<_> = self.groups.iter().map(|(name, gid)| (*gid, name)).collect();
        groups.sort();
        groups.into_iter().map(|(gid, name)| format!("{name}:x:{gid}:\n")).collect()
    }

    /// The login shells, each once; ssh servers refuse any other.
    pub fn shells(&self) -> String {
        let mut shells: Vec<&str> = self.users.values().filter_map(|user| user.shell.as_deref()).collect();
        shells.sort_unstable();
        shells.dedup();
        shells.into_iter().map(|shell| format!("{shell}\n")).collect()
    }

    fn users_by_uid(&self) -> impl Iterator<Item = (&str, &Account)> {
        let mut users: Vec<_> = self.users.iter().map(|(name, user)| (name.as_str(), user)).collect();
        users.sort_by_key(|(name, user)| (user.uid, *name));
        users.into_iter()
    }
}

fn check_name(what: &str, name: &str, problems: &mut Problems) {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let rest = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b));
    if !first || !rest || name.len() > 32 {
        let help = "use 1 to 32 of a-z, 0-9, `_` and `-`, starting with a letter or `_`";
        problems.add_with_help(format!("`{name}` is not a name for a {what}"), help);
    }
}

fn check_path(user: &str, what: &str, path: Option<&String>, problems: &mut Problems) {
    let Some(path) = path else { return };
    if !path.starts_with('/') || path.contains(|c: char| c == ':' || c.is_control()) {
        problems.add(format!("the {what} of user `{user}` must be an absolute path without `:`, not `{path}`"));
    }
}

fn unique<'a>(what: &str, id: &str, numbers: impl Iterator<Item = (&'a str, u32)>, problems: &mut Problems) {
    let mut seen: BTreeMap<u32, &str> = BTreeMap::new();
    for (name, number) in numbers {
        if let Some(first) = seen.insert(number, name) {
            problems.add(format!("{what} `{first}` and `{name}` have the same {id}: {number}"));
        }
    }
}
