//! Builds that are ended in the middle, politely or not: nothing runs on, and nothing finished is done again.

use crate::command::{Ended, PROGRAM};
use crate::server::serve;
use crate::tiny::Tiny;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Two recipes, the second of which sleeps for `seconds`, a number that no other process has.
fn sleeper(seconds: &str) -> Tiny {
    let tiny = Tiny::new();
    tiny.script("first", &[], "mkdir -p $DESTDIR/usr\necho 1 > $DESTDIR/usr/first");
    tiny.script("second", &["first"], &format!("mkdir -p $DESTDIR/usr\nsleep {seconds}\necho 2 > $DESTDIR/usr/second"));
    tiny
}

fn start(tiny: &Tiny, args: &[&str]) -> Child {
    let mut command = Command::new(PROGRAM);
    let command = tiny.project.prepare(command.args(args));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started")
}

/// How many processes have `sleep SECONDS` as their command line.
fn sleeping(seconds: &str) -> usize {
    let wanted = format!("sleep\0{seconds}\0");
    let processes = std::fs::read_dir("/proc").expect("listed").flatten();
    processes.filter(|entry| std::fs::read(entry.path().join("cmdline")).is_ok_and(|c| c == wanted.as_bytes())).count()
}

fn wait_until(what: &str, reached: impl Fn() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status().expect("sent");
    assert!(sent.success());
}

/// The second recipe no longer sleeps; only what was not finished runs.
fn resumes(tiny: &Tiny, seconds: &str) {
    tiny.project.edit("recipes/second/recipe.yaml", &format!("sleep {seconds}"), "sleep 0");
    let ended = tiny.osbuild(&["build", "second"]).succeeds();
    assert!(ended.errors.contains("] second:build "), "{}", ended.errors);
    for task in ["tools:tiny", "first:build"] {
        assert!(!ended.errors.contains(&format!("] {task} ")), "{task} was done again:\n{}", ended.errors);
    }
    tiny.osbuild(&["cache", "verify"]).succeeds();
}

#[test]
fn ctrl_c_ends_the_sandboxes_and_says_how_to_go_on() {
    let seconds = format!("601.{}", std::process::id());
    let tiny = sleeper(&seconds);
    let child = start(&tiny, &["build", "second"]);
    wait_until("the task runs", || sleeping(&seconds) == 1);
    signal(&child, "INT");
    let ended = Ended::of(child.wait_with_output().expect("ended"));
    assert_eq!(ended.status, 130, "{}", ended.errors);
    assert!(ended.errors.contains("error: interrupted; what is finished is kept: run the same command again to go on"));
    assert_eq!(sleeping(&seconds), 0, "the sandbox runs on");
    resumes(&tiny, &seconds);
}

#[test]
fn a_build_that_is_killed_takes_its_sandboxes_along_and_is_resumed() {
    let seconds = format!("602.{}", std::process::id());
    let tiny = sleeper(&seconds);
    let mut child = start(&tiny, &["build", "second"]);
    wait_until("the task runs", || sleeping(&seconds) == 1);
    signal(&child, "KILL");
    child.wait().expect("ended");
    wait_until("the sandbox has ended", || sleeping(&seconds) == 0);
    let count = |name: &str| std::fs::read_dir(tiny.cache.path().join(name)).expect("listed").count();
    assert_eq!(count("unsynced"), 1, "a power cut now would go unnoticed");
    let ended = tiny.osbuild(&["build", "first"]).succeeds();
    assert!(ended.errors.is_empty(), "the machine is still the same: {}", ended.errors);
    assert_eq!(count("unsynced"), 0);
    resumes(&tiny, &seconds);
    assert_eq!(count("tmp"), 0, "what the killed build left is swept");
}

#[test]
fn ctrl_c_does_not_wait_for_a_download() {
    let tiny = Tiny::new();
    tiny.script("one", &[], "");
    // Sends its header and one byte, and then keeps the line open for longer than anybody would wait.
    let server = serve(|_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nx")?;
        std::thread::sleep(Duration::from_secs(60));
        Ok(())
    });
    let mut tiny = tiny;
    tiny.project.env.push(("OSBUILD_MIRROR", server.url()));
    let child = start(&tiny, &["build", "one"]);
    wait_until("the download has begun", || server.requests() > 0);
    std::thread::sleep(Duration::from_millis(500));
    let start = Instant::now();
    signal(&child, "INT");
    let ended = Ended::of(child.wait_with_output().expect("ended"));
    assert_eq!(ended.status, 130, "{}", ended.errors);
    assert!(ended.errors.contains("interrupted; what is finished is kept"), "{}", ended.errors);
    assert!(start.elapsed() < Duration::from_secs(8), "it waited for {:?}", start.elapsed());
}

#[test]
fn what_a_failure_left_outlives_a_shell_that_is_killed_and_belongs_to_one_at_a_time() {
    let seconds = format!("603.{}", std::process::id());
    let tiny = Tiny::new();
    tiny.script("broken", &[], "mkdir -p $DESTDIR/usr\necho evidence > $DESTDIR/usr/x\nfalse");
    tiny.osbuild(&["build", "broken"]).fails_with(&["task `broken:build` failed"]);
    let mut shell =
        start(&tiny, &["shell", "broken:build", "--", "sh", "-c", &format!("echo more > y; sleep {seconds}")]);
    wait_until("the shell runs", || sleeping(&seconds) == 1);
    tiny.osbuild(&["shell", "broken:build", "--", "cat", "y"]).fails_with(&["another shell is open", "help: leave it"]);
    // The same failure once more does not pull the ground away.
    tiny.osbuild(&["build", "broken"]).fails_with(&["task `broken:build` failed"]);
    signal(&shell, "KILL");
    shell.wait().expect("ended");
    wait_until("the sandbox has ended", || sleeping(&seconds) == 0);
    let ended = tiny.osbuild(&["shell", "broken:build", "--", "cat", "out/usr/x", "y"]).succeeds();
    assert!(ended.errors.contains("as its last failure left it"), "{}", ended.errors);
    assert_eq!(ended.output, "evidence\nmore\n");
}
