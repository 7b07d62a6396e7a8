//! Two builds at once in one cache.

use crate::command::{Ended, PROGRAM};
use crate::tiny::Tiny;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn start(tiny: &Tiny, args: &[&str]) -> Child {
    let mut command = Command::new(PROGRAM);
    let command = tiny.project.prepare(command.args(args));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started")
}

#[test]
fn two_builds_at_once_run_each_task_once() {
    let tiny = Tiny::new();
    tiny.script("first", &[], "mkdir -p $DESTDIR/usr\nsleep 1\necho 1 > $DESTDIR/usr/first");
    tiny.script("second", &["first"], "mkdir -p $DESTDIR/usr\nsleep 1\necho 2 > $DESTDIR/usr/second");
    let start = || start(&tiny, &["build", "second"]);
    let ended = [start(), start()].map(|child| Ended::of(child.wait_with_output().expect("ended")).succeeds());
    let both = format!("{}{}", ended[0].errors, ended[1].errors);
    for task in ["tools:tiny", "first:build", "second:build"] {
        let runs = both.lines().filter(|line| line.starts_with('[') && line.contains(&format!("] {task} "))).count();
        assert_eq!(runs, 1, "{task} ran {runs} times:\n{both}");
    }
    assert!(both.contains("it is being made already; waiting"), "{both}");
    let made = tiny.project.root.join("out/recipes/second/usr/second");
    assert_eq!(std::fs::read_to_string(made).expect("read"), "2\n");
}

/// A script that fails after as many seconds, and says who it is before and after.
fn failing(name: &str, seconds: u32) -> String {
    format!("mkdir -p $DESTDIR/usr\necho {name} > $DESTDIR/usr/x\necho {name} begins\nsleep {seconds}\necho {name} ends\nfalse")
}

#[test]
fn two_failures_of_one_task_keep_their_logs_and_their_sandboxes_apart() {
    let tiny = Tiny::new();
    tiny.script("broken", &[], &failing("slow", 20));
    let logs = tiny.project.root.join("out/logs");
    let slow = start(&tiny, &["build", "broken"]);
    let begun = Instant::now();
    let has_begun = || {
        let files = std::fs::read_dir(&logs).into_iter().flatten().flatten();
        files.map(|file| std::fs::read_to_string(file.path()).unwrap_or_default()).any(|log| log == "slow begins\n")
    };
    while !has_begun() {
        assert!(begun.elapsed() < Duration::from_secs(30), "the task does not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    tiny.script("broken", &[], &failing("quick", 0));
    let quick = tiny.osbuild(&["build", "broken"]).fails_with(&["quick ends"]);
    assert!(!quick.errors.contains("slow ends"), "{}", quick.errors);
    let log = || std::fs::read_to_string(logs.join("broken:build.log")).expect("read");
    assert_eq!(log(), "quick begins\nquick ends\n");
    let slow = Ended::of(slow.wait_with_output().expect("ended")).fails_with(&["slow begins\n", "slow ends"]);
    assert!(!slow.errors.contains("quick ends"), "{}", slow.errors);
    assert_eq!(log(), "slow begins\nslow ends\n");
    let running = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().contains(".log.");
    assert_eq!(std::fs::read_dir(&logs).expect("listed").flatten().filter(running).count(), 0);

    let left = || tiny.osbuild(&["shell", "broken:build", "--", "cat", "out/usr/x"]).succeeds().output;
    assert_eq!(left(), "quick\n");
    tiny.script("broken", &[], &failing("slow", 20));
    assert_eq!(left(), "slow\n");
}

#[test]
fn of_one_task_the_last_failures_are_kept() {
    let tiny = Tiny::new();
    for number in 0..6 {
        tiny.script("broken", &[], &failing(&number.to_string(), 0));
        tiny.osbuild(&["build", "broken"]).fails_with(&["task `broken:build` failed"]);
    }
    let kept = std::fs::read_dir(tiny.cache.path().join("failed")).expect("listed").flatten();
    let read = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("upper/out/usr/x")).expect("read");
    let mut kept: Vec<String> = kept.map(read).collect();
    kept.sort();
    assert_eq!(kept, ["2\n", "3\n", "4\n", "5\n"]);
}
