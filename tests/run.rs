//! `osbuild run` in a terminal, and boards that are ended early: real boots, seen as a person sees them.
//!
//! Invariant: each test has a project of its own, and with it keys, state and ports; what the user keeps in `out/` is
//! left alone. One machine runs at a time, so that none starves another.
#![allow(clippy::disallowed_methods)]

mod command;

use command::terminal::Terminal;
use command::{copy, osbuild, Ended, Project, PROGRAM};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const MACHINE: &str = "layers/core/machines/qemu-x86_64.yaml";
const LEAVE: &str = "\x01x";

/// Held by whoever runs a machine.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A copy of this repository with the image built and a forward at a port that is free.
fn project(product: &str) -> Project {
    let project = Project::copy();
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).expect("a port");
    project.edit(MACHINE, "{2222: 22}", &format!("{{{}: 22}}", free.port()));
    osbuild(&project, &["image", product]).succeeds();
    project
}

#[test]
fn the_production_image_boots_in_a_terminal_and_ctrl_a_x_leaves_nothing_behind() {
    let _turn = turn();
    let project = project("gateway");
    let mut terminal = Terminal::whole(&project, &["run", "gateway", "--snapshot"]);
    terminal.sees("starts as from the factory; forgets what this run changes").sees("osagent: ready in");
    assert!(!terminal.screen().contains("ssh -p"), "this product lets nobody in:\n{}", terminal.screen());
    // Ctrl-C is a key like any other: it belongs to the guest.
    terminal.types("\x03").types(LEAVE);
    terminal.ends().succeeds();
    assert!(terminal.is_as_before(), "the terminal is not as it was");
    let kept = project.root.join("out/run/gateway");
    for name in ["disk.qcow2", "variables.fd", "tpm"] {
        assert!(!kept.join(name).exists(), "`{name}` was kept");
    }
}

#[test]
fn what_the_guest_changes_is_kept_or_forgotten_as_asked() {
    let _turn = turn();
    let project = project("gateway-dev");
    let run = |option: &[&str]| Terminal::whole(&project, &[&["run", "gateway-dev"], option].concat());

    let mut first = run(&[]);
    first.sees("starts as from the factory; state in").sees("`vars: ssh_key:` of `gateway-dev` is empty");
    let id = machine_id(&mut first);
    notes(&mut first, "kept");
    first.types(LEAVE).ends().succeeds();

    let mut snapshot = run(&["--snapshot"]);
    snapshot.sees("goes on with the state in");
    assert_eq!(machine_id(&mut snapshot), id);
    notes(&mut snapshot, "forgotten");
    snapshot.types(LEAVE).ends().succeeds();

    // Another image: a snapshot of it has nothing to go on with, and takes nothing away.
    project.write("rootfs/base/etc/greeting", "hello\n");
    let mut other = run(&["--snapshot"]);
    other.sees("changed since the last run").sees("stays as it is").sees("BdsDxe: starting");
    other.types(LEAVE).ends().succeeds();
    std::fs::remove_file(project.root.join("rootfs/base/etc/greeting")).expect("removed");

    let mut second = run(&[]);
    second.sees("goes on with the state in");
    assert_eq!(machine_id(&mut second), id);
    second.types("ls /data; echo th\"\"at\r").sees("that");
    let listed = second.screen();
    assert!(listed.contains("note-kept") && !listed.contains("note-forgotten"), "{listed}");
    second.types(LEAVE).ends().succeeds();

    let mut fresh = run(&["--fresh"]);
    fresh.sees("starts as from the factory; state in");
    assert_ne!(machine_id(&mut fresh), id);
    fresh.types(LEAVE).ends().succeeds();
}

/// The id that a device draws once, as the guest's shell prints it.
fn machine_id(terminal: &mut Terminal) -> String {
    // Typed with quotes, so that what is seen is the program's word and not the line's echo.
    terminal
        .sees("osagent: ready in")
        .types("\r")
        .sees("# ")
        .types("cat /run/machine-id; echo th\"\"at\r")
        .sees("that");
    let screen = terminal.screen();
    let is_id = |line: &&str| line.len() == 32 && line.bytes().all(|byte| byte.is_ascii_hexdigit());
    screen.lines().map(str::trim).find(is_id).unwrap_or_else(|| panic!("no id in:\n{screen}")).to_owned()
}

/// Leaves a file on the data partition, safely on the disk.
fn notes(terminal: &mut Terminal, what: &str) {
    terminal.types(&format!("touch /data/note-{what} && sync && echo no\"\"ted\r")).sees("noted");
}

#[test]
fn a_request_to_end_switches_the_machine_off_and_gives_the_terminal_back() {
    let _turn = turn();
    let project = project("gateway");
    let mut terminal = Terminal::whole(&project, &["run", "gateway"]);
    terminal.sees("BdsDxe: loading");
    assert!(!terminal.is_as_before(), "the guest does not have the terminal");
    let start = Instant::now();
    let ended = terminal.signal("TERM").ends();
    assert_eq!(ended.status, 130, "{}", ended.errors);
    assert!(ended.errors.contains("interrupted; the board is off"), "{}", ended.errors);
    assert!(start.elapsed() < Duration::from_secs(30), "it took {:?}", start.elapsed());
    assert!(terminal.is_as_before(), "the terminal is not as it was");
}

#[test]
fn a_test_is_alone_with_its_board_and_ctrl_c_ends_it_at_once() {
    let _turn = turn();
    let project = project("gateway");
    copy::tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/board"), &project.root.join("tests/board"));
    let mut command = Command::new(PROGRAM);
    project.prepare(&mut command).args(["test", "gateway"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("started");
    let (console, start) = (project.root.join("out/test/gateway/console.log"), Instant::now());
    while !console.exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "the board does not start");
        std::thread::sleep(Duration::from_millis(50));
    }
    osbuild(&project, &["test", "gateway"]).fails_with(&["another test of `gateway` is running"]);
    let start = Instant::now();
    let sent = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().expect("sent");
    assert!(sent.success());
    let ended = Ended::of(child.wait_with_output().expect("ended"));
    assert_eq!(ended.status, 130, "{}", ended.errors);
    assert!(ended.errors.contains("interrupted"), "{}", ended.errors);
    assert!(start.elapsed() < Duration::from_secs(4), "it took {:?}", start.elapsed());
    assert!(!project.root.join("out/test/gateway/report.json").exists(), "a test that was ended has no report");
}

#[test]
fn a_changed_app_runs_on_the_board_within_ten_seconds() {
    const LIMIT: Duration = Duration::from_secs(10);
    let _turn = turn();
    let project = project("gateway-dev");
    let machine = std::fs::read_to_string(project.root.join(MACHINE)).expect("read");
    let (_, rest) = machine.split_once("forwards: {").expect("forwards");
    let address = format!("--ssh=root@127.0.0.1:{}", rest.split_once(':').expect("a port").0);
    osbuild(&project, &["app", "new", "meter", "--lang", "c"]).succeeds();
    let mut terminal = Terminal::whole(&project, &["app", "run", "meter"]);
    terminal.sees("no board runs: starting one").sees("meter 0.1.0 runs on").sees("hello from meter");

    project.edit("apps/meter/main.c", "hello from meter", "changed");
    let start = Instant::now();
    let second = osbuild(&project, &["app", "run", "meter", "--no-logs"]).succeeds();
    let took = start.elapsed();
    assert!(second.output.contains("meter 0.1.0 runs on") && took < LIMIT, "{took:?}: {}", second.errors);
    terminal.sees("changed");
    let ask = |words: &[&str]| osbuild(&project, &[&["app"], words, &[&address]].concat());
    let debug = ask(&["debug", "meter"]).succeeds().output;
    for part in ["meter 0.1.0 (meter): running", "  stopped on request (0.1.0 after", "changed"] {
        assert!(debug.contains(part), "`{part}` is not in:\n{debug}");
    }
    // In Rust, too, whose compiler takes longer.
    osbuild(&project, &["app", "new", "gauge", "--lang", "rust"]).succeeds();
    osbuild(&project, &["app", "run", "gauge", "--no-logs"]).succeeds();
    project.edit("apps/gauge/src/main.rs", "hello from gauge", "changed");
    let start = Instant::now();
    let second = osbuild(&project, &["app", "run", "gauge", "--no-logs"]).succeeds();
    assert!(start.elapsed() < LIMIT, "{:?}: {}", start.elapsed(), second.errors);
    ask(&["stop", "meter"]).succeeds();
    assert!(ask(&["status", "meter"]).succeeds().output.contains("stopped"));
    // A program that does what no app may: the developer is told so at once, and what would help.
    project.edit("apps/meter/main.c", "puts(\"changed\");", "socket(AF_INET, SOCK_STREAM, 0);");
    ask(&["deploy", "meter"]).fails_with(&["`meter` does not run", "forbidden system call: socket"]);
    let debug = ask(&["debug", "meter"]).succeeds().output;
    assert!(debug.contains("more of `socket` comes with `connect`"), "{debug}");
    terminal.signal("INT").ends().succeeds();
    ask(&["status"]).fails_with(&["no way in to"]);
}

#[test]
fn an_app_is_brought_and_looked_after_over_the_console() {
    let _turn = turn();
    let project = project("gateway-dev");
    osbuild(&project, &["app", "new", "meter", "--lang", "c"]).succeeds();
    let file = osbuild(&project, &["app", "build", "meter"]).succeeds().output;
    let file = project.root.join(file.trim());
    let mut terminal = Terminal::whole(&project, &["run", "gateway-dev", "--snapshot"]);
    let socket = project.root.join("out/console");
    terminal.sees("osagent: ready in").serve(&socket);
    let line = socket.to_string_lossy().into_owned();
    let ask = |words: &[&str]| osbuild(&project, &[&["app"], words, &["--serial", &line]].concat());

    let start = Instant::now();
    let deployed = ask(&["deploy", &file.to_string_lossy()]).succeeds();
    assert!(deployed.output.contains(&format!("meter 0.1.0 runs on {line}")), "{}", deployed.output);
    let bytes = file.metadata().expect("a file").len();
    println!("{bytes} bytes were brought and ran within {:?}: {}", start.elapsed(), deployed.errors);
    let status: serde_json::Value =
        serde_json::from_str(&ask(&["status", "meter", "--json"]).succeeds().output).expect("JSON, whole");
    assert_eq!(status["state"], "running");
    assert!(ask(&["logs", "meter"]).succeeds().output.contains("hello from meter"));
    ask(&["stop", "meter"]).succeeds();
    assert!(ask(&["debug", "meter"]).succeeds().output.contains("meter 0.1.0 (meter): stopped"));
    ask(&["start", "nobody"]).fails_with(&[&format!("the device at {line} says: "), "nobody"]);

    terminal.types(LEAVE).ends().succeeds();
    ask(&["status"]).fails_with(&["cannot open the serial line", "help: "]);
}
