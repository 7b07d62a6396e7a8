//! Two builds at once in one cache.

use crate::command::{Ended, PROGRAM};
use crate::tiny::Tiny;
use std::process::{Command, Stdio};

#[test]
fn two_builds_at_once_run_each_task_once() {
    let tiny = Tiny::new();
    tiny.script("first", &[], "mkdir -p $DESTDIR/usr\nsleep 1\necho 1 > $DESTDIR/usr/first");
    tiny.script("second", &["first"], "mkdir -p $DESTDIR/usr\nsleep 1\necho 2 > $DESTDIR/usr/second");
    let start = || {
        let mut command = Command::new(PROGRAM);
        let command = tiny.project.prepare(command.args(["build", "second"]));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started")
    };
    let ended = [start(), start()].map(|child| Ended::of(child.wait_with_output().expect("ended")).succeeds());
    let both = format!("{}{}", ended[0].errors, ended[1].errors);
    for task in ["tools:tiny", "first:build", "second:build"] {
        let runs = both.lines().filter(|line| line.starts_with('[') && line.contains(&format!("] {task} "))).count();
        assert_eq!(runs, 1, "{task} ran {runs} times:\n{both}");
    }
    assert!(both.contains("another osbuild is making it; waiting"), "{both}");
    let made = tiny.project.root.join("out/recipes/second/usr/second");
    assert_eq!(std::fs::read_to_string(made).expect("read"), "2\n");
}
