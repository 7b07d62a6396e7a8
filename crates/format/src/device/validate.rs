//! The rules of a device configuration, beyond its shape.
//!
//! Invariant: everything that the agent hands to the kernel (paths, names, arguments) is checked here once.

use super::{update, DeviceConfig, ServiceConfig, FORMAT};
use crate::app::{is_app_id, is_logical_name};
use crate::hex;
use std::collections::{BTreeMap, BTreeSet};

const LIMIT_SERVICES: usize = 256;
pub(super) const LIMIT_WORDS: usize = 256;
const LIMIT_TEXT_BYTES: usize = 4096;
const LIMIT_NAME_BYTES: usize = 64;
const LIMIT_NTP_SERVERS: usize = 8;
const LIMIT_APPS: usize = 64;
const LIMIT_SECONDS: u32 = 3600;
/// 2100-01-01: a floor above it would be a mistake that no true clock could ever satisfy.
const LIMIT_CLOCK_SECONDS: u64 = 4_102_444_800;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigProblem {
    #[error("this agent knows format {FORMAT}, the file has: {0}")]
    Format(u32),
    #[error("`{field}` is not usable here ({rule}): `{value}`")]
    Value { field: String, rule: &'static str, value: String },
    #[error("{count} {what} are more than the limit: {limit}")]
    TooMany { what: String, count: usize, limit: usize },
    #[error("two services have the same name: `{0}`")]
    Twice(String),
    #[error("two apps have the same id: `{0}`")]
    TwiceAnApp(String),
    #[error("service `{service}` starts after a service that does not exist: `{after}`")]
    UnknownAfter { service: String, after: String },
    #[error("services wait for each other: {}", .0.join(" after "))]
    Cycle(Vec<String>),
}

impl DeviceConfig {
    pub fn validate(&self) -> Result<(), ConfigProblem> {
        if self.format != FORMAT {
            return Err(ConfigProblem::Format(self.format));
        }
        for (field, value) in [("product", &self.product), ("machine", &self.machine)] {
            name(field, value)?;
        }
        let short = "1 to 64 printable characters without spaces";
        demand("version", &self.version, short, is_word(&self.version))?;
        demand("update_channel", &self.update_channel, short, is_word(&self.update_channel))?;
        let host = "letters, digits and hyphens, 1 to 63";
        demand("hostname", &self.hostname, host, is_hostname(&self.hostname))?;
        demand("console", &self.console, short, is_word(&self.console))?;
        at_most("NTP servers", self.ntp_servers.len(), LIMIT_NTP_SERVERS)?;
        for server in &self.ntp_servers {
            demand("ntp_servers", server, "a host name or an IPv4 address", is_domain(server))?;
        }
        let day = "YYYY-MM-DD";
        demand(
            "support_until",
            &self.support_until,
            day,
            self.support_until.is_empty() || is_day(&self.support_until),
        )?;
        seconds("health_deadline_seconds", self.health_deadline_seconds)?;
        let floor = self.clock_floor_seconds;
        demand("clock_floor_seconds", &floor.to_string(), "before the year 2100", floor < LIMIT_CLOCK_SECONDS)?;
        services(&self.services)?;
        let epoch = self.security_epoch;
        demand("security_epoch", &epoch.to_string(), "1 to 1000", (1..=update::LIMIT_EPOCH).contains(&epoch))?;
        self.update.validate()?;
        self.validate_apps()
    }

    fn validate_apps(&self) -> Result<(), ConfigProblem> {
        at_most("name servers", self.dns_servers.len(), LIMIT_NTP_SERVERS)?;
        at_most("devices", self.devices.len(), LIMIT_APPS)?;
        at_most("interfaces", self.interfaces.len(), LIMIT_APPS)?;
        at_most("apps", self.apps.len(), LIMIT_APPS)?;
        let logical = "a logical name: A-Z 0-9 _, starts with a letter, at most 31";
        for (field, name) in
            self.devices.keys().map(|n| ("devices", n)).chain(self.interfaces.keys().map(|n| ("interfaces", n)))
        {
            demand(field, name, logical, is_logical_name(name))?;
        }
        for node in self.devices.values() {
            let good = node.starts_with("/dev/") && !node.contains("..") && is_word(node);
            demand("devices", node, "a path below /dev", good)?;
        }
        for interface in self.interfaces.values() {
            let good = (1..=15).contains(&interface.len()) && is_word(interface) && !interface.contains('/');
            demand("interfaces", interface, "an interface's name, 1 to 15 characters", good)?;
        }
        let is_digest = |text: &str| hex::decode(text).is_some_and(|bytes| bytes.len() == 32);
        let digits = "64 hexadecimal digits";
        for key in self.app_signers.iter().chain(&self.capability_signers) {
            demand("app_signers", key, digits, is_digest(key))?;
        }
        let mut seen = BTreeSet::new();
        for app in &self.apps {
            demand("apps.id", &app.id, "the id of an app", is_app_id(&app.id))?;
            demand("apps.digest", &app.digest, digits, is_digest(&app.digest))?;
            if !seen.insert(app.id.as_str()) {
                return Err(ConfigProblem::TwiceAnApp(app.id.clone()));
            }
        }
        Ok(())
    }
}

fn services(services: &[ServiceConfig]) -> Result<(), ConfigProblem> {
    at_most("services", services.len(), LIMIT_SERVICES)?;
    let mut after = BTreeMap::new();
    for service in services {
        service_rules(service)?;
        if after.insert(service.name.as_str(), service.after.as_slice()).is_some() {
            return Err(ConfigProblem::Twice(service.name.clone()));
        }
    }
    for service in services {
        for earlier in &service.after {
            if !after.contains_key(earlier.as_str()) {
                return Err(ConfigProblem::UnknownAfter { service: service.name.clone(), after: earlier.clone() });
            }
        }
    }
    no_cycle(&after)
}

fn service_rules(service: &ServiceConfig) -> Result<(), ConfigProblem> {
    name("services.name", &service.name)?;
    let field = |what: &str| format!("services.{}.{what}", service.name);
    at_most(&field("argv"), service.argv.len(), LIMIT_WORDS)?;
    at_most(&field("env"), service.env.len(), LIMIT_WORDS)?;
    at_most(&field("after"), service.after.len(), LIMIT_SERVICES)?;
    let program = service.argv.first().map_or("", String::as_str);
    demand(&field("argv"), program, "the program is an absolute path", program.starts_with('/'))?;
    for word in &service.argv {
        demand(&field("argv"), word, "at most 4096 bytes, no NUL", is_text(word))?;
    }
    for (key, value) in &service.env {
        let good = !key.is_empty() && key.len() <= LIMIT_NAME_BYTES && !key.contains('=') && is_text(key);
        demand(&field("env"), key, "a variable's name", good)?;
        demand(&field("env"), value, "at most 4096 bytes, no NUL", is_text(value))?;
    }
    demand(&field("user"), &service.user, "1 to 64 printable characters without spaces", is_word(&service.user))?;
    // The kernel reads 2^32 - 1 as "leave it as it is", which here would mean root.
    for (what, id) in [("uid", service.uid), ("gid", service.gid)] {
        demand(&field(what), &id.to_string(), "less than 4294967295", id != u32::MAX)?;
    }
    seconds(&field("stop_timeout_seconds"), service.stop_timeout_seconds)?;
    let terminal = service.terminal.as_deref().unwrap_or("/dev/null");
    let good = terminal.starts_with("/dev/") && !terminal.contains("..") && is_word(terminal);
    demand(&field("terminal"), terminal, "a path below /dev", good)
}

/// Takes away services that wait for nothing until none is left; what cannot be taken away is in a cycle.
fn no_cycle(after: &BTreeMap<&str, &[String]>) -> Result<(), ConfigProblem> {
    let mut started: BTreeSet<&str> = BTreeSet::new();
    loop {
        let ready: Vec<&str> = after
            .iter()
            .filter(|(name, needs)| !started.contains(*name) && needs.iter().all(|n| started.contains(n.as_str())))
            .map(|(name, _)| *name)
            .collect();
        if ready.is_empty() {
            break;
        }
        started.extend(ready);
    }
    let Some(first) = after.keys().find(|name| !started.contains(*name)) else { return Ok(()) };
    let mut chain = vec![(*first).to_owned()];
    loop {
        let last = chain.last().expect("it starts with one").as_str();
        let next = after[last].iter().find(|n| !started.contains(n.as_str())).expect("it waits for a waiting one");
        let start = chain.iter().position(|seen| seen == next);
        chain.push(next.clone());
        if let Some(start) = start {
            return Err(ConfigProblem::Cycle(chain.split_off(start)));
        }
    }
}

pub(super) fn demand(field: &str, value: &str, rule: &'static str, good: bool) -> Result<(), ConfigProblem> {
    if good {
        return Ok(());
    }
    let value: String = value.chars().take(80).collect();
    Err(ConfigProblem::Value { field: field.to_owned(), rule, value })
}

pub(super) fn at_most(what: &str, count: usize, limit: usize) -> Result<(), ConfigProblem> {
    if count <= limit {
        return Ok(());
    }
    Err(ConfigProblem::TooMany { what: what.to_owned(), count, limit })
}

pub(super) fn name(field: &str, value: &str) -> Result<(), ConfigProblem> {
    let mut bytes = value.bytes();
    let good = value.len() <= LIMIT_NAME_BYTES
        && bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.+".contains(&b));
    demand(field, value, "1 to 64 of a-z 0-9 - _ . +", good)
}

fn seconds(field: &str, value: u32) -> Result<(), ConfigProblem> {
    demand(field, &value.to_string(), "1 to 3600 seconds", (1..=LIMIT_SECONDS).contains(&value))
}

pub(super) fn is_text(value: &str) -> bool {
    value.len() <= LIMIT_TEXT_BYTES && !value.contains('\0')
}

fn is_word(value: &str) -> bool {
    (1..=LIMIT_NAME_BYTES).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic())
}

/// One label, RFC 1123 section 2.1.
fn is_hostname(value: &str) -> bool {
    (1..=63).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !value.starts_with('-')
        && !value.ends_with('-')
}

fn is_domain(value: &str) -> bool {
    value.len() <= 253 && value.split('.').all(is_hostname)
}

fn is_day(value: &str) -> bool {
    let mut parts = value.split('-');
    let mut number = |digits: usize, range: std::ops::RangeInclusive<u32>| {
        parts.next().is_some_and(|p| p.len() == digits && p.parse().is_ok_and(|n| range.contains(&n)))
    };
    number(4, 2000..=2999) && number(2, 1..=12) && number(2, 1..=31) && parts.next().is_none()
}
