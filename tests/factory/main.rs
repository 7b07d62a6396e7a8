//! The factory's product against a real broker on this host: what the meter says arrives above, the panel shows it, and a
//! device on the isolated network reaches that broker and nothing else.
//!
//! Invariant: the broker, its clients and who makes its certificates are other people's programs, and listen on loopback
//! only.
#![allow(clippy::disallowed_methods)]

#[path = "../command/mod.rs"]
mod command;
mod broker;

use broker::Broker;
use command::guest::{self, Guest};
use command::{osbuild, Project};
use regex::Regex;
use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// The host, as QEMU's user network calls it.
const HOST: &str = "10.0.2.2";
const PATIENCE: Duration = Duration::from_secs(60);
const METER: usize = 1;
const PANEL: usize = 2;
/// The isolated network, by its place in the machine's list.
const DOWNSTREAM: usize = 1;

/// The developer's product with this test's broker and key.
fn configure(project: &Project, broker: &Broker) {
    let port = broker.port.to_string();
    for (file, variable) in [("apps/telemetry/app.yaml", "BROKER_PORT"), ("apps/guardian/app.yaml", "UPSTREAM_PORT")] {
        project.edit(file, &format!("{variable}: \"8883\""), &format!("{variable}: \"{port}\""));
        project.edit(file, "port: 8883, private", &format!("port: {port}, private"));
    }
    // Something of the device that is not the guardian's, to be tried from below.
    project.edit("layers/core/machines/qemu-factory.yaml", "{8884: 8883}", "{8884: 8883, 8885: 22}");
    let (_, line) = guest::key(project);
    let authority: String = broker.authority().lines().map(|line| format!("    {line}\n")).collect();
    let product = format!(
        "schema: 1\nproduct: factorytest\nextends: factory-guardian-dev\ntitle: Factory\nvars:\n  ssh_key: \"{line}\"\n  broker: \
         {HOST}\n  broker_ca: |\n{authority}"
    );
    project.write("layers/core/products/factorytest.yaml", &product);
}

/// The lamp's next word after what is done must be this.
fn lamp(guest: &Guest, wanted: &str, does: impl Fn()) {
    let panel = guest.board().serial(PANEL).expect("a panel");
    let mark = panel.mark();
    does();
    let pattern = Regex::new(&format!("^{wanted}\r?$")).expect("a pattern");
    panel.expect_after(mark, &[pattern], PATIENCE).expect("the panel is told");
}

fn reads(guest: &Guest, line: &str) {
    guest.board().serial(METER).expect("a meter").send(&format!("{line}\n")).expect("sent");
}

/// Whether somebody answers behind the forward: QEMU accepts for the guest, and hangs up when the guest refuses.
fn is_open(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    matches!(stream.read(&mut [0; 1]), Ok(1))
}

#[test]
fn readings_rise_the_lamp_shines_and_what_is_below_reaches_one_host() {
    let project = Project::copy();
    let tools = osbuild(&project, &["tools", "broker"]).succeeds().output;
    let mut broker = Broker::new(tools.trim().into(), project.root.join("out/broker"), HOST);
    configure(&project, &broker);
    broker.start();
    let guest = Guest::start(&project, "factorytest");
    for app in ["mosquitto", "telemetry", "panel", "guardian"] {
        guest.app_becomes(app, "/state", "running");
    }

    let above = broker.listen("meters/#");
    lamp(&guest, "LED on", || reads(&guest, "power 2310.5"));
    above.hears("meters/power 2310.5", PATIENCE);
    lamp(&guest, "LED off", || reads(&guest, "power 12"));
    above.hears("meters/power 12", PATIENCE);

    // The guardian ends no TLS: who is below sees the broker's own certificate.
    let through = guest.board().forward_on(DOWNSTREAM, 8883).expect("a forward");
    let below = broker.listen("below");
    broker.publish_at(through, "below", "hello");
    below.hears("below hello", PATIENCE);
    assert!(!is_open(guest.board().forward_on(DOWNSTREAM, 22).expect("a forward")), "the device itself is open below");

    // The broker goes and comes again: the panel never notices, and readings rise again without anybody's help.
    drop((above, below));
    broker.stop();
    lamp(&guest, "LED on", || reads(&guest, "power 2500"));
    broker.start();
    let above = broker.listen("meters/#");
    reads(&guest, "power 2600");
    above.hears("meters/power 2600", PATIENCE * 2);

    for app in ["mosquitto", "telemetry", "panel", "guardian"] {
        let status = guest.app(app);
        assert_eq!(
            (status["state"].as_str(), &status["last_end"]),
            (Some("running"), &serde_json::Value::Null),
            "{status:#}"
        );
    }
}
