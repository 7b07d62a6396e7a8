//! `products/NAME.yaml`: what is shipped on a machine.
//!
//! Invariant: field names here are those of the file; [`crate::model::product`] has the meaning.

use super::overriding::Tree;
use super::recipe::MetadataEntry;
use super::scalar::{Account, Date, DevicePath, Schema, Word};
use super::update::UpdateEntry;
use crate::config::record::{choices, record};
use crate::model::service::Restart;
use crate::model::{Located, MachineName, PackageName, ProductName, RelPath};
use std::collections::BTreeMap;

record! {
    /// What is shipped: a machine, packages, users, services and settings.
    ///
    /// A product stands in `layers/LAYER/products/NAME.yaml`. One that extends another takes over all its
    /// fields: what it says itself replaces values and lists, mappings are merged key by key, and `append` and
    /// `remove` change lists. In every value, `{{ version }}`, `{{ product }}`, `{{ machine }}`,
    /// `{{ architecture }}`, `{{ vars.NAME }}` and `{{ features.NAME }}` may be used; an item of a list whose
    /// template renders to nothing is left out.
    pub struct ProductFile as "product" {
        /// Version of this format: 1.
        "schema" schema: Schema,
        /// Name of the product, the same as its file's.
        "product" product: Located<ProductName>,
        /// The product this one is a variant of.
        "extends" extends: Option<Located<ProductName>>,
        /// Items to add to lists of the extended product.
        "append" append: Option<Tree>,
        /// Items to take from lists, and keys to take from mappings, of the extended product.
        "remove" remove: Option<Tree>,
        /// Name for people.
        "title" title: String,
        /// Version of the product, `MAJOR.MINOR.PATCH`.
        "version" version: String,
        /// The machine it runs on.
        "machine" machine: Located<MachineName>,
        /// Packages of the image; what they need at run time is added.
        "packages" packages: Vec<Located<PackageName>>,
        /// Groups, besides `root` and `nobody`.
        "groups" groups: BTreeMap<String, GroupEntry>,
        /// Users, besides `nobody`; `root` is there always, but cannot log in unless it is described here.
        "users" users: BTreeMap<String, UserEntry>,
        /// Programs that the agent keeps running.
        "services" services: BTreeMap<String, ServiceEntry>,
        /// Apps of the image, by name.
        "apps" apps: BTreeMap<String, ProductAppEntry>,
        /// True: a crash loop of any app stops all apps of third parties.
        "safe-mode" safe_mode: bool = false => "false",
        /// Whose apps may be installed on the device: Ed25519 public keys, 64 hex digits each.
        "app-signers" app_signers: Vec<Located<String>>,
        /// Whose capability tokens count, in the same way.
        "capability-signers" capability_signers: Vec<Located<String>>,
        /// Folders of the project copied into the root filesystem in order; `*.tera` files are rendered.
        "skeletons" skeletons: Vec<Located<RelPath>>,
        /// Owners, modes and attributes of paths of the image.
        "metadata" metadata: Vec<MetadataEntry>,
        /// Files of `kernel-config/` besides the machine's.
        "kernel-fragments" kernel_fragments: Vec<Located<String>>,
        /// Kernel options that may differ from what a fragment asks for.
        "kernel-waivers" kernel_waivers: Vec<WaiverEntry>,
        /// Words of the kernel command line, after the machine's.
        "kernel-command-line" kernel_command_line: Vec<String>,
        /// Switches for templates and overrides.
        "features" features: BTreeMap<String, bool>,
        /// Values for templates.
        "vars" vars: BTreeMap<String, Word>,
        /// Host name of the device.
        "hostname" hostname: String,
        /// Time servers.
        "ntp-servers" ntp_servers: Vec<String>,
        /// Name servers that are asked rather than those that DHCP names: IPv4 addresses.
        "dns-servers" dns_servers: Vec<Located<String>>,
        /// True: a shell and a login are refused, and development keys where `OSBUILD_KEYS` names them.
        "production" production: bool = false => "false",
        /// How the product is updated.
        "update" update: Option<UpdateEntry>,
        /// Raised by a release that no device may go back behind.
        "security-epoch" security_epoch: u32 = 1 => "1",
        /// Day until which security updates are promised.
        "support-until" support_until: Date,
    }
}

record! {
    /// A group of users.
    pub struct GroupEntry as "group" {
        /// Number of the group.
        "gid" gid: u32,
    }
}

record! {
    /// A user.
    pub struct UserEntry as "user" {
        /// Number of the user.
        "uid" uid: u32,
        /// Name of its group.
        "group" group: Located<Account>,
        /// Home folder.
        "home" home: DevicePath = DevicePath(RelPath::new("nonexistent").expect("a valid path")) => "/nonexistent",
        /// Login shell; without one the user cannot log in.
        "shell" shell: Option<DevicePath>,
        /// Public keys that may log in, one `authorized_keys` line each.
        "ssh-keys" ssh_keys: Vec<Located<String>>,
    }
}

record! {
    /// A program that the agent keeps running.
    pub struct ServiceEntry as "service" {
        /// Program, with its path on the device, and arguments.
        "exec" exec: Vec<Located<String>>,
        /// User it runs as.
        "user" user: Option<Located<Account>>,
        /// Group it runs as; the user's own when not given.
        "group" group: Option<Located<Account>>,
        /// Environment.
        "env" env: BTreeMap<String, Word>,
        /// Services that must have started before.
        "after" after: Vec<Located<String>>,
        /// When it is started again.
        "restart" restart: Restart = Restart::Always => "always",
        /// Seconds from SIGTERM to SIGKILL.
        "stop-timeout" stop_timeout: u32 = 10 => "10",
        /// A terminal to attach to, such as `/dev/console`.
        "terminal" terminal: Option<DevicePath>,
        /// True: the system is healthy only while it runs.
        "critical" critical: bool = false => "false",
    }
}

record! {
    /// An app of the image.
    pub struct ProductAppEntry as "app of a product" {
        /// True: the system is healthy only while it is up.
        "critical" critical: bool = false => "false",
        /// True: the product's own purpose does not need it, and it does not run in safe mode.
        "third-party" third_party: bool = false => "false",
    }
}

record! {
    /// A kernel option that may differ, and why.
    pub struct WaiverEntry as "kernel waiver" {
        /// Name of the option, `CONFIG_...`.
        "option" option: Located<String>,
        /// Why it may.
        "reason" reason: String,
    }
}

choices! { Restart as "restart policy" {
    "always" => Always, "whenever it ends";
    "on-failure" => OnFailure, "when it ends with an error";
    "never" => Never, "never";
} }
