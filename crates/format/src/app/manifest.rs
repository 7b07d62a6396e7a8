//! The manifest's fields.
//!
//! Invariant: every field that grants something defaults to nothing.

use super::{ManifestProblem, LIMIT_BYTES};
use crate::device::Restart;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`super::FORMAT`].
    pub format: u32,
    /// `a-z 0-9 -`, starts with a letter, at most 31.
    pub id: String,
    /// `MAJOR.MINOR.PATCH`.
    pub version: String,
    /// Name for people.
    pub title: String,
    /// As in GNU triplets: `x86_64`.
    pub architecture: String,
    /// What the app needs of the operating system, see [`super::abi`]: name to number.
    pub abi: BTreeMap<String, u32>,
    pub image: ImageFacts,
    /// Program and arguments; the program is an absolute path in the image.
    pub argv: Vec<String>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    #[serde(default)]
    pub capabilities: Capabilities,
    #[serde(default)]
    pub limits: Limits,
    /// When it counts as started.
    #[serde(default)]
    pub ready: Readiness,
    /// How the agent finds out that it works.
    #[serde(default)]
    pub health: Option<Health>,
    #[serde(default)]
    pub restart: Restart,
    #[serde(default)]
    pub crash_loop: CrashLoop,
    /// Apps that must be ready before, where they are installed.
    #[serde(default)]
    pub after: Vec<String>,
    /// Seconds between SIGTERM and SIGKILL.
    #[serde(default = "stop_timeout")]
    pub stop_timeout_seconds: u32,
    /// Whether a crash leaves a core file in the app's storage.
    #[serde(default)]
    pub core_dumps: bool,
}

/// What the image is: dm-verity of version 1, SHA-256, blocks of 4096 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageFacts {
    /// Blocks of the EROFS image.
    pub data_blocks: u64,
    /// 64 hexadecimal digits.
    pub root_hash: String,
    /// Hexadecimal digits, at most 64.
    pub salt: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Capabilities {
    /// Outgoing connections.
    pub connect: Vec<Connection>,
    /// Ports on which it accepts connections.
    pub listen: Vec<Listening>,
    /// Apps to which it may connect.
    pub apps: Vec<AppConnection>,
    /// Quota of its own storage at [`super::STORAGE`]; 0: it has none.
    pub storage_bytes: u64,
    /// Logical names, such as `STATUS_LED`, each found at `/dev/app/NAME`.
    pub devices: Vec<String>,
    /// Network interfaces that become the app's own.
    pub interfaces: Vec<InterfaceUse>,
    /// May read [`super::IDENTITY`].
    pub device_identity: bool,
    /// May set the system's clock, through the agent.
    pub set_time: bool,
    /// May put updates off, through the agent.
    pub defer_updates: bool,
    /// May restart the device, through the agent.
    pub reboot: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    Tcp,
    Udp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// A host name, or an IPv4 address.
    pub host: String,
    pub port: u16,
    pub protocol: Protocol,
    /// A host name may resolve to an address of a private network (RFC 1918). Never to one of this device.
    #[serde(default)]
    pub private: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listening {
    pub port: u16,
    pub protocol: Protocol,
    pub from: ListenFrom,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListenFrom {
    /// Apps that name this app and port.
    Apps,
    /// Those, and every host that reaches the device: the port is the device's.
    Network,
    /// Whoever is on an interface that is the app's own, and nobody else.
    Interface,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppConnection {
    pub app: String,
    pub port: u16,
    pub protocol: Protocol,
}

/// The interface moves into the app's network; the rest of the system no longer sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterfaceUse {
    /// Logical name, such as `DOWNSTREAM`.
    pub name: String,
    /// The app's own address there.
    pub address: std::net::Ipv4Addr,
    /// Bits of the network's mask.
    pub prefix: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub memory_bytes: u64,
    /// Hundredths of one processor: 150 is one and a half.
    pub cpu_percent: u32,
    /// Processes and threads.
    pub processes: u32,
    /// Open files of each process.
    pub files: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Readiness {
    /// It runs.
    #[default]
    Started,
    /// It has said `READY=1`, sd_notify(3).
    Notify,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Health {
    /// It says `WATCHDOG=1` at least this often, or is ended.
    Watchdog { seconds: u32 },
    /// It accepts a TCP connection, which is tried this often; after three in vain it is ended.
    Tcp { port: u16, seconds: u32 },
}

/// More ends than this within the window, and the app is in a crash loop: it is not started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CrashLoop {
    pub ends: u32,
    pub window_seconds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { memory_bytes: 32 << 20, cpu_percent: 100, processes: 32, files: 256 }
    }
}

impl Default for CrashLoop {
    fn default() -> Self {
        CrashLoop { ends: 5, window_seconds: 600 }
    }
}

fn stop_timeout() -> u32 {
    10
}

#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("the app's manifest has {0} bytes; the limit is {LIMIT_BYTES}")]
    TooLong(usize),
    #[error("the app's manifest is not valid JSON of the expected shape")]
    Shape(#[source] serde_json::Error),
    #[error("the app's manifest breaks a rule")]
    Rule(#[from] ManifestProblem),
}

impl Manifest {
    /// Parses and validates.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > LIMIT_BYTES {
            return Err(ManifestError::TooLong(bytes.len()));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(ManifestError::Shape)?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// Validates and serialises: the same value gives the same bytes.
    pub fn to_json(&self) -> Result<Vec<u8>, ManifestError> {
        self.validate()?;
        let bytes = serde_json::to_vec(self).map_err(ManifestError::Shape)?;
        match bytes.len() {
            length if length > LIMIT_BYTES => Err(ManifestError::TooLong(length)),
            _ => Ok(bytes),
        }
    }

    /// Whether it has a network of its own that leads anywhere.
    pub fn uses_network(&self) -> bool {
        let c = &self.capabilities;
        !(c.connect.is_empty() && c.listen.is_empty() && c.apps.is_empty() && c.interfaces.is_empty())
    }
}
