//! A manifest in, what the app may do in plain words out.
//!
//! Invariant: pure; every capability has its sentence, and what is not granted is said, too.

use crate::model::machine::Machine;
use osbuild_format::app::{
    Capabilities, Connection, Health, ListenFrom, Listening, Manifest, Protocol, Readiness, DEVICES, IDENTITY,
    LOCAL_DOMAIN, STORAGE,
};
use osbuild_format::device::Restart;
use std::collections::BTreeMap;

/// With a machine, logical names come with what they lead to.
pub fn manifest(manifest: &Manifest, machine: Option<&Machine>) -> String {
    let m = manifest;
    let mut text = format!("{} {}: {}\n  runs `{}`\n", m.id, m.version, m.title, m.argv.join(" "));
    let mut section = |title: &str, lines: Vec<String>| {
        text += &format!("\n{title}\n");
        lines.iter().for_each(|line| text += &format!("  {line}\n"));
    };
    let (may, may_not) = capabilities(&m.capabilities, machine);
    section("it may", if may.is_empty() { vec!["reach nothing outside its own image".to_owned()] } else { may });
    section("it may not", may_not);
    section("within", limits(m));
    section("life", life(m));
    text
}

fn capabilities(c: &Capabilities, machine: Option<&Machine>) -> (Vec<String>, Vec<String>) {
    let nothing = BTreeMap::new();
    let (devices, interfaces) = machine.map_or((&nothing, &nothing), |m| (&m.devices, &m.interfaces));
    let real = |map: &BTreeMap<String, String>, name: &str| {
        map.get(name).map(|real| format!(" (`{real}` of the machine)")).unwrap_or_default()
    };
    let mut may: Vec<String> = c.connect.iter().map(connection).collect();
    for other in &c.apps {
        let protocol = protocol(other.protocol);
        may.push(format!(
            "connect to app `{}`, {protocol} port {}, as `{}.{LOCAL_DOMAIN}`",
            other.app, other.port, other.app
        ));
    }
    may.extend(c.listen.iter().map(listening));
    for own in &c.interfaces {
        may.push(format!(
            "own the network interface `${}`{}, where it is {}/{}: the system no longer sees it",
            own.name,
            real(interfaces, &own.name),
            own.address,
            own.prefix
        ));
    }
    for device in &c.devices {
        may.push(format!(
            "use the device `${device}`{}, at {DEVICES}/{device}, and be the only one",
            real(devices, device)
        ));
    }
    if c.storage_bytes > 0 {
        may.push(format!("keep {} in {STORAGE}, which outlasts restarts and updates", size(c.storage_bytes)));
    }
    let switches = [
        (c.device_identity, format!("know which device it runs on, from {IDENTITY}"), "know which device it runs on"),
        (c.set_time, "set the system's clock".to_owned(), "set the system's clock"),
        (c.defer_updates, "put updates off".to_owned(), "put updates off"),
        (c.reboot, "restart the device".to_owned(), "restart the device"),
    ];
    let absent = [
        (c.connect.is_empty(), "connect to any host"),
        (c.apps.is_empty(), "connect to other apps"),
        (c.listen.is_empty(), "accept connections"),
        (c.devices.is_empty(), "use any device"),
        (c.storage_bytes == 0, "keep anything: all it writes is gone when it ends"),
    ];
    let mut may_not: Vec<String> =
        absent.into_iter().filter(|(absent, _)| *absent).map(|(_, text)| text.to_owned()).collect();
    for (granted, text, denied) in switches {
        match granted {
            true => may.push(text),
            false => may_not.push(denied.to_owned()),
        }
    }
    may_not
        .push("see other apps, their files or their processes, gain rights, or change a program in memory".to_owned());
    (may, may_not)
}

fn connection(to: &Connection) -> String {
    let place = format!("connect to {}, {} port {}", to.host, protocol(to.protocol), to.port);
    match (to.host.parse::<std::net::Ipv4Addr>().is_ok(), to.private) {
        (true, _) => place,
        (false, true) => format!("{place}, also where that is an address of a private network"),
        (false, false) => format!("{place}, on the Internet only"),
    }
}

fn listening(own: &Listening) -> String {
    let from = match own.from {
        ListenFrom::Apps => "from apps that name it",
        ListenFrom::Network => "from apps that name it and from every host that reaches the device",
        ListenFrom::Interface => "from whoever is on its own interface",
    };
    format!("accept connections at {} port {} {from}", protocol(own.protocol), own.port)
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    }
}

fn limits(m: &Manifest) -> Vec<String> {
    let cpu = f64::from(m.limits.cpu_percent) / 100.0;
    vec![
        format!("{} of memory; more, and it is ended", size(m.limits.memory_bytes)),
        format!("{cpu} of a processor's time, {} processes and threads", m.limits.processes),
        format!("{} open files in each process", m.limits.files),
    ]
}

fn life(m: &Manifest) -> Vec<String> {
    let mut lines = vec![match m.ready {
        Readiness::Started => "counts as started when it runs".to_owned(),
        Readiness::Notify => "counts as started when it says `READY=1`".to_owned(),
    }];
    lines.extend(m.health.as_ref().map(|health| match health {
        Health::Watchdog { seconds } => format!("says `WATCHDOG=1` at least each {seconds} s, or is ended"),
        Health::Tcp { port, seconds } => {
            format!("accepts a connection at port {port}, tried each {seconds} s, or is ended after three in vain")
        }
    }));
    lines.push(match m.restart {
        Restart::Always => "is started again whenever it ends".to_owned(),
        Restart::OnFailure => "is started again when it ends with an error".to_owned(),
        Restart::Never => "is not started again".to_owned(),
    });
    let (ends, window) = (m.crash_loop.ends, m.crash_loop.window_seconds);
    lines.push(format!("more than {ends} ends within {window} s are a crash loop: then it stays down"));
    if !m.after.is_empty() {
        lines.push(format!("starts after {}", m.after.join(", ")));
    }
    lines.push(format!("has {} s to end after SIGTERM", m.stop_timeout_seconds));
    if m.core_dumps {
        lines.push("leaves a core file in its storage when it crashes".to_owned());
    }
    lines
}

/// `16 MiB`, or bytes where it is no whole number of KiB.
fn size(bytes: u64) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{} {name}", bytes / unit);
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn explained(capabilities: serde_json::Value) -> String {
        let value = json!({
            "format": 1, "id": "meter", "version": "1.0.0", "title": "Meter", "architecture": "x86_64",
            "abi": {"runtime": 1}, "image": {"data_blocks": 1, "root_hash": "0".repeat(64), "salt": ""},
            "argv": ["/usr/bin/meter", "-v"], "capabilities": capabilities,
        });
        manifest(&Manifest::from_json(value.to_string().as_bytes()).expect("valid"), None)
    }

    #[test]
    fn an_app_without_capabilities_may_do_nothing_and_that_is_said() {
        let text = explained(json!({}));
        for part in [
            "meter 1.0.0: Meter\n  runs `/usr/bin/meter -v`\n\nit may\n  reach nothing outside its own image\n",
            "it may not\n  connect to any host\n  connect to other apps\n  accept connections\n  use any device\n",
            "  32 MiB of memory; more, and it is ended\n  1 of a processor's time, 32 processes and threads\n",
            "  more than 5 ends within 600 s are a crash loop: then it stays down\n",
        ] {
            assert!(text.contains(part), "`{part}` is not in:\n{text}");
        }
    }

    #[test]
    fn each_capability_has_its_sentence() {
        for (capabilities, wanted) in [
            (
                json!({"connect": [{"host": "broker.example", "port": 8883, "protocol": "tcp"}]}),
                "connect to broker.example, TCP port 8883, on the Internet only\n",
            ),
            (
                json!({"connect": [{"host": "b.example", "port": 1, "protocol": "udp", "private": true}]}),
                "connect to b.example, UDP port 1, also where that is an address of a private network\n",
            ),
            (json!({"connect": [{"host": "192.0.2.1", "port": 1, "protocol": "tcp"}]}), "192.0.2.1, TCP port 1\n"),
            (
                json!({"apps": [{"app": "broker", "port": 1883, "protocol": "tcp"}]}),
                "connect to app `broker`, TCP port 1883, as `broker.app`\n",
            ),
            (
                json!({"listen": [{"port": 80, "protocol": "tcp", "from": "network"}]}),
                "every host that reaches the device\n",
            ),
            (json!({"devices": ["LED"]}), "use the device `$LED`, at /dev/app/LED, and be the only one\n"),
            (
                json!({"interfaces": [{"name": "DOWN", "address": "10.0.0.1", "prefix": 24}]}),
                "own the network interface `$DOWN`, where it is 10.0.0.1/24",
            ),
            (json!({"storage_bytes": 1536}), "keep 1536 bytes in /data"),
            (json!({"device_identity": true}), "know which device it runs on, from /run/app/device-id\n"),
            (json!({"set_time": true, "defer_updates": true, "reboot": true}), "restart the device\n\nit may not\n"),
        ] {
            let text = explained(capabilities);
            assert!(text.contains(wanted), "`{wanted}` is not in:\n{text}");
        }
    }
}
