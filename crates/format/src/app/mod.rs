//! An app as a signed image of its own: what its manifest says, and the file that carries both.
//!
//! Invariant: a [`Manifest`] that came out of [`Manifest::from_json`] keeps every rule of [`Manifest::validate`]; what a
//! manifest does not name, the app does not have.

pub mod abi;
mod manifest;
pub mod package;
pub mod policy;
mod rules;
pub mod token;

#[cfg(test)]
mod tests;

pub use manifest::{
    AppConnection, Capabilities, Connection, CrashLoop, Health, ImageFacts, InterfaceUse, Limits, ListenFrom,
    Listening, Manifest, ManifestError, Protocol, Readiness,
};
pub use rules::{is_app_id, is_logical_name, parse_version, ManifestProblem, Version};

/// Type of the payload in the manifest's DSSE envelope.
pub const PAYLOAD_TYPE: &str = "application/vnd.osbuild.app+json";
/// The only version of the manifest so far.
pub const FORMAT: u32 = 1;
/// A longer manifest is refused before it is parsed; with base64 its envelope fits [`package::ENVELOPE_BYTES`].
pub const LIMIT_BYTES: usize = 44 * 1024;

/// Number of the app's own user and group, as the app sees it; outside, each app has one that no other app ever gets.
pub const INNER_ID: u32 = 1000;
/// Where an app finds its own storage.
pub const STORAGE: &str = "/data";
/// Where an app finds its sockets and what the agent tells it.
pub const RUNTIME: &str = "/run/app";
/// The socket to which an app reports that it is ready, sd_notify(3); its path is in `NOTIFY_SOCKET`.
pub const NOTIFY: &str = "/run/app/notify";
/// Folder of device nodes by logical name.
pub const DEVICES: &str = "/dev/app";
/// With the capability `device-identity`: a text that no other device has.
pub const IDENTITY: &str = "/run/app/device-id";
/// Ends the name under which an app resolves an app that it may connect to: `broker.app`.
pub const LOCAL_DOMAIN: &str = "app";
