//! Conversations with the shell of this host, on a pseudo-terminal and over a line that is as bad as the test wants.
//!
//! Invariant: the shell is a real one and ends with its test.

use super::wire::Wire;
use super::{Console, SerialError};
use crate::io::file;
use crate::tools::board::Stop;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::pty::{grantpt, ioctl_tiocgptpeer, openpt, ptsname, unlockpt, OpenptFlags};
use rustix::termios::{tcgetattr, LocalModes};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
const KERNEL: &[u8] = b"[   12.345678] usb 1-1: new device\r\n";

/// What becomes of bytes on their way.
type Change = Box<dyn FnMut(&[u8]) -> Vec<u8> + Send>;

fn unchanged() -> Change {
    Box::new(<[u8]>::to_vec)
}

/// A shell at the far end of a line.
struct Device {
    child: Child,
    master: OwnedFd,
    folder: tempfile::TempDir,
    cable: Cable,
}

/// Carries bytes between two ends until it goes.
struct Cable {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Cable {
    fn between(host: OwnedFd, device: OwnedFd, mut to_host: Change, mut to_device: Change) -> Cable {
        let over = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                let mut watched = [PollFd::new(&host, PollFlags::IN), PollFd::new(&device, PollFlags::IN)];
                poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 20_000_000 })).expect("polled");
                let seen = [watched[0].revents(), watched[1].revents()];
                if !seen[0].is_empty() && !carry(&host, &device, &mut to_device) {
                    // Nobody listens any more; the device talks on.
                    std::thread::sleep(Duration::from_millis(1));
                }
                if !seen[1].is_empty() && !carry(&device, &host, &mut to_host) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        Cable { over, thread: Some(thread) }
    }
}

/// False when an end is gone.
fn carry(from: &OwnedFd, to: &OwnedFd, change: &mut Change) -> bool {
    let mut buffer = [0; 4096];
    let Ok(length @ 1..) = rustix::io::read(from, &mut buffer) else { return false };
    let bytes = change(&buffer[..length]);
    let mut left = &bytes[..];
    while !left.is_empty() {
        match rustix::io::write(to, left) {
            Ok(written) => left = &left[written..],
            Err(rustix::io::Errno::AGAIN) => std::thread::sleep(Duration::from_millis(1)),
            Err(_) => return false,
        }
    }
    true
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn terminal() -> (OwnedFd, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).expect("a pseudo-terminal");
    grantpt(&master).expect("granted");
    unlockpt(&master).expect("unlocked");
    let slave = ioctl_tiocgptpeer(&master, flags).expect("its other side");
    (master, slave)
}

impl Device {
    fn start(host: OwnedFd, to_host: Change, to_device: Change) -> Device {
        // What runs the tests in the background may ignore signals, and a shell that begins so can never trap them.
        let argv = ["setsid", "-c", "env", "--default-signal=HUP,INT,QUIT", "sh", "-i"];
        Device::with(&argv, host, to_host, to_device)
    }

    fn with(argv: &[&str], host: OwnedFd, to_host: Change, to_device: Change) -> Device {
        let (master, slave) = terminal();
        let mut command = Command::new(argv[0]);
        let copy = || slave.try_clone().expect("a copy");
        command.args(&argv[1..]).stdin(copy()).stdout(copy()).stderr(copy()).env("PS1", "device:~# ");
        let child = command.spawn().expect("started");
        drop((slave, command));
        if argv.contains(&"-i") {
            prompts(&master);
        }
        let cable = Cable::between(host, master.try_clone().expect("a copy"), to_host, to_device);
        Device { child, master, folder: tempfile::tempdir().expect("a folder"), cable }
    }

    fn ours(&self) -> PathBuf {
        self.folder.path().join("serial")
    }

    /// What runs in the shell's session, as the kernel describes it: for messages.
    fn processes(&self) -> Vec<String> {
        let session = self.child.id().to_string();
        let all = std::fs::read_dir("/proc").expect("processes").flatten();
        let stats = all.filter_map(|process| file::read_text(&process.path().join("stat")).ok());
        let ours = |stat: &String| {
            let (_, rest) = stat.rsplit_once(')')?;
            (rest.split_whitespace().nth(3)? == session).then_some(())
        };
        stats.filter(|stat| ours(stat).is_some()).collect()
    }

    fn meet(&self, line: UnixStream) -> Result<Console, SerialError> {
        let wire = Wire::over(line, Path::new("/dev/line"), &Stop::default())?;
        Console::over(wire, self.ours().to_str().expect("a path"))
    }
}

/// Waits for the prompt: a shell that is only starting dies of a Ctrl-C.
fn prompts(master: &OwnedFd) {
    let (mut seen, mut buffer) = (Vec::new(), [0; 256]);
    while !seen.ends_with(b"# ") {
        let length = rustix::io::read(master, &mut buffer).expect("a prompt");
        seen.extend_from_slice(&buffer[..length]);
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = &self.cable;
    }
}

fn line() -> (UnixStream, OwnedFd) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    (ours, theirs.into())
}

/// Puts the kernel's words in after every so many bytes.
fn loud(every: usize) -> Change {
    let mut passed = 0;
    Box::new(move |bytes| {
        let mut out = Vec::new();
        for byte in bytes {
            out.push(*byte);
            passed += 1;
            if passed % every == 0 {
                out.extend_from_slice(KERNEL);
            }
        }
        out
    })
}

/// Bytes that are of every kind and never twice the same.
fn content(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(next).collect()
}

fn exchanges(console: &mut Console) {
    let mut run = |command: &str, reads| {
        let ended = console.run(command, reads, PATIENCE).unwrap_or_else(|error| panic!("{command}: {error}"));
        (ended.status, ended.output)
    };
    assert_eq!(run("true", false), (0, vec![]));
    assert_eq!(run("echo \"it's $((6 * 7))\"; echo why >&2; exit 3", false), (3, b"it's 42\nwhy\n".to_vec()));
    assert_eq!(run("printf 'no end'", false), (0, b"no end".to_vec()));
    assert_eq!(run("cat", false), (0, vec![]), "nothing is to be read");
    assert_eq!(run("seq 2000 | tail -n 1", false), (0, b"2000\n".to_vec()));
}

#[test]
fn commands_answer_with_a_status_and_every_byte_they_said() {
    // One that edits its lines, as a device's does, and one that does not.
    for shell in [&["setsid", "-c", "sh", "-i"][..], &["setsid", "-c", "bash", "--norc", "-i"]] {
        let (ours, theirs) = line();
        let device = Device::with(shell, theirs, unchanged(), unchanged());
        let mut console = device.meet(ours).expect("a shell");
        exchanges(&mut console);
        drop(console);
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(20));
            if !device.ours().exists() {
                break;
            }
        }
        assert!(!device.ours().exists(), "something of ours is left");
        if shell[2] == "sh" {
            let modes = tcgetattr(device.master.as_fd()).expect("modes").local_modes;
            assert!(modes.contains(LocalModes::ECHO | LocalModes::ICANON), "a person would not see what is typed");
        }
    }
}

#[test]
fn a_kernel_that_talks_in_between_changes_nothing() {
    let (ours, theirs) = line();
    // A prime, so that it falls on every place of our lines.
    let device = Device::start(theirs, loud(487), unchanged());
    let mut console = device.meet(ours).expect("a shell");
    exchanges(&mut console);
    let content = content(10_000);
    console.bring(&content, &mut |_, _| {}).expect("brought");
    assert_eq!(console.run("wc -c", true, PATIENCE).expect("ran").output, b"10000\n");
}

#[test]
fn what_is_lost_or_added_on_the_way_is_sent_again() {
    for damage in [0, 1, 2] {
        let (ours, theirs) = line();
        let (mut passed, mut left) = (0, 2);
        let bad: Change = Box::new(move |bytes| {
            passed += bytes.len();
            if left == 0 || passed < 20_000 {
                return bytes.to_vec();
            }
            (passed, left) = (0, left - 1);
            match damage {
                0 => bytes[1..].to_vec(),
                1 => [bytes, b"AAAA"].concat(),
                _ => bytes.iter().map(|byte| if *byte == b'Q' { b'R' } else { *byte }).collect(),
            }
        });
        let device = Device::start(theirs, unchanged(), bad);
        let mut console = device.meet(ours).expect("a shell");
        let content = content(70_000);
        let mut told = Vec::new();
        console.bring(&content, &mut |there, all| told.push((there, all))).expect("brought");
        let all = told[0].1;
        assert!(all >= 70_000, "this content has nothing to compress");
        assert_eq!(told, [(32 << 10, all), (64 << 10, all), (all, all)]);
        let ended = console.run("cat", true, PATIENCE).expect("ran");
        assert!(ended.output == content, "damage {damage} came through");
    }
}

#[test]
fn a_line_that_never_carries_a_part_whole_is_given_up() {
    let (ours, theirs) = line();
    let bad: Change = Box::new(|bytes| if bytes.len() > 1000 { bytes[1..].to_vec() } else { bytes.to_vec() });
    let device = Device::start(theirs, unchanged(), bad);
    let mut console = device.meet(ours).expect("a shell");
    let error = console.bring(&content(30_000), &mut |_, _| {}).expect_err("never whole");
    assert!(matches!(error, SerialError::Damaged { .. }), "{error}");
}

#[test]
fn lines_are_shown_as_they_come_and_the_kernels_are_not() {
    let (ours, theirs) = line();
    let mut first = true;
    let device = Device::start(
        theirs,
        Box::new(move |bytes| {
            let noise = if std::mem::take(&mut first) { KERNEL } else { b"" };
            [noise, bytes].concat()
        }),
        unchanged(),
    );
    let mut console = device.meet(ours).expect("a shell");
    let mut lines = Vec::new();
    let status = console.follow("echo '  one \\'; sleep 0.1; echo; echo two >&2; exit 4", &mut |line| {
        lines.push(line.to_owned());
    });
    assert_eq!((status.expect("followed"), lines), (4, vec!["  one \\".to_owned(), String::new(), "two".to_owned()]));
    exchanges(&mut console);
}

#[test]
fn a_wish_to_stop_ends_what_runs_there_too() {
    let (ours, theirs) = line();
    let device = Device::start(theirs, unchanged(), unchanged());
    let flag = Arc::new(AtomicBool::new(false));
    let wire = Wire::over(ours, Path::new("/dev/line"), &Stop::at(Arc::clone(&flag))).expect("a wire");
    let mut console = Console::over(wire, device.ours().to_str().expect("a path")).expect("a shell");
    let place = |name| device.folder.path().join(name);
    let (begun, over) = (place("begun"), place("over"));
    let command =
        format!("trap 'touch {}; exit' INT; touch {}; while :; do sleep 0.1; done", over.display(), begun.display());
    let ended = std::thread::scope(|scope| {
        let run = scope.spawn(|| console.run(&command, false, PATIENCE));
        while !begun.exists() {
            std::thread::sleep(Duration::from_millis(20));
        }
        flag.store(true, Ordering::Relaxed);
        run.join().expect("joined")
    });
    assert!(matches!(ended, Err(SerialError::Interrupted)), "{ended:?}");
    drop(console);
    let start = Instant::now();
    let is_over = || over.exists() && !device.ours().exists();
    while !is_over() && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
    }
    let left: Vec<_> = std::fs::read_dir(device.ours()).into_iter().flatten().flatten().map(|at| at.path()).collect();
    let runs = device.processes();
    assert!(over.exists(), "it goes on; left of ours: {left:?}; processes: {runs:#?}");
    assert!(is_over(), "something of ours is left: {left:?}; processes: {runs:#?}");
}

/// What is said to somebody who finds `argv` at the other end.
fn refusal(argv: &[&str]) -> String {
    let (ours, theirs) = line();
    let device = Device::with(argv, theirs, unchanged(), unchanged());
    // So that it is what it is to be.
    std::thread::sleep(Duration::from_millis(300));
    let error = device.meet(ours).map(|_| ()).expect_err("no shell");
    assert!(error.help().is_some(), "{error}");
    error.to_string()
}

#[test]
fn whatever_is_no_shell_of_use_is_told_apart() {
    let cases: [(&[&str], &str); 4] = [
        (
            &["sh", "-c", "trap '' INT; while printf 'board login: '; do read name; done"],
            "a login prompt answers on the serial line `/dev/line`",
        ),
        (&["sh", "-c", "stty -echo; exec sleep 60"], "nothing answers"),
        (
            &["sh", "-c", "stty -echo; while echo '[ 1.0] booting'; do sleep 0.3; done"],
            "the last it said:\n  [ 1.0] booting",
        ),
        (&["env", "PATH=/nonexistent", "/bin/sh", "-i"], "does not have: stty head base64 dd sha256sum gunzip mkdir"),
    ];
    // Each of them is waited for long.
    std::thread::scope(|scope| {
        for (argv, wanted) in cases {
            scope.spawn(move || {
                let said = refusal(argv);
                assert!(said.contains(wanted), "{said}");
            });
        }
    });
}

#[test]
fn a_terminal_is_had_alone_and_left_as_it_was() {
    let (host, slave) = terminal();
    let path = PathBuf::from(ptsname(&host, Vec::new()).expect("a name").into_string().expect("a path"));
    let modes = |end: &OwnedFd| format!("{:?}", tcgetattr(end).expect("modes"));
    let before = modes(&slave);
    let device = Device::start(host, unchanged(), unchanged());
    let folder = device.ours();
    let wire = Wire::open(&path, &Stop::default()).expect("a wire");
    assert_ne!(modes(&slave), before);
    let again = Wire::open(&path, &Stop::default()).map(|_| ()).expect_err("taken");
    assert!(matches!(again, SerialError::Busy(_)), "{again}");
    let mut console = Console::over(wire, folder.to_str().expect("a path")).expect("a shell");
    exchanges(&mut console);
    drop(console);
    assert_eq!(modes(&slave), before);
    for path in ["/dev/null", "/etc/passwd"] {
        let error = Wire::open(Path::new(path), &Stop::default()).map(|_| ()).expect_err("no line");
        assert!(matches!(error, SerialError::NoLine(_)), "{error}");
    }
}
