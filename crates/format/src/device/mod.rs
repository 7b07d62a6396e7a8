//! `/usr/lib/osbuild/device.json`: what the agent has to know about its product, to and from JSON.
//!
//! Invariant: a value that came out of [`DeviceConfig::from_json`] keeps every rule of [`DeviceConfig::validate`].

pub mod update;
mod validate;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

pub use update::UpdateConfig;
pub use validate::ConfigProblem;

/// Where the file lies on the device.
pub const PATH: &str = "/usr/lib/osbuild/device.json";
/// Where the image's apps lie, each as `ID.app`.
pub const APPS: &str = "/usr/lib/osbuild/apps";
/// The only version of the format so far.
pub const FORMAT: u32 = 1;
/// A longer file is refused before it is parsed.
pub const LIMIT_BYTES: usize = 1 << 20;

/// 2026-01-01T00:00:00Z: no release is older, so no true clock shows less.
const CLOCK_FLOOR_SECONDS: u64 = 1_767_225_600;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceConfig {
    /// [`FORMAT`].
    pub format: u32,
    pub product: String,
    /// `MAJOR.MINOR.PATCH` of the product.
    pub version: String,
    pub machine: String,
    pub hostname: String,
    /// Kernel console, such as `ttyS0,115200`.
    pub console: String,
    /// Host names or IPv4 addresses, tried in order.
    #[serde(default)]
    pub ntp_servers: Vec<String>,
    #[serde(default)]
    pub production: bool,
    #[serde(default = "stable")]
    pub update_channel: String,
    /// Last day of security updates, `YYYY-MM-DD`; empty: not promised.
    #[serde(default)]
    pub support_until: String,
    /// Seconds from the agent's start until the system must be healthy; it reboots otherwise.
    #[serde(default = "health_deadline")]
    pub health_deadline_seconds: u32,
    /// Seconds since 1970 below which no clock is believed.
    #[serde(default = "clock_floor")]
    pub clock_floor_seconds: u64,
    /// In any order; each name once.
    #[serde(default)]
    pub services: Vec<ServiceConfig>,
    /// Name servers that are asked rather than those that DHCP names.
    #[serde(default)]
    pub dns_servers: Vec<Ipv4Addr>,
    /// What apps know by a logical name, such as `STATUS_LED`, to its device node.
    #[serde(default)]
    pub devices: BTreeMap<String, String>,
    /// Network interfaces that an app may own: logical name to the kernel's.
    #[serde(default)]
    pub interfaces: BTreeMap<String, String>,
    /// Apps of the image, each once.
    #[serde(default)]
    pub apps: Vec<AppConfig>,
    /// Ed25519 public keys, 64 hexadecimal digits each, of those whose apps may be installed.
    #[serde(default)]
    pub app_signers: Vec<String>,
    /// The same of those whose capability tokens count.
    #[serde(default)]
    pub capability_signers: Vec<String>,
    /// A crash loop of any app stops all apps of third parties.
    #[serde(default)]
    pub safe_mode: bool,
    /// Of this release. A device that has committed a release takes none with a lower one.
    #[serde(default = "first_epoch")]
    pub security_epoch: u32,
    #[serde(default)]
    pub update: UpdateConfig,
}

/// An app of the image, in the file `/usr/lib/osbuild/apps/ID.app`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppConfig {
    pub id: String,
    /// SHA-256 of the manifest, 64 hexadecimal digits.
    pub digest: String,
    /// Not needed for the product's own purpose: it does not run in safe mode.
    #[serde(default)]
    pub third_party: bool,
    /// The system is healthy only while this app is up.
    #[serde(default)]
    pub critical: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    pub name: String,
    /// Program and arguments; the program is an absolute path.
    pub argv: Vec<String>,
    /// Name of the user with [`ServiceConfig::uid`]: becomes `USER` and `LOGNAME`.
    pub user: String,
    pub uid: u32,
    pub gid: u32,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Names of services that must be up before.
    #[serde(default)]
    pub after: Vec<String>,
    #[serde(default)]
    pub restart: Restart,
    /// Seconds between SIGTERM and SIGKILL.
    #[serde(default = "stop_timeout")]
    pub stop_timeout_seconds: u32,
    /// Device that becomes standard input, output and the controlling terminal, such as `/dev/console`.
    #[serde(default)]
    pub terminal: Option<String>,
    /// The system is healthy only while this service is up.
    #[serde(default)]
    pub critical: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    #[default]
    Always,
    /// After a signal or an exit code other than 0.
    OnFailure,
    Never,
}

#[derive(Debug, thiserror::Error)]
pub enum DeviceConfigError {
    #[error("the device configuration has {0} bytes; the limit is {LIMIT_BYTES}")]
    TooLong(usize),
    #[error("the device configuration is not valid JSON of the expected shape")]
    Shape(#[source] serde_json::Error),
    #[error("the device configuration breaks a rule")]
    Rule(#[source] ConfigProblem),
}

impl DeviceConfig {
    /// Parses and validates.
    pub fn from_json(bytes: &[u8]) -> Result<Self, DeviceConfigError> {
        if bytes.len() > LIMIT_BYTES {
            return Err(DeviceConfigError::TooLong(bytes.len()));
        }
        let config: Self = serde_json::from_slice(bytes).map_err(DeviceConfigError::Shape)?;
        config.validate().map_err(DeviceConfigError::Rule)?;
        Ok(config)
    }

    /// Validates and serialises: the same value gives the same bytes.
    pub fn to_json(&self) -> Result<Vec<u8>, DeviceConfigError> {
        self.validate().map_err(DeviceConfigError::Rule)?;
        let mut bytes = serde_json::to_vec_pretty(self).map_err(DeviceConfigError::Shape)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

fn stable() -> String {
    "stable".to_owned()
}

fn first_epoch() -> u32 {
    1
}

fn health_deadline() -> u32 {
    60
}

fn clock_floor() -> u64 {
    CLOCK_FLOOR_SECONDS
}

fn stop_timeout() -> u32 {
    10
}
