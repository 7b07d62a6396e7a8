//! A process that is copied, and a copy that confines itself: without the test harness, which has threads.
//!
//! Invariant: each check looks at what the kernel says of the copy, or at how it ended.
#![allow(clippy::disallowed_methods)]

use osbuild_sys::confinement::{drop_privileges, Confinement, Resource};
use osbuild_sys::landlock::Rules;
use osbuild_sys::seccomp::{number_of, Case, Filter, SystemCall, Verdict};
use osbuild_sys::twin::twin;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;

const SIGKILL: i32 = 9;
const SIGSYS: i32 = 31;

fn main() {
    a_copy_answers_and_its_end_is_told();
    a_copy_ends_with_its_maker();
    a_confined_copy_has_no_more_than_it_was_left();
    let thread = std::thread::spawn(|| twin(|| 0).expect_err("there are two threads").to_string());
    assert!(thread.join().expect("no panic").contains("2 threads"));
    println!("twin: ok");
}

fn a_copy_answers_and_its_end_is_told() {
    let (mut ours, mut its) = UnixStream::pair().expect("a pair");
    let held = vec![7_u8; 3];
    let copy = twin(move || {
        its.write_all(&held).expect("written");
        23
    })
    .expect("copied");
    let mut heard = Vec::new();
    ours.read_to_end(&mut heard).expect("read to its end: here the other end was dropped");
    assert_eq!(heard, [7; 3]);
    assert_eq!(copy.wait().expect("waited").code(), Some(23));
    std::panic::set_hook(Box::new(|_| {}));
    let copy = twin(|| panic!("a bug")).expect("copied");
    assert_eq!(copy.wait().expect("waited").code(), Some(101));
    drop(std::panic::take_hook());
}

fn a_copy_ends_with_its_maker() {
    let (mut ours, its) = UnixStream::pair().expect("a pair");
    let maker = twin(move || {
        let copy = twin(move || {
            (&its).write_all(b"up").expect("written");
            std::thread::sleep(std::time::Duration::from_secs(600));
            0
        });
        // Killed, it has no time to end anything by itself.
        std::thread::sleep(std::time::Duration::from_secs(600));
        copy.is_err().into()
    })
    .expect("copied");
    let mut heard = [0; 2];
    ours.read_exact(&mut heard).expect("it is up");
    let pid = rustix::process::Pid::from_raw(maker.pid() as i32).expect("a number");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    assert_eq!(maker.wait().expect("waited").signal(), Some(SIGKILL));
    assert_eq!(ours.read(&mut heard).expect("nobody has the other end"), 0);
}

fn a_confined_copy_has_no_more_than_it_was_left() {
    // Newer processors never had the older ones.
    let allowed = |name: &&str| {
        let number = number_of(name)?;
        Some(SystemCall { number, cases: vec![Case { conditions: Vec::new(), verdict: Verdict::Allow }] })
    };
    let needed = ["openat", "open", "read", "close", "fstat", "statx", "lseek", "write", "munmap", "brk", "mmap"];
    let ending = ["exit_group", "sigaltstack", "rt_sigprocmask", "getppid"];
    let calls: Vec<SystemCall> = needed.iter().chain(&ending).filter_map(allowed).collect();
    let confined = |work: fn() -> u8| {
        let rules = Rules { read: vec!["/proc".into()], scope: true, ..Rules::default() };
        let confinement = Confinement {
            limits: vec![(Resource::OpenFiles, 16), (Resource::CoreBytes, 0), (Resource::DataBytes, 64 << 20)],
            no_new_code: true,
            landlock: Some(rules.prepare().expect("prepared")),
            filters: vec![Filter::compile(&calls).expect("compiled")],
        };
        let copy = twin(move || {
            drop_privileges().expect("anyone may");
            confinement.enforce().expect("the kernel knows how");
            work()
        });
        copy.expect("copied").wait().expect("waited")
    };
    let ended = confined(|| {
        let status = std::fs::read_to_string("/proc/self/status").expect("a rule says so");
        let said =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).expect("a line").trim().to_owned();
        let none = "0000000000000000";
        let found = ["CapEff:", "CapPrm:", "CapBnd:", "CapInh:", "NoNewPrivs:", "Seccomp:"].map(said);
        let limits = std::fs::read_to_string("/proc/self/limits").expect("a rule says so");
        let files = limits.lines().any(|line| line.starts_with("Max open files            16 "));
        let data = limits.lines().any(|line| line.starts_with("Max data size             67108864 "));
        let denied = OpenOptions::new().write(true).open("/dev/null").expect_err("no rule says so").kind();
        u8::from(found != [none, none, none, none, "1", "2"]) << 2
            | u8::from(!files || !data) << 1
            | u8::from(denied != ErrorKind::PermissionDenied)
    });
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert_eq!(confined(|| u8::from(std::net::UdpSocket::bind("127.0.0.1:0").is_err())).signal(), Some(SIGSYS));
}
