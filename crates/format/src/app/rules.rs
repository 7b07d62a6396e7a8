//! The rules of a manifest, beyond its shape.
//!
//! Invariant: everything that the agent hands to the kernel, or makes a path of, is checked here once.

use super::{Capabilities, Health, Limits, Manifest, FORMAT};
use std::collections::BTreeSet;

const LIMIT_WORDS: usize = 256;
const LIMIT_TEXT_BYTES: usize = 4096;
const LIMIT_ID_BYTES: usize = 31;
const LIMIT_LISTS: usize = 64;
const LIMIT_SECONDS: u32 = 3600;
const LIMIT_STOP_SECONDS: u32 = 120;
/// 16 GiB of blocks of 4096 bytes.
const LIMIT_BLOCKS: u64 = 1 << 22;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestProblem {
    #[error("this reader knows format {FORMAT}, the manifest has: {0}")]
    Format(u32),
    #[error("`{field}` is not usable here ({rule}): `{value}`")]
    Value { field: &'static str, rule: &'static str, value: String },
    #[error("{count} in `{field}` are more than the limit: {limit}")]
    TooMany { field: &'static str, count: usize, limit: usize },
    #[error("`{field}` names this twice: `{value}`")]
    Twice { field: &'static str, value: String },
}

/// `MAJOR.MINOR.PATCH`, to compare.
pub type Version = (u32, u32, u32);

pub fn parse_version(text: &str) -> Option<Version> {
    let mut parts = text.split('.');
    let mut next = || {
        let part = parts.next()?;
        let number: u32 = part.parse().ok()?;
        // One spelling for each number.
        (number.to_string() == part).then_some(number)
    };
    let version = (next()?, next()?, next()?);
    parts.next().is_none().then_some(version)
}

/// `a-z 0-9 -`, starts with a letter, does not end in `-`, at most 31.
pub fn is_app_id(text: &str) -> bool {
    text.len() <= LIMIT_ID_BYTES
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// `A-Z 0-9 _`, starts with a letter, at most 31.
pub fn is_logical_name(text: &str) -> bool {
    text.len() <= LIMIT_ID_BYTES
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

impl Manifest {
    pub fn validate(&self) -> Result<(), ManifestProblem> {
        if self.format != FORMAT {
            return Err(ManifestProblem::Format(self.format));
        }
        demand("id", &self.id, "a-z 0-9 -, starts with a letter, at most 31", is_app_id(&self.id))?;
        let version = "MAJOR.MINOR.PATCH";
        demand("version", &self.version, version, parse_version(&self.version).is_some())?;
        let printable = |text: &str| !text.is_empty() && text.len() <= 128 && !text.contains(char::is_control);
        demand("title", &self.title, "1 to 128 printable bytes", printable(&self.title))?;
        let cpu = self.architecture.as_str();
        demand("architecture", cpu, "x86_64 or aarch64", ["x86_64", "aarch64"].contains(&cpu))?;
        at_most("abi", self.abi.len(), LIMIT_LISTS)?;
        for name in self.abi.keys() {
            demand("abi", name, "a-z 0-9 -, starts with a letter, at most 31", is_app_id(name))?;
        }
        self.image()?;
        self.program()?;
        capabilities(&self.capabilities)?;
        limits(&self.limits)?;
        match &self.health {
            Some(Health::Watchdog { seconds: every } | Health::Tcp { seconds: every, .. }) => {
                seconds("health", *every)?
            }
            None => {}
        }
        if let Some(Health::Tcp { port, .. }) = &self.health {
            demand("health", &port.to_string(), "a port", *port != 0)?;
        }
        let ends = self.crash_loop.ends;
        demand("crash_loop.ends", &ends.to_string(), "1 to 100", (1..=100).contains(&ends))?;
        seconds("crash_loop.window_seconds", self.crash_loop.window_seconds)?;
        at_most("after", self.after.len(), LIMIT_LISTS)?;
        for app in &self.after {
            demand("after", app, "the id of another app", is_app_id(app) && *app != self.id)?;
        }
        once("after", self.after.iter().cloned())?;
        let has_place = !self.core_dumps || self.capabilities.storage_bytes > 0;
        demand("core_dumps", "true", "core files go to the app's storage, which it has to have", has_place)?;
        let stop = self.stop_timeout_seconds;
        let most = (1..=LIMIT_STOP_SECONDS).contains(&stop);
        demand(
            "stop_timeout_seconds",
            &stop.to_string(),
            "1 to 120 seconds: the system waits for it when it stops",
            most,
        )
    }

    fn image(&self) -> Result<(), ManifestProblem> {
        let (image, hex) =
            (&self.image, |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
        let blocks = image.data_blocks;
        demand("image.data_blocks", &blocks.to_string(), "1 to 4194304", (1..=LIMIT_BLOCKS).contains(&blocks))?;
        let root_hash = image.root_hash.len() == 64 && hex(&image.root_hash);
        demand("image.root_hash", &image.root_hash, "64 hexadecimal digits", root_hash)?;
        let salt = image.salt.len() <= 64 && image.salt.len() % 2 == 0 && hex(&image.salt);
        demand("image.salt", &image.salt, "at most 64 hexadecimal digits", salt)
    }

    fn program(&self) -> Result<(), ManifestProblem> {
        at_most("argv", self.argv.len(), LIMIT_WORDS)?;
        at_most("env", self.env.len(), LIMIT_WORDS)?;
        let program = self.argv.first().map_or("", String::as_str);
        demand("argv", program, "the program is an absolute path", program.starts_with('/'))?;
        for word in self.argv.iter().chain(self.env.values()) {
            demand("argv", word, "at most 4096 bytes, no NUL", word.len() <= LIMIT_TEXT_BYTES && !word.contains('\0'))?;
        }
        for name in self.env.keys() {
            let good = (1..=64).contains(&name.len()) && !name.contains(['=', '\0']);
            demand("env", name, "a variable's name", good)?;
        }
        Ok(())
    }
}

fn capabilities(capabilities: &Capabilities) -> Result<(), ManifestProblem> {
    let c = capabilities;
    let port = |field, port: u16| demand(field, &port.to_string(), "a port, 1 to 65535", port != 0);
    for (field, count) in [
        ("connect", c.connect.len()),
        ("listen", c.listen.len()),
        ("apps", c.apps.len()),
        ("devices", c.devices.len()),
        ("interfaces", c.interfaces.len()),
    ] {
        at_most(field, count, LIMIT_LISTS)?;
    }
    for connection in &c.connect {
        demand("connect", &connection.host, "a host name or an IPv4 address", is_host(&connection.host))?;
        port("connect", connection.port)?;
    }
    for listening in &c.listen {
        port("listen", listening.port)?;
    }
    for other in &c.apps {
        demand("apps", &other.app, "the id of an app", is_app_id(&other.app))?;
        port("apps", other.port)?;
    }
    for name in c.devices.iter().chain(c.interfaces.iter().map(|interface| &interface.name)) {
        demand("devices", name, "a logical name: A-Z 0-9 _, at most 31", is_logical_name(name))?;
    }
    for interface in &c.interfaces {
        let prefix = interface.prefix;
        demand("interfaces", &prefix.to_string(), "a prefix of 8 to 30 bits", (8..=30).contains(&prefix))?;
    }
    let key = |port: u16, protocol| format!("{port}/{protocol:?}");
    once("connect", c.connect.iter().map(|x| format!("{}:{}", x.host, key(x.port, x.protocol))))?;
    once("listen", c.listen.iter().map(|x| key(x.port, x.protocol)))?;
    once("apps", c.apps.iter().map(|x| format!("{}:{}", x.app, key(x.port, x.protocol))))?;
    once("devices", c.devices.iter().cloned())?;
    once("interfaces", c.interfaces.iter().map(|x| x.name.clone()))
}

fn limits(limits: &Limits) -> Result<(), ManifestProblem> {
    let memory = limits.memory_bytes;
    demand("limits.memory_bytes", &memory.to_string(), "at least 1 MiB", (1 << 20..=1 << 40).contains(&memory))?;
    let rest = [
        ("limits.cpu_percent", limits.cpu_percent, 1, 100_000),
        ("limits.processes", limits.processes, 1, 32_768),
        ("limits.files", limits.files, 8, 65_536),
    ];
    for (field, value, least, most) in rest {
        demand(field, &value.to_string(), "within the limits of the format", (least..=most).contains(&value))?;
    }
    Ok(())
}

fn demand(field: &'static str, value: &str, rule: &'static str, good: bool) -> Result<(), ManifestProblem> {
    if good {
        return Ok(());
    }
    Err(ManifestProblem::Value { field, rule, value: value.chars().take(80).collect() })
}

fn at_most(field: &'static str, count: usize, limit: usize) -> Result<(), ManifestProblem> {
    if count <= limit {
        return Ok(());
    }
    Err(ManifestProblem::TooMany { field, count, limit })
}

fn once(field: &'static str, values: impl Iterator<Item = String>) -> Result<(), ManifestProblem> {
    let mut seen = BTreeSet::new();
    for value in values {
        if !seen.insert(value.clone()) {
            return Err(ManifestProblem::Twice { field, value });
        }
    }
    Ok(())
}

fn seconds(field: &'static str, value: u32) -> Result<(), ManifestProblem> {
    demand(field, &value.to_string(), "1 to 3600 seconds", (1..=LIMIT_SECONDS).contains(&value))
}

/// Labels of RFC 1123 section 2.1; an IPv4 address is made of such labels, too.
fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}
