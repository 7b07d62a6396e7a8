//! `products/NAME.yaml`, with what it extends, to [`Product`].
//!
//! Invariant: numbers of users and groups are distinct; a production product has no way to log in.

use super::{metadata, values, words};
use crate::config::diagnostic::{suggest, Diagnostic};
use crate::config::file::product::{ProductFile, ServiceEntry, UserEntry};
use crate::model::product::{Group, Product, ProductApp, User, Waiver};
use crate::model::service::Service;
use crate::model::{AppName, Located, Origin};
use std::collections::BTreeMap;

pub fn product(file: ProductFile, problems: &mut Vec<Diagnostic>) -> Option<Product> {
    let before = problems.len();
    version(&file, problems);
    hostname(&file, problems);
    accounts(&file, problems);
    logins(&file, problems);
    signers(&file, problems);
    let dns_servers = dns_servers(&file.dns_servers, problems);
    let apps = apps(&file, problems);
    let update = super::update::update(file.update, problems);
    let most = osbuild_format::device::update::LIMIT_EPOCH;
    if !(1..=most).contains(&file.security_epoch) {
        let message = format!("`security-epoch` has to be 1 to {most}: {}", file.security_epoch);
        problems.push(Diagnostic::at(&file.origin, message));
    }
    let services: BTreeMap<String, Service> = file
        .services
        .into_iter()
        .filter_map(|(name, entry)| Some((name.clone(), service(&name, entry, &file.users, problems)?)))
        .collect();
    for waiver in file.kernel_waivers.iter().filter(|w| !w.option.value.starts_with("CONFIG_")) {
        let problem = Diagnostic::at(&waiver.option.origin, format!("`{}` is no kernel option", waiver.option.value));
        problems.push(problem.help(format!("write `CONFIG_{}`", waiver.option.value)));
    }
    for waiver in file.kernel_waivers.iter().filter(|w| w.reason.trim().is_empty()) {
        let problem =
            Diagnostic::at(&waiver.option.origin, format!("the waiver for `{}` has no reason", waiver.option.value));
        problems.push(problem.help("say in `reason` why the option may differ from what a fragment requests"));
    }
    let waiver = |w: crate::config::file::product::WaiverEntry| Waiver {
        option: w.option.value,
        reason: w.reason,
        origin: w.option.origin,
    };
    (problems.len() == before).then(|| Product {
        origin: file.product.origin,
        name: file.product.value,
        version: file.version,
        title: file.title,
        machine: file.machine.value,
        packages: file.packages,
        groups: file.groups.into_iter().map(|(name, g)| (name, Group { gid: g.gid, origin: g.origin })).collect(),
        users: file.users.into_iter().map(|(name, entry)| (name, user(entry))).collect(),
        services,
        apps,
        safe_mode: file.safe_mode,
        app_signers: values(file.app_signers),
        capability_signers: values(file.capability_signers),
        skeletons: file.skeletons,
        metadata: file.metadata.into_iter().map(metadata).collect(),
        kernel_fragments: values(file.kernel_fragments),
        kernel_waivers: file.kernel_waivers.into_iter().map(waiver).collect(),
        kernel_command_line: file.kernel_command_line,
        features: file.features,
        variables: words(file.vars),
        hostname: file.hostname,
        ntp_servers: file.ntp_servers,
        dns_servers,
        production: file.production,
        update,
        security_epoch: file.security_epoch,
        support_until: file.support_until.0,
    })
}

fn apps(file: &ProductFile, problems: &mut Vec<Diagnostic>) -> BTreeMap<AppName, ProductApp> {
    let mut apps = BTreeMap::new();
    for (name, entry) in &file.apps {
        let (critical, third_party, origin) = (entry.critical, entry.third_party, entry.origin.clone());
        match AppName::new(name) {
            Ok(name) => drop(apps.insert(name, ProductApp { critical, third_party, origin })),
            Err(error) => problems.push(Diagnostic::at(&origin, error.to_string())),
        }
    }
    apps
}

fn signers(file: &ProductFile, problems: &mut Vec<Diagnostic>) {
    for (what, key) in file
        .app_signers
        .iter()
        .map(|key| ("app", key))
        .chain(file.capability_signers.iter().map(|key| ("capability", key)))
    {
        if osbuild_format::hex::decode(&key.value).is_none_or(|bytes| bytes.len() != 32) {
            let problem = Diagnostic::at(&key.origin, format!("not an Ed25519 public key: `{}`", key.value));
            problems
                .push(problem.help(format!("write the 64 hex digits of `{what}.pub`, which `osbuild keys` prints")));
        }
    }
}

fn dns_servers(servers: &[Located<String>], problems: &mut Vec<Diagnostic>) -> Vec<std::net::Ipv4Addr> {
    let mut addresses = Vec::new();
    for server in servers {
        match server.value.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => problems.push(
                Diagnostic::at(&server.origin, format!("`{}` is not an IPv4 address", server.value))
                    .help("a name server cannot be found by name: such as `192.0.2.53`"),
            ),
        }
    }
    addresses
}

fn version(file: &ProductFile, problems: &mut Vec<Diagnostic>) {
    let number = |part: &str| !part.is_empty() && part.len() < 10 && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = file.version.split('.').collect();
    if parts.len() != 3 || !parts.into_iter().all(number) {
        let message = format!("`{}` is not a product version", file.version);
        problems.push(Diagnostic::at(&file.origin, message).help("write `MAJOR.MINOR.PATCH`, such as \"1.0.0\""));
    }
}

/// RFC 1123, section 2.1.
fn hostname(file: &ProductFile, problems: &mut Vec<Diagnostic>) {
    let name = &file.hostname;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let edges = name.starts_with('-') || name.ends_with('-');
    if name.is_empty() || name.len() > 63 || edges || !name.bytes().all(plain) {
        let message = format!("`{name}` is not a host name: use 1 to 63 letters, digits and `-`");
        problems.push(Diagnostic::at(&file.origin, message));
    }
}

fn accounts(file: &ProductFile, problems: &mut Vec<Diagnostic>) {
    let users = file.users.iter().map(|(name, user)| (name, user.uid, &user.origin));
    let groups = file.groups.iter().map(|(name, group)| (name, group.gid, &group.origin));
    distinct("user", users.collect(), problems);
    distinct("group", groups.collect(), problems);
    for (name, user) in &file.users {
        for key in user.ssh_keys.iter().filter(|key| key.value.split_whitespace().count() < 2) {
            let problem = Diagnostic::at(&key.origin, format!("not a public key of `{name}`: {}", key.value));
            problems.push(problem.help("copy the line of a `.pub` file, such as `ssh-ed25519 AAAA... name`"));
        }
    }
}

fn distinct(what: &str, list: Vec<(&String, u32, &Origin)>, problems: &mut Vec<Diagnostic>) {
    let mut seen: BTreeMap<u32, (&str, &Origin)> = BTreeMap::new();
    for (name, number, origin) in list {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        if name.is_empty()
            || name.len() > 31
            || !name.bytes().all(plain)
            || !name.starts_with(|c: char| !c.is_ascii_digit() && c != '-')
        {
            let message = format!("`{name}` is not the name of a {what}: use a-z, 0-9, `_` and `-`");
            problems.push(Diagnostic::at(origin, message));
        }
        if number == 0 && name != "root" {
            problems.push(Diagnostic::at(origin, format!("number 0 is that of root, not of {what} `{name}`")));
        }
        if let Some((other, at)) = seen.insert(number, (name, origin)) {
            let message = format!("{what}s `{other}` and `{name}` have the same number {number}");
            problems.push(Diagnostic::at(origin, message).help(format!("the other one is at {at}")));
        }
    }
}

/// Names of what stands for "no login" elsewhere.
const NO_SHELLS: [&str; 3] = ["nonexistent", "nologin", "false"];
const NO_SHELL_NEEDED: &str = "leave `shell` out: a user without one cannot log in";

/// A production product has neither shells nor keys that let someone in.
fn logins(file: &ProductFile, problems: &mut Vec<Diagnostic>) {
    if !file.production {
        return;
    }
    let help = "set `production: false`, or make a developer product that extends this one";
    for (name, user) in &file.users {
        let what = match (&user.shell, user.ssh_keys.first()) {
            (Some(_), _) => "a login shell",
            (None, Some(_)) => "ssh keys",
            (None, None) => continue,
        };
        let message = format!("user `{name}` has {what} in a production product");
        let help = match &user.shell {
            // As other systems write "no login".
            Some(shell) if NO_SHELLS.contains(&shell.0.file_name()) => NO_SHELL_NEEDED,
            _ => help,
        };
        problems.push(Diagnostic::at(&user.origin, message).help(help));
    }
    for (name, service) in file.services.iter().filter(|(_, service)| service.terminal.is_some()) {
        let message = format!("service `{name}` has a terminal in a production product");
        problems.push(Diagnostic::at(&service.origin, message).help(help));
    }
}

fn user(entry: UserEntry) -> User {
    User {
        uid: entry.uid,
        group: entry.group.value.0,
        home: format!("/{}", entry.home.0),
        shell: entry.shell.map(|shell| format!("/{}", shell.0)),
        ssh_keys: values(entry.ssh_keys),
        origin: entry.origin,
    }
}

fn service(
    name: &str,
    entry: ServiceEntry,
    users: &BTreeMap<String, UserEntry>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Service> {
    match entry.exec.first() {
        None => {
            problems.push(Diagnostic::at(&entry.origin, format!("service `{name}` has nothing to run in `exec`")));
            return None;
        }
        Some(program) if !program.value.starts_with('/') => {
            let message = format!("`{}` is not an absolute path", program.value);
            problems.push(Diagnostic::at(&program.origin, message).help("such as `/usr/sbin/dropbear`"));
            return None;
        }
        Some(_) => {}
    }
    let user = entry.user.map_or_else(|| "root".to_owned(), |user| user.value.0);
    let own_group = || users.get(&user).map_or_else(|| "root".to_owned(), |user| user.group.value.0.clone());
    Some(Service {
        group: entry.group.map_or_else(own_group, |group| group.value.0),
        user,
        argv: values(entry.exec),
        env: words(entry.env),
        after: values(entry.after),
        restart: entry.restart,
        stop_timeout_seconds: entry.stop_timeout,
        terminal: entry.terminal.map(|terminal| format!("/{}", terminal.0)),
        critical: entry.critical,
        origin: entry.origin,
    })
}

/// The users, and groups, that every image has.
pub const BUILT_IN: [&str; 2] = ["root", "nobody"];

/// Users, groups and services that the product names but does not have.
pub fn check_accounts(file: &ProductFile, problems: &mut Vec<Diagnostic>) {
    let users: Vec<&str> = file.users.keys().map(String::as_str).chain(BUILT_IN).collect();
    let groups: Vec<&str> = file.groups.keys().map(String::as_str).chain(BUILT_IN).collect();
    let services: Vec<&str> = file.services.keys().map(String::as_str).collect();
    let mut check = |what: &str, name: &str, origin: &Origin, known: &[&str]| {
        if !known.contains(&name) {
            let problem = Diagnostic::at(origin, format!("the product has no {what} `{name}`"));
            problems.push(problem.maybe_help(suggest(name, known.iter().copied())));
        }
    };
    for user in file.users.values() {
        check("group", &user.group.value.0, &user.group.origin, &groups);
    }
    for service in file.services.values() {
        service.user.iter().for_each(|user| check("user", &user.value.0, &user.origin, &users));
        service.group.iter().for_each(|group| check("group", &group.value.0, &group.origin, &groups));
        service.after.iter().for_each(|after| check("service", &after.value, &after.origin, &services));
    }
    for entry in &file.metadata {
        entry.user.iter().for_each(|user| check("user", &user.value, &user.origin, &users));
        entry.group.iter().for_each(|group| check("group", &group.value, &group.origin, &groups));
    }
}
