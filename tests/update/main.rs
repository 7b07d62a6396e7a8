//! Updates of a real device on the virtual board: the program under test builds, signs and publishes releases, and the agent
//! gets them from a web server, by HTTPS, through the firmware's boot options and the TPM's counter.
//!
//! Invariant: what passes here has booted each release in OVMF; nothing of the device is simulated. Two machines run at a time: each
//! waits most of the time for one processor, and no limit here is near what a busy host needs.
#![allow(clippy::disallowed_methods)]

#[path = "../command/mod.rs"]
mod command;
mod cuts;
mod device;
mod payload;
mod releases;
mod server;
mod tls;

use command::guest::Guest;
use device::{Device, PATIENCE};
use osbuild_format::target::LIMIT_MEMORY_BYTES;
use payload::{Payload, DELTA, FULL};
use releases::{Releases, Variant, PRODUCT};
use serde_json::Value;
use server::{Sent, Server};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// It works until somebody makes a file, of which its critical service can make nothing.
const GOOD: Variant = Variant {
    rest: "services:\n  frail:\n    exec: [/bin/sh, -c, \"test ! -e /data/broken && exec sleep 1000000\"]\n    critical: true\n",
    ..Variant::good("2.0.0", 2, 2)
};
const MENDED: Variant = Variant::good("5.0.0", 2, 2);
/// PID 1 and with it the feeding of the watchdog stop for ever, before the health checks are over.
const HANGS: Variant = Variant {
    health: "[{name: endless, exec: [/bin/sleep, \"600\"], timeout: 900}]",
    rest: "services:\n  freezer:\n    exec: [/bin/sh, -c, \"mkdir /sys/fs/cgroup/ice && echo 1 >/sys/fs/cgroup/ice/cgroup.procs && \
           echo 1 >/sys/fs/cgroup/ice/cgroup.freeze\"]\n    restart: never\n",
    ..Variant::good("3.0.0", 2, 2)
};
/// The kernel finds nothing to run, panics, and restarts: nothing of the agent has run.
const PANICS: Variant =
    Variant { rest: "kernel-command-line: [rdinit=/none, panic=-1]\n", ..Variant::good("3.0.1", 2, 2) };
const SICK: Variant =
    Variant { health: "[{name: sick, exec: [/bin/false], timeout: 10}]", ..Variant::good("3.0.2", 2, 2) };
/// Newer, and from before the vulnerability that the second epoch is about.
const BEHIND: Variant = Variant::good("6.0.0", 1, 2);

fn say(text: &str) {
    // Straight to standard error: what a passed test prints otherwise, the test harness keeps to itself.
    std::io::stderr().write_all(text.as_bytes()).expect("said");
}

/// That an installation took no more memory than an update may, TLS and all.
fn fits(how: &str, peak_kib: u64) {
    say(&format!("{how}: the updater took {peak_kib} KiB of memory\n"));
    assert!(peak_kib * 1024 <= LIMIT_MEMORY_BYTES, "{how}: {peak_kib} KiB");
}

#[test]
fn a_device_follows_good_releases_and_comes_back_from_bad_ones() {
    let start = Instant::now();
    let server = server::serve(Path::new("/nonexistent"));
    let releases = Releases::new(&server);
    let first = releases.build(Variant::good("1.0.0", 1, 3));
    releases.publish("site", &first, 0);
    releases.copy("site", "before");
    say(&releases.publish("site", &releases.build(GOOD), 1));
    server.behaviour().folder = releases.path("site");
    let mut guest = Guest::of(&releases.project, PRODUCT, &first.join("disk.img"));
    guest.boot();
    say(&format!("two releases and a boot: {:?}\n", start.elapsed()));
    let device = Device(&mut guest);
    refuses_another_server(&device, &server);
    refuses_a_changed_payload(&device, &server, &releases);
    updates_by_delta(&device, &server, &releases);
    looks_names_up(&device);
    refuses_what_it_has_seen_replaced(&device, &server, &releases);
    for (variant, said) in [
        (HANGS, "osagent: 3.0.0 is on trial"),
        (PANICS, "[^a-z]*Kernel panic"),
        (SICK, "osagent: the release on trial is not committed: failed: health check `sick` failed: exit status: 1; rebooting"),
    ] {
        let start = Instant::now();
        releases.publish("site", &releases.build(variant), 0);
        let payload = Payload::of(&releases.path("site"), variant.version, FULL);
        server.take_sent();
        let is_first = variant.version == HANGS.version;
        let before = if is_first { loses_the_connection(&device, &server, &payload) } else { Vec::new() };
        comes_back(&device, variant.version, said);
        has_fetched(&payload, &before, &server.take_sent());
        let events = device.0.board.as_mut().expect("it runs").control().events().expect("events");
        assert!(events.iter().any(|event| event == "WATCHDOG"), "{events:?}");
        say(&format!("{} came and went: {:?}\n", variant.version, start.elapsed()));
    }
    replaces_a_release_that_stopped_working(&device, &releases);
    // By somebody with all keys, in a repository without the release that raised the epoch.
    server.behaviour().folder = releases.path("before");
    releases.publish("before", &releases.build(BEHIND), 0);
    for percent in [1, 2, 3, 4, 5, 6, 100] {
        releases.offer("before", BEHIND.version, percent);
    }
    let refused = device.ask("check");
    assert_eq!(
        (&refused["details"]["why"], &refused["details"]["committed"]),
        (&"epoch".into(), &2.into()),
        "{refused:#}"
    );
    recovers_without_a_restart(&device);
    say(&format!("all of it: {:?}\n", start.elapsed()));
}

/// What updates need could not be read when the device started; once it can be, nobody has to restart it.
fn recovers_without_a_restart(device: &Device) {
    const STATE: &str = "/data/osagent/update/state";
    device.rests();
    let mark = device.mark();
    // In the background: a connection that the restart ends would make it try the same again.
    let reboot = "(sleep 1; osagent reboot) </dev/null >/dev/null 2>&1 &";
    device.shell(&format!("mv {STATE} /data/kept && mkdir {STATE} && sync && {{ {reboot} }}"));
    device.says_line(mark, "osagent: this device cannot update:");
    device.is_ready(mark);
    let status = device.status();
    assert_eq!((&status["waits"]["why"], &status["version"]), (&"unable".into(), &MENDED.version.into()), "{status:#}");
    device.shell(&format!("rmdir {STATE} && mv /data/kept {STATE}"));
    // Who asks makes it try at once.
    let refused = device.shell("osagent update check 2>&1 || true");
    assert!(refused.contains("this device cannot update") && refused.contains("it tries once more"), "{refused}");
    device.says_line(mark, "osagent: this device can update again");
    let refused = device.ask("check");
    assert_eq!(refused["details"]["why"], "epoch", "{refused:#}");
}

/// A committed one, which is not on trial any more: it restarts, and when that does not help it looks for another before it is ready.
fn replaces_a_release_that_stopped_working(device: &Device, releases: &Releases) {
    let start = Instant::now();
    releases.publish("site", &releases.build(MENDED), 1);
    device.rests();
    assert_eq!(device.runs().1, GOOD.version);
    let mark = device.mark();
    device.shell("touch /data/broken && sync && osagent reboot");
    device.says_line(mark, "osagent: not healthy within 60 s: `frail` is not up; rebooting");
    device.says_line(mark, "osagent: not healthy within 60 s: `frail` is not up; looking for an update, rebooting in");
    device.installs(mark, MENDED.version);
    device.says_line(mark, "osagent: 5.0.0 is committed");
    let left = device.shell("ls /data/osagent");
    assert!(!left.contains("unhealthy"), "{left}");
    say(&format!("a release that stopped working is replaced: {:?}\n", start.elapsed()));
}

/// Who only listens at the same address, with a certificate of an authority that the product does not name.
fn refuses_another_server(device: &Device, server: &Server) {
    device.rests();
    server.behaviour().is_stranger = true;
    server.take_sent();
    let refused = device.ask("check");
    assert_eq!(refused["result"], "failed", "{refused:#}");
    let status = device.status();
    let reason = status["result"]["reason"].as_str().unwrap_or_default();
    say(&format!("another server: {reason}\n"));
    assert!(reason.contains("certificate"), "{status:#}");
    assert!(server.take_sent().is_empty(), "it was asked for something");
    server.behaviour().is_stranger = false;
}

/// One bit of the first segment, which the header's signature covers by its digest.
fn refuses_a_changed_payload(device: &Device, server: &Server, releases: &Releases) {
    const OTHER_ROOT: &str = "p=$(grep -l PARTNAME=root-b /sys/class/block/*/uevent); p=${p%/uevent}; head -c 9000000 \
                              /dev/${p##*/} | sha256sum";
    assert_eq!(device.runs(), ("a".to_owned(), "1.0.0".to_owned()));
    let before = device.shell(OTHER_ROOT);
    let payload = Payload::of(&releases.path("site"), "2.0.0", DELTA);
    server.behaviour().changed = Some((DELTA, payload.segments_at + 1));
    let refused = device.ask("install");
    assert_eq!(refused["result"], "failed", "{refused:#}");
    let status = device.status();
    assert_eq!(status["state"]["failure"]["why"], "payload-damaged", "{status:#}");
    assert_eq!(status["state"]["phase"]["done"], 0, "{status:#}");
    assert_eq!(device.runs(), ("a".to_owned(), "1.0.0".to_owned()));
    assert_eq!(device.shell(OTHER_ROOT), before, "something of a changed payload was written");
    server.behaviour().changed = None;
}

/// Begins an update, and looks at what the kernel says of the process that fetches it: it has nothing of root's left, and nothing
/// open that belongs to the slot that runs and could be written to. Before it fetched anything it has tried to open that, too.
fn reads_the_network_confined(device: &Device) {
    const LOOK: &str = "osagent update install </dev/null >/dev/null 2>&1 & for i in $(seq 60); do for s in $(grep -ls \
                        'Seccomp:.2' /proc/[0-9]*/status); do p=${s%/status}; if grep -qs update-worker $p/cmdline; then cat \
                        $s; ls -l $p/fd; exit 0; fi; done; sleep 1; done; echo no confined updater; exit 1";
    let seen = device.shell(LOOK);
    let has = |line: &str| seen.lines().any(|seen| seen == line);
    assert!(has("NoNewPrivs:\t1") && has("Seccomp:\t2"), "{seen}");
    for set in ["CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"] {
        assert!(has(&format!("{set}:\t0000000000000000")), "{seen}");
    }
    // In the order of the partitions: ESPs, roots, verity trees.
    let disk = |line: &&str| line.contains("-> /dev/") && !line.ends_with("/null");
    let (writable, read): (Vec<&str>, Vec<&str>) = seen.lines().filter(disk).partition(|line| line.contains("lrwx"));
    let numbers =
        |lines: &[&str]| lines.iter().filter_map(|line| line.chars().last()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!((numbers(&read), numbers(&writable)), (['1', '3', '5'].into(), ['2', '4', '6'].into()), "{seen}");
    assert!(!seen.contains("efivars"), "{seen}");
}

fn updates_by_delta(device: &Device, server: &Server, releases: &Releases) {
    /// Until it is looked at, a busy host may take some.
    const SECONDS: u64 = 18;
    server.take_sent();
    let start = Instant::now();
    let mark = device.mark();
    // Slowly, so that it can be looked at while it fetches.
    let bytes = Payload::of(&releases.path("site"), "2.0.0", DELTA).bytes;
    server.behaviour().paced = Some((DELTA, bytes / SECONDS));
    reads_the_network_confined(device);
    server.behaviour().paced = None;
    fits("by delta", device.installs(mark, "2.0.0"));
    device.says_line(mark, "osagent: 2.0.0 is on trial");
    device.says_line(mark, "osagent: 2.0.0 is committed");
    say(&format!("by delta: {:?}\n", start.elapsed()));
    let sent = server.take_sent();
    let of = |ending: &str| -> u64 {
        sent.iter().filter(|sent| sent.path.ends_with(ending)).map(|sent| sent.end - sent.start).sum()
    };
    assert_eq!(of(FULL), 0, "{sent:#?}");
    assert!((1000..100_000).contains(&of(DELTA)), "{sent:#?}");
    let status = device.status();
    assert_eq!(
        (&status["slot"], &status["version"], &status["epoch"]),
        (&"b".into(), &"2.0.0".into(), &2.into()),
        "{status:#}"
    );
    assert_eq!(
        (&status["state"]["phase"]["is"], &status["state"]["last"]["committed"]),
        (&"idle".into(), &true.into())
    );
    assert_eq!(status["state"]["failure"], Value::Null, "{status:#}");
}

/// By the C library of the device, on a thread, over UDP: whoever answers, or nobody does, the updater lives to tell.
fn looks_names_up(device: &Device) {
    let failed = device.ask("check --from http://updates.invalid/");
    let reason = failed["reason"].as_str().unwrap_or_default();
    say(&format!("a name that is none: {reason}\n"));
    assert!(failed["result"] == "failed" && reason.contains("updates.invalid"), "{failed:#}");
    assert!(!reason.contains("Permission denied"), "{failed:#}");
}

/// The repository as it was when its newest release was the first one: good signatures, and none of them expired.
fn refuses_what_it_has_seen_replaced(device: &Device, server: &Server, releases: &Releases) {
    server.behaviour().folder = releases.path("before");
    let refused = device.ask("install");
    let status = device.status();
    assert_eq!(refused["result"], "failed", "{refused:#}");
    let reason = status["result"]["reason"].as_str().unwrap_or_default();
    say(&format!("a replayed repository: {reason}\n"));
    assert!(reason.contains("timestamp") && reason.contains("version"), "{status:#}");
    assert_eq!(device.runs(), ("b".to_owned(), "2.0.0".to_owned()));
    server.behaviour().folder = releases.path("site");
}

/// In the middle of a payload; what was sent until then.
fn loses_the_connection(device: &Device, server: &Server, payload: &Payload) -> Vec<Sent> {
    device.rests();
    server.behaviour().cut_after = Some(payload.bytes / 2);
    device.begin();
    let start = Instant::now();
    while server.behaviour().cut_after.is_some() {
        assert!(start.elapsed() < PATIENCE, "it does not fetch {} bytes: {:#}", payload.bytes / 2, device.status());
        std::thread::sleep(Duration::from_millis(100));
    }
    device.rests();
    let status = device.status();
    assert_eq!(status["state"]["failure"]["why"], "fetch", "{status:#}");
    assert!(status["state"]["phase"]["done"].as_u64() > Some(0), "{status:#}");
    say(&format!("a lost connection: {}\n", status["result"]["reason"]));
    server.take_sent()
}

/// All of the payload, and no more than a segment of it twice.
fn has_fetched(payload: &Payload, before: &[Sent], now: &[Sent]) {
    let again = payload.fetched_again(before.iter(), now);
    let of_payload = before.iter().chain(now).filter(|sent| payload.is_in(sent));
    let segments: u64 = of_payload.map(|sent| sent.end.saturating_sub(sent.start.max(payload.segments_at))).sum();
    assert_eq!(segments - again, payload.bytes - payload.segments_at, "{before:#?} {now:#?}");
    assert!(again <= payload.longest_segment, "{again} bytes were fetched again: {now:#?} after {before:#?}");
}

/// From a release that never becomes healthy, to the one before it, which then wants no more of it.
fn comes_back(device: &Device, version: &str, said: &str) {
    let mark = device.mark();
    device.rests();
    device.begin();
    fits(&format!("{version} by full"), device.installs(mark, version));
    device.says(mark, said);
    device.says_line(mark, &format!("osagent: {version} was not healthy: this slot is back"));
    device.is_ready(device.mark());
    let status = device.status();
    assert_eq!((&status["slot"], &status["version"]), (&"b".into(), &"2.0.0".into()), "{status:#}");
    let last = &status["state"]["last"];
    assert_eq!((&last["candidate"]["version"], &last["committed"]), (&version.into(), &false.into()), "{status:#}");
    // What a start could still say of its end is known in the slot that is back.
    let reason = last["reason"].as_str().unwrap_or_default();
    assert_eq!(reason.contains("health check `sick` failed: exit status: 1"), version == SICK.version, "{status:#}");
    assert!(status["state"]["denied"].as_array().is_some_and(|denied| denied.contains(&last["candidate"]["name"])));
    let refused = device.ask("install");
    let why = (&refused["details"]["why"], &refused["details"]["version"]);
    assert_eq!(why, (&"denied".into(), &version.into()), "{refused:#}");
}
