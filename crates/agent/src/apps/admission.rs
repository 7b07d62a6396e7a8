//! A manifest and what the device has, to what stands against running it here.
//!
//! Invariant: pure; each objection names both sides. The builder asks the same when it composes a product.

use osbuild_format::app::{abi, ListenFrom, Manifest, Protocol, Version};
use osbuild_format::device::DeviceConfig;
use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    #[error("{0}")]
    Abi(abi::AbiProblem),
    #[error("this machine has no device `${0}`")]
    NoDevice(String),
    #[error("this machine has no interface `${0}`")]
    NoInterface(String),
    #[error("the device `${device}` belongs to the app `{owner}`")]
    DeviceTaken { device: String, owner: String },
    #[error("the interface `${interface}` belongs to the app `{owner}`")]
    InterfaceTaken { interface: String, owner: String },
    #[error("port {port}/{protocol:?} of the device belongs to the app `{owner}`")]
    PortTaken { port: u16, protocol: Protocol, owner: String },
    #[error("it starts after the app `{0}`, and that after it")]
    Circle(String),
    #[error("it is older than what this device has had: {new}, not {old}")]
    Downgrade { new: String, old: String },
    #[error("the image of this production device has an app of this id")]
    Duplicate,
}

/// What stands against running `new` beside `others`; an older self among them is no other.
pub fn objections<'a>(
    new: &Manifest,
    config: &DeviceConfig,
    others: impl Iterator<Item = &'a Manifest> + Clone,
) -> Vec<Objection> {
    let mut found: Vec<Objection> = abi::missing(&new.abi).into_iter().map(Objection::Abi).collect();
    let (own, others) = (&new.capabilities, others.filter(|other| other.id != new.id));
    for device in &own.devices {
        if !config.devices.contains_key(device) {
            found.push(Objection::NoDevice(device.clone()));
        }
        for other in others.clone().filter(|other| other.capabilities.devices.contains(device)) {
            found.push(Objection::DeviceTaken { device: device.clone(), owner: other.id.clone() });
        }
    }
    for interface in own.interfaces.iter().map(|interface| &interface.name) {
        if !config.interfaces.contains_key(interface) {
            found.push(Objection::NoInterface(interface.clone()));
        }
        for other in others.clone().filter(|o| o.capabilities.interfaces.iter().any(|i| i.name == *interface)) {
            found.push(Objection::InterfaceTaken { interface: interface.clone(), owner: other.id.clone() });
        }
    }
    for (port, protocol) in ports(new) {
        for other in others.clone().filter(|other| ports(other).any(|taken| taken == (port, protocol))) {
            found.push(Objection::PortTaken { port, protocol, owner: other.id.clone() });
        }
    }
    found.extend(circle(new, others).map(Objection::Circle));
    found
}

/// The app in the `after` of `new` that starts, directly or not, after `new`.
fn circle<'a>(new: &Manifest, others: impl Iterator<Item = &'a Manifest> + Clone) -> Option<String> {
    let leads_back = |first: &&String| {
        let (mut waiting, mut seen) = (vec![first.as_str()], BTreeSet::new());
        while let Some(id) = waiting.pop() {
            if id == new.id {
                return true;
            }
            if seen.insert(id) {
                let after = others.clone().filter(|other| other.id == id).flat_map(|other| &other.after);
                waiting.extend(after.map(String::as_str));
            }
        }
        false
    };
    new.after.iter().find(leads_back).cloned()
}

/// Those of the device, not of the app's own network.
fn ports(manifest: &Manifest) -> impl Iterator<Item = (u16, Protocol)> + '_ {
    let open = manifest.capabilities.listen.iter().filter(|listen| listen.from == ListenFrom::Network);
    open.map(|listen| (listen.port, listen.protocol))
}

/// An installed version may not be older than any of those before it.
pub fn check_version(new: &str, known: &[Option<&str>]) -> Result<(), Objection> {
    let parse = |text: &str| -> Option<Version> { osbuild_format::app::parse_version(text) };
    match known.iter().flatten().find(|old| parse(new) < parse(old)) {
        Some(old) => Err(Objection::Downgrade { new: new.to_owned(), old: (*old).to_owned() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifest(id: &str, capabilities: serde_json::Value) -> Manifest {
        let value = json!({
            "format": 1, "id": id, "version": "1.0.0", "title": id, "architecture": "x86_64", "abi": {"runtime": 1},
            "image": {"data_blocks": 1, "root_hash": "0".repeat(64), "salt": ""}, "argv": ["/a"],
            "capabilities": capabilities,
        });
        Manifest::from_json(value.to_string().as_bytes()).expect("valid")
    }

    fn config() -> DeviceConfig {
        let value = json!({
            "format": 1, "product": "p", "version": "1.0.0", "machine": "m", "hostname": "h", "console": "ttyS0",
            "devices": {"LED": "/dev/led"}, "interfaces": {"DOWN": "eth1"},
        });
        DeviceConfig::from_json(value.to_string().as_bytes()).expect("valid")
    }

    #[test]
    fn each_objection_names_both_sides() {
        let down = json!([{"name": "DOWN", "address": "10.0.0.1", "prefix": 24}]);
        let port = json!([{"port": 80, "protocol": "tcp", "from": "network"}]);
        let owner = manifest("owner", json!({"devices": ["LED"], "interfaces": down, "listen": port}));
        for (capabilities, wanted) in [
            (json!({"devices": ["LED"]}), "the device `$LED` belongs to the app `owner`"),
            (json!({"devices": ["UART"]}), "this machine has no device `$UART`"),
            (json!({"interfaces": down}), "the interface `$DOWN` belongs to the app `owner`"),
            (json!({"listen": port}), "port 80/Tcp of the device belongs to the app `owner`"),
        ] {
            let new = manifest("new", capabilities.clone());
            let found = objections(&new, &config(), std::iter::once(&owner));
            assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), [wanted]);
            // A new version of the owner may have what the old one has.
            let again = manifest("owner", capabilities);
            assert!(objections(&again, &config(), std::iter::once(&owner))
                .iter()
                .all(|o| matches!(o, Objection::NoDevice(_))));
        }
    }

    #[test]
    fn none_waits_for_one_that_waits_for_it() {
        let after = |id: &str, after: &[&str]| {
            let list = after.iter().map(|id| (*id).to_owned()).collect();
            Manifest { after: list, ..manifest(id, json!({})) }
        };
        let others = [after("a", &["b"]), after("b", &["c"]), after("other", &["a"]), after("d", &["d2"])];
        let found = |new: &Manifest| {
            let found = objections(new, &config(), others.iter());
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(found(&after("c", &["d", "a"])), ["it starts after the app `a`, and that after it"]);
        assert_eq!(found(&after("c", &["d", "e"])), [""; 0]);
        assert_eq!(found(&after("a", &["b"])), [""; 0], "a new version of what is there");
    }

    #[test]
    fn versions_do_not_go_back() {
        assert!(check_version("1.10.0", &[Some("1.9.9"), None]).is_ok() && check_version("0.0.1", &[None]).is_ok());
        // Newer than what was installed, older than the image's.
        assert!(check_version("1.9.9", &[Some("1.0.0"), Some("1.10.0")]).is_err());
        assert!(check_version("1.9.9", &[Some("1.10.0"), None]).is_err());
    }
}
