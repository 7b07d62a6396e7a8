//! The policy of system calls on this host's kernel: ordinary programs run under it, forbidden calls end them.
#![allow(clippy::disallowed_methods)]

use osbuild_format::app::{policy, Manifest};
use osbuild_sys::seccomp::{self, Case, Condition, Filter, SystemCall, Verdict};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};

/// Of the app with these capabilities, as JSON.
fn policy(capabilities: &str) -> Vec<policy::SystemCall> {
    let hash = "ab".repeat(32);
    let manifest = format!(
        r#"{{"format": 1, "id": "a", "version": "1.0.0", "title": "A", "architecture": "{}", "abi": {{}},
        "image": {{"data_blocks": 1, "root_hash": "{hash}", "salt": ""}}, "argv": ["/a"], "capabilities": {capabilities}}}"#,
        std::env::consts::ARCH
    );
    policy::system_calls(&Manifest::from_json(manifest.as_bytes()).expect("a manifest"))
}

const NETWORK: &str = r#"{"connect": [{"host": "a", "port": 1, "protocol": "tcp"}], "devices": ["A"]}"#;

fn filter(calls: &[policy::SystemCall]) -> Filter {
    let condition = |c: &policy::Condition| Condition { argument: c.argument, mask: c.mask, value: c.value };
    let case = |case: &policy::Case| Case {
        conditions: case.conditions.iter().map(condition).collect(),
        verdict: match case.verdict {
            policy::Verdict::Allow => Verdict::Allow,
            policy::Verdict::Errno(errno) => Verdict::Errno(errno),
            policy::Verdict::Kill => Verdict::Kill,
        },
    };
    let call = |call: &policy::SystemCall| SystemCall {
        number: seccomp::number_of(call.name).unwrap_or_else(|| panic!("`{}` has no number", call.name)),
        cases: call.cases.iter().map(case).collect(),
    };
    Filter::compile(&calls.iter().map(call).collect::<Vec<_>>()).expect("compiled")
}

/// Runs a script of the shell under the policy; the filter binds the thread that starts it, too.
fn run(capabilities: &str, script: &str) -> Output {
    let (filter, script) = (filter(&policy(capabilities)), script.to_owned());
    let confined = std::thread::spawn(move || {
        rustix::thread::set_no_new_privs(true).expect("anyone may");
        filter.install().expect("installed");
        Command::new("/bin/sh").args(["-c", &script]).stdin(Stdio::null()).output().expect("started")
    });
    confined.join().expect("no panic")
}

#[test]
fn a_policy_is_a_filter_that_the_kernel_takes() {
    for capabilities in ["{}", NETWORK] {
        let filter = filter(&policy(capabilities));
        assert!(filter.instructions() < 1000, "{}", filter.instructions());
    }
}

#[test]
fn ordinary_programs_run() {
    let script = format!(
        "set -e; mkdir -p {0}; cd {0}; rm -rf *; echo a > b; cp b c; mv c d; mkdir e; ln -s ../d e/f; cat e/f; mkfifo g; rm -r e; date +%Y > /dev/null; \
         (sleep 0.01; echo background) & wait; head -c 9 /dev/urandom | wc -c; ls | sort | tr '\\n' ' '",
        concat!(env!("CARGO_TARGET_TMPDIR"), "/policy")
    );
    let output = run("{}", &script);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{:?}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    assert_eq!(text, "a\nbackground\n9\nb d g ");
}

#[test]
fn forbidden_calls_end_the_program() {
    for forbidden in [
        "unshare -U true",
        "unshare -m true",
        "mount -t tmpfs none /mnt",
        "chroot / true",
        "mknod /tmp/osbuild-node c 1 3",
    ] {
        let output = run(NETWORK, &format!("exec {forbidden}"));
        assert_eq!(output.status.signal(), Some(SIGSYS), "{forbidden}: {output:?}");
    }
}

const SIGSYS: i32 = 31;
