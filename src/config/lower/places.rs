//! Hosts and addresses that an app names, to what no device would ever open for it.
//!
//! Invariant: what is refused here is what the agent refuses at run time, when nobody reads it.

use crate::config::diagnostic::Diagnostic;
use crate::config::file::app::{AppFile, CapabilitiesEntry};
use osbuild_format::app::LOCAL_DOMAIN;
use std::net::Ipv4Addr;

pub fn check(file: &AppFile, problems: &mut Vec<Diagnostic>) {
    if let Some(capabilities) = &file.capabilities {
        hosts(capabilities, problems);
        interfaces(capabilities, problems);
    }
}

fn hosts(capabilities: &CapabilitiesEntry, problems: &mut Vec<Diagnostic>) {
    for host in capabilities.connect.iter().map(|entry| &entry.host) {
        let name = host.value.as_str();
        let (top, local) = (name.rsplit('.').next().unwrap_or(name), format!(".{LOCAL_DOMAIN}"));
        let (why, help) = match name.parse::<Ipv4Addr>() {
            Ok(address) if is_nobodys(address) => (
                "is an address that no host outside has",
                "an app reaches itself without a word here, and other apps by `apps`",
            ),
            Ok(_) => continue,
            // What ends in a number is an address to whoever resolves it (RFC 1123 section 2.1).
            Err(_) if top.bytes().all(|byte| byte.is_ascii_digit()) => (
                "is neither a host name nor an IPv4 address",
                "an address has four numbers up to 255, without leading zeros",
            ),
            Err(_) if name.ends_with(&local) => (
                "is the name of an app, for names that end so are those of apps of this device",
                "`apps: [{app: NAME, port: PORT}]` connects to an app; a host outside needs another name",
            ),
            Err(_) => continue,
        };
        problems.push(Diagnostic::at(&host.origin, format!("`{name}` {why}")).help(help));
    }
}

fn interfaces(capabilities: &CapabilitiesEntry, problems: &mut Vec<Diagnostic>) {
    for entry in capabilities.interfaces.iter().map(|entry| &entry.address) {
        let (address, prefix) = (entry.value.address, entry.value.prefix);
        let hosts = u32::MAX >> prefix;
        let own = u32::from(address) & hosts;
        let (why, help) = if is_nobodys(address) {
            ("no network has it but this device's own", "take one of a private network, such as `192.168.50.1/24`")
        } else if own == 0 || own == hosts {
            ("it is that of the network or of all in it", "one host has to have it, such as `192.168.50.1/24`")
        } else {
            continue;
        };
        let message = format!("`{address}/{prefix}` is no address for the app: {why}");
        problems.push(Diagnostic::at(&entry.origin, message).help(help));
    }
}

/// Those of the agent: this network, loopback, link-local, the apps' own block, multicast and what is beyond.
fn is_nobodys(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 0
        || first >= 224
        || address.is_loopback()
        || address.is_link_local()
        || (first == 198 && matches!(second, 18 | 19))
}
