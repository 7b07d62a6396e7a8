//! `update:` of a product: how its devices are brought from one release to the next.
//!
//! Invariant: field names here are those of the file; `osbuild_format::device::update` has the meaning.

use crate::config::record::{choices, record};
use crate::model::{Located, RelPath};
use osbuild_format::device::update::FullDownload;

record! {
    /// How the product is updated.
    pub struct UpdateEntry as "update" {
        /// Name of the channel that the device follows.
        "channel" channel: String,
        /// Base of the repository: `https://`, `http://` or `file:///`; without one a device never looks by itself.
        "url" url: Option<Located<String>>,
        /// File of the project with the root metadata that the device trusts; needed where there is a `url`.
        "root" root: Option<Located<RelPath>>,
        /// File of the project with certificates, PEM, that alone vouch for the repository's server.
        "ca" ca: Option<Located<RelPath>>,
        /// Whose payloads are applied: Ed25519 public keys, 64 hex digits each.
        "signers" signers: Vec<Located<String>>,
        /// Seconds between two looks.
        "check-interval" check_interval: u32 = 21600 => "21600",
        /// When a device may restart for an update.
        "window" window: Option<WindowEntry>,
        /// Seconds for which apps may put an update off.
        "defer-limit" defer_limit: u32 = 86400 => "86400",
        /// How often a new slot is started before it has to be healthy.
        "trial-boots" trial_boots: u32 = 3 => "3",
        /// What happens where no delta leads to the new release.
        "full-download" full_download: FullDownload = FullDownload::Allowed => "allowed",
        /// What has to succeed before a new slot is committed.
        "health" health: Vec<HealthEntry>,
    }
}

record! {
    /// A time of each day, UTC; it goes over midnight when it ends before it begins.
    pub struct WindowEntry as "window" {
        /// `HH:MM`.
        "from" from: Located<String>,
        /// `HH:MM`.
        "to" to: Located<String>,
    }
}

record! {
    /// A program that ends with 0 in a healthy system.
    pub struct HealthEntry as "health check" {
        /// Name for messages.
        "name" name: String,
        /// Program, with its path on the device, and arguments.
        "exec" exec: Vec<Located<String>>,
        /// Seconds that it may take.
        "timeout" timeout: u32 = 30 => "30",
    }
}

choices! { FullDownload as "full download" {
    "allowed" => Allowed, "the whole release is downloaded";
    "never" => Never, "it is reported, until somebody consents";
} }
