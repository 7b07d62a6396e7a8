//! A product: what is shipped on a machine.
//!
//! Invariant: inheritance and overrides are applied; every name in it exists.

use super::recipe::FileMetadata;
use super::service::Service;
use super::{AppName, Located, MachineName, Origin, PackageName, ProductName, RelPath};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub struct Product {
    pub name: ProductName,
    /// Shown in os-release and in the manifest: `MAJOR.MINOR.PATCH`.
    pub version: String,
    pub title: String,
    pub machine: MachineName,
    /// Without their run-time dependencies, which the plan adds.
    pub packages: Vec<Located<PackageName>>,
    pub groups: BTreeMap<String, Group>,
    pub users: BTreeMap<String, User>,
    pub services: BTreeMap<String, Service>,
    /// Apps of the image.
    pub apps: BTreeMap<AppName, ProductApp>,
    /// A crash loop of any app stops all apps of third parties.
    pub safe_mode: bool,
    /// Ed25519 public keys, 64 hex digits each, of those whose apps may be installed.
    pub app_signers: Vec<String>,
    /// The same of those whose capability tokens count.
    pub capability_signers: Vec<String>,
    /// Folders below `rootfs/` copied in order; a file ending in `.tera` is rendered and loses the ending.
    pub skeletons: Vec<Located<RelPath>>,
    pub metadata: Vec<FileMetadata>,
    /// Kernel fragments in addition to the machine's.
    pub kernel_fragments: Vec<String>,
    pub kernel_waivers: Vec<Waiver>,
    pub kernel_command_line: Vec<String>,
    /// Switches for recipes and templates: `features.ssh`.
    pub features: BTreeMap<String, bool>,
    /// Values for templates: `vars.hostname`.
    pub variables: BTreeMap<String, String>,
    pub hostname: String,
    pub ntp_servers: Vec<String>,
    /// Asked rather than those that DHCP names.
    pub dns_servers: Vec<std::net::Ipv4Addr>,
    /// True: refuses development keys, a shell and a login.
    pub production: bool,
    pub update: Update,
    /// Raised by a release that no device may go back behind.
    pub security_epoch: u32,
    /// Day until which security updates are promised: `YYYY-MM-DD`.
    pub support_until: String,
    pub origin: Origin,
}

/// How a product's devices are updated.
#[derive(Clone, Debug)]
pub struct Update {
    /// `stable`, `testing`: which channel the updater follows.
    pub channel: String,
    /// As the device reads it.
    pub config: osbuild_format::device::UpdateConfig,
    /// Files of the project: root metadata that the device trusts, and certificates of its server.
    pub root: Option<Located<RelPath>>,
    pub ca: Option<Located<RelPath>>,
}

/// How a product uses an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProductApp {
    pub critical: bool,
    pub third_party: bool,
    pub origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub gid: u32,
    pub origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub group: String,
    /// Absolute path.
    pub home: String,
    /// Absolute path of the login shell; none: no login.
    pub shell: Option<String>,
    /// Public keys, one `authorized_keys` line each.
    pub ssh_keys: Vec<String>,
    pub origin: Origin,
}

/// A kernel option that may differ from what a fragment asks for, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiver {
    /// `CONFIG_FOO`.
    pub option: String,
    pub reason: String,
    pub origin: Origin,
}
