//! The parameters of the steps `rootfs` and `app-root`, as the plan writes them.
//!
//! Invariant: an unknown field is an error, so plan and step cannot drift apart unseen.

use osbuild_format::device::{Restart, UpdateConfig};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// The tree of each is at `packages/NAME` of the input root.
    pub packages: Vec<Package>,
    /// In the order in which they are laid over the packages.
    pub skeletons: Vec<Skeleton>,
    pub product: Product,
    /// Of the product; it overrides that of packages.
    pub metadata: Vec<Metadata>,
}

/// Of the step `app-root`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppParameters {
    pub id: String,
    /// Absolute path in the app's root.
    pub program: String,
    /// Where the app was defined, for messages.
    pub origin: String,
    /// The product is what templates see; nothing else of it comes in.
    pub root: Parameters,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    pub name: String,
    pub recipe: String,
    pub version: String,
    /// SPDX licence expression.
    pub license: String,
    /// Where it was defined, for messages.
    pub origin: String,
    #[serde(default)]
    pub run_depends: Vec<String>,
    #[serde(default)]
    pub metadata: Vec<Metadata>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skeleton {
    /// Where its tree is in the input root.
    pub input: String,
    /// Project path, for messages.
    pub path: String,
}

/// Ownership and mode of one path, or of a device node to create.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// Relative to the root.
    pub path: String,
    pub user: Option<String>,
    pub group: Option<String>,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: Option<u32>,
    #[serde(default)]
    pub xattrs: BTreeMap<String, Bytes>,
    pub device: Option<Device>,
    pub origin: String,
}

/// Any bytes, as hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Bytes(pub Vec<u8>);

impl TryFrom<String> for Bytes {
    type Error = hex::FromHexError;

    fn try_from(digits: String) -> Result<Bytes, Self::Error> {
        hex::decode(digits).map(Bytes)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.0) {
            Ok(text) if !text.contains(char::is_control) => write!(f, "`{text}`"),
            _ => write!(f, "0x{}", hex::encode(&self.0)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    pub block: bool,
    pub major: u32,
    pub minor: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    pub name: String,
    pub version: String,
    pub title: String,
    pub machine: String,
    /// As in GNU triplets: `x86_64`.
    pub architecture: String,
    pub console: String,
    pub hostname: String,
    pub ntp_servers: Vec<String>,
    pub production: bool,
    pub features: BTreeMap<String, bool>,
    pub variables: BTreeMap<String, String>,
    pub update_channel: String,
    /// `YYYY-MM-DD` or empty.
    pub support_until: String,
    pub groups: BTreeMap<String, Group>,
    pub users: BTreeMap<String, User>,
    pub services: BTreeMap<String, Service>,
    /// The file of each is at `apps/ID.app` of the input root, its digest and packages beside it.
    #[serde(default)]
    pub apps: BTreeMap<String, App>,
    #[serde(default)]
    pub safe_mode: bool,
    #[serde(default)]
    pub app_signers: Vec<String>,
    #[serde(default)]
    pub capability_signers: Vec<String>,
    #[serde(default)]
    pub dns_servers: Vec<Ipv4Addr>,
    /// Of the machine: logical name to node, and to the kernel's name of an interface.
    #[serde(default)]
    pub devices: BTreeMap<String, String>,
    #[serde(default)]
    pub interfaces: BTreeMap<String, String>,
    #[serde(default = "first_epoch")]
    pub security_epoch: u32,
    /// Root metadata and certificates are at `update/root.json` and `update/ca.pem` of the input root, where there are some.
    #[serde(default)]
    pub update: UpdateConfig,
}

fn first_epoch() -> u32 {
    1
}

/// How the product uses an app.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    pub version: String,
    pub critical: bool,
    pub third_party: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub gid: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub uid: u32,
    pub group: String,
    pub home: String,
    /// None: no login.
    pub shell: Option<String>,
    #[serde(default)]
    pub ssh_keys: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    pub argv: Vec<String>,
    pub user: String,
    pub group: String,
    pub env: BTreeMap<String, String>,
    pub after: Vec<String>,
    pub restart: Restart,
    pub stop_timeout_seconds: u32,
    pub terminal: Option<String>,
    pub critical: bool,
    pub origin: String,
}
