//! Apps on the virtual board: how they start, what they may use, how their ends are told, and what all that costs.
//!
//! Invariant: one real boot of one product; every figure that is asserted is printed.
#![allow(clippy::disallowed_methods)]

#[path = "../command/mod.rs"]
mod command;

use command::guest::{self, Guest};
use command::Project;
use std::io::Write;

/// Of the issue: over fork and exec alone.
const START_LIMIT_MICROSECONDS: u64 = 50_000;
const RESIDENT_LIMIT_KIB: u64 = 2048;
const IDLE: usize = 5;

fn say(text: &str) {
    // Straight to standard error: what a passed test prints otherwise, the test harness keeps to itself.
    std::io::stderr().write_all(text.as_bytes()).expect("said");
}

/// A developer's product with ten apps.
fn project() -> Project {
    let project = Project::copy();
    let source = include_str!("stopwatch.c");
    project.write("apps/stopwatch/stopwatch.c", source);
    project.write(
        "apps/stopwatch/recipe.yaml",
        "schema: 1\nrecipe: stopwatch\nversion: \"1\"\nsummary: a test\nlicense: MIT\nsources:\n  - file: \
         apps/stopwatch/stopwatch.c\nclass: make\nprepare: |\n  printf 'all: stopwatch\\ninstall: all\\n\\tinstall -Dm755 \
         stopwatch $(DESTDIR)/usr/bin/stopwatch\\n' > Makefile\nbuild-depends: [musl]\npackages:\n  - name: stopwatch\n    \
         files: [/usr/bin/stopwatch]\n    run-depends: [musl]\n",
    );
    app(&project, "stopwatch", "stopwatch", "[/usr/bin/stopwatch]", "");
    app(
        &project,
        "filler",
        "busybox",
        "[/bin/sh, -c, 'dd if=/dev/zero of=/data/all bs=64k; echo rest $?; while :; do sleep 60; done']",
        "capabilities: {storage: 1M}\n",
    );
    let crasher = "[/bin/sh, -c, 'sleep 1; exit 3']";
    app(&project, "crasher", "busybox", crasher, "crash-loop: {ends: 2, window: 600}\n");
    app(&project, "mute", "busybox", "[/bin/sh, -c, 'sleep 600']", "health: {watchdog: 2}\nrestart: never\n");
    let faulter = "[/bin/sh, -c, 'kill -SEGV $$']";
    app(&project, "faulter", "busybox", faulter, "capabilities: {storage: 1M}\ncore-dumps: true\nrestart: never\n");
    for number in 0..IDLE {
        let name = format!("idle{number}");
        app(&project, &name, "busybox", "[/bin/sh, -c, 'while :; do sleep 60; done']", "limits: {memory: 4M}\n");
    }
    let (_, line) = guest::key(&project);
    // The first is of a third party, and goes down with the crash loop of another.
    let idle: String = (0..IDLE).map(|number| format!(", idle{number}: {{third-party: {}}}", number == 0)).collect();
    let product = format!(
        "schema: 1\nproduct: apptest\nextends: gateway-dev\ntitle: Apps\nvars: {{ssh_key: \"{line}\"}}\nsafe-mode: true\napps: \
         {{stopwatch: {{critical: true}}, filler: {{}}, mute: {{}}, faulter: {{}}, crasher: {{third-party: true}}{idle}}}\nappend: {{packages: [stopwatch]}}\n"
    );
    project.write("layers/core/products/apptest.yaml", &product);
    project
}

fn app(project: &Project, name: &str, package: &str, exec: &str, rest: &str) {
    let text = format!(
        "schema: 1\napp: {name}\nversion: \"1.0.0\"\ntitle: {name}\npackages: [{package}]\nexec: {exec}\nabi: {{runtime: \
         1}}\n{rest}"
    );
    project.write(&format!("apps/{name}/app.yaml"), &text);
}

/// The lower quartile: what else the host does to an emulated machine only adds to a time.
fn quarter(text: &str) -> u64 {
    let rest = text.split("quarter ").nth(1).unwrap_or_else(|| panic!("no time: {text}"));
    rest.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no number: {text}"))
}

#[test]
fn ten_apps_on_a_board() {
    let project = project();
    let mut guest = Guest::start(&project, "apptest");

    let full = guest.app_becomes("filler", "/storage_bytes", 1 << 20);
    assert_eq!(full["state"], "running", "{full:#}");
    assert!(guest.shell("osagent app logs filler").succeeds().output.contains("rest 1"), "the disk was never full");

    let looped = guest.app_becomes("crasher", "/state", "failed");
    assert_eq!((&looped["crash_loop"], &looped["restarts"]), (&true.into(), &2.into()), "{looped:#}");
    assert_eq!(looped["last_end"]["text"], "ended by itself: exit code 3");
    assert_eq!(looped["last_end"]["reason"], serde_json::json!({"kind": "exit", "code": 3}));

    // A crash loop is the end of what the product does not need.
    let stopped = guest.app_becomes("idle0", "/state", "stopped");
    assert_eq!(
        stopped["last_end"]["text"], "stopped by policy: safe mode, because the app `crasher` ended again and again",
        "{stopped:#}"
    );
    let refused = guest.shell("osagent app start idle0");
    assert!(refused.status != 0 && refused.output.contains("safe mode"), "{}", refused.output);
    assert_eq!(guest.app("idle1")["state"], "running");

    let mute = guest.app_becomes("mute", "/state", "failed");
    assert_eq!(mute["last_end"]["text"], "watchdog: it gave no sign of life for 2 s");
    let faulted = guest.app_becomes("faulter", "/state", "failed");
    let fault = "killed by signal 11 (SIGSEGV: memory that is not its own), a core file is in its storage";
    assert_eq!(faulted["last_end"]["text"], fault);
    let core = guest.shell("wc -c < /data/apps/faulter/core; ls /data/apps/crasher").output;
    let bytes: u64 = core.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0);
    assert!((4096..=1 << 20).contains(&bytes), "the core file that was asked for: {core}");

    let bare = guest.shell("stopwatch bare 21").succeeds().output;
    let started = guest.shell("stopwatch app stopwatch 21").succeeds().output;
    let over = quarter(&started).saturating_sub(quarter(&bare));
    say(&format!(
        "app start, request to main: {}fork and exec alone: {bare}the difference of the quarters: {over} us\n",
        started
    ));
    assert!(over <= START_LIMIT_MICROSECONDS, "{over} us over fork and exec");

    // It may rest after the last answer; the bench asks for a status each second all the same.
    let samples =
        "sleep 7; i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo $(grep -E '^Rss(Anon|File)' /proc/1/status); done";
    let memory = guest.shell(samples).succeeds().output;
    let sum = |line: &str| line.split_whitespace().filter_map(|word| word.parse::<u64>().ok()).sum();
    let mut resident: Vec<u64> = memory.lines().map(sum).collect();
    resident.sort_unstable();
    let (median, most) = (resident[resident.len() / 2], resident[resident.len() - 1]);
    let count = resident.len();
    say(&format!("the agent with ten apps, resident: median {median} KiB, most {most} KiB, looked at {count} times\n"));
    assert!(count == 40 && median <= RESIDENT_LIMIT_KIB, "{memory}");

    // Ends are known after the power was off.
    guest.restart();
    let kept = guest.app("crasher");
    assert!(kept["ends"].as_array().is_some_and(|ends| ends.len() >= 3), "{kept:#}");
    let user = guest.app("filler")["user"].clone();
    assert_eq!(user, full["user"], "its number is another after a restart");
}
