mod package;
mod rules;
mod token;

use super::*;
use serde_json::{json, Value};

pub fn example() -> Value {
    json!({
        "format": 1, "id": "meter", "version": "1.0.0", "title": "Meter", "architecture": "x86_64", "abi": {"runtime": 1},
        "image": {"data_blocks": 7, "root_hash": "ab".repeat(32), "salt": "01ff"},
        "argv": ["/usr/bin/meter", "-v"], "env": {"BROKER": "broker.example"},
        "capabilities": {
            "connect": [{"host": "broker.example", "port": 8883, "protocol": "tcp"}],
            "listen": [{"port": 1883, "protocol": "tcp", "from": "apps"}],
            "apps": [{"app": "broker", "port": 1883, "protocol": "tcp"}],
            "storage_bytes": 1048576, "devices": ["METER_UART"],
            "interfaces": [{"name": "DOWNSTREAM", "address": "192.168.50.1", "prefix": 24}],
        },
        "health": {"watchdog": {"seconds": 30}}, "after": ["broker"],
    })
}

fn parse(value: &Value) -> Result<Manifest, String> {
    Manifest::from_json(value.to_string().as_bytes()).map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", cause.unwrap_or_default())
    })
}

#[test]
fn defaults_grant_nothing_and_what_is_written_is_read() {
    let manifest = parse(&example()).expect("the example is valid");
    assert!(!manifest.capabilities.reboot && !manifest.capabilities.connect[0].private);
    let bytes = manifest.to_json().expect("still valid");
    assert_eq!(Manifest::from_json(&bytes).expect("what we write, we read"), manifest);
    let bare = Manifest { capabilities: Capabilities::default(), ..manifest };
    assert!(!bare.uses_network());
}
