//! A person at a terminal: keys in, what is on the screen out.
//!
//! Invariant: waiting ends, with the screen in the message.

use super::{Ended, Project};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::pty::{grantpt, ioctl_tiocgptpeer, openpt, unlockpt, OpenptFlags};
use rustix::termios::{tcgetattr, tcsetwinsize, LocalModes, Winsize};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);

pub struct Terminal {
    master: OwnedFd,
    child: Child,
    output: File,
    /// What was drawn since the last key, as it came.
    drawn: Vec<u8>,
}

impl Terminal {
    /// Starts osbuild with a terminal of 100 columns; its standard output is a file.
    pub fn start(project: &Project, args: &[&str]) -> Terminal {
        Terminal::with_output(project, args, |_, output| Stdio::from(output))
    }

    /// The same, with standard output on the terminal too.
    pub fn whole(project: &Project, args: &[&str]) -> Terminal {
        Terminal::with_output(project, args, |slave, _| Stdio::from(slave))
    }

    fn with_output(project: &Project, args: &[&str], choose: impl FnOnce(OwnedFd, File) -> Stdio) -> Terminal {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("a pseudo-terminal");
        grantpt(&master).expect("granted");
        unlockpt(&master).expect("unlocked");
        let slave = ioctl_tiocgptpeer(&master, flags).expect("its other side");
        set_size(&master, 32, 100);
        let output = tempfile::tempfile().expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_osbuild"));
        project.prepare(&mut command).args(args).env("TERM", "xterm-256color");
        let copy = || slave.try_clone().expect("a copy");
        command.stdin(copy()).stderr(copy()).stdout(choose(copy(), output.try_clone().expect("a copy")));
        drop(slave);
        let child = command.spawn().expect("started");
        Terminal { master, child, output, drawn: Vec::new() }
    }

    /// Waits until `text` is drawn.
    pub fn sees(&mut self, text: &str) -> &mut Terminal {
        let start = Instant::now();
        while !self.screen().contains(text) {
            assert!(self.read(), "`{text}` was not drawn before the end:\n{}", self.screen());
            assert!(start.elapsed() < PATIENCE, "`{text}` is not drawn:\n{}", self.screen());
        }
        self
    }

    /// Types `keys` and forgets what was drawn before.
    pub fn types(&mut self, keys: &str) -> &mut Terminal {
        self.drawn.clear();
        rustix::io::write(&self.master, keys.as_bytes()).expect("typed");
        self
    }

    /// The window gets another size; a moment later everybody knows.
    pub fn resize(&mut self, rows: u16, columns: u16) -> &mut Terminal {
        set_size(&self.master, rows, columns);
        std::thread::sleep(Duration::from_millis(500));
        self
    }

    /// Sends osbuild the signal of that name.
    pub fn signal(&mut self, name: &str) -> &mut Terminal {
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status();
        assert!(sent.expect("sent").success());
        self
    }

    /// Whether lines are edited and echoed by the terminal, as a shell expects to find it.
    pub fn is_as_before(&self) -> bool {
        let modes = tcgetattr(&self.master).expect("a terminal").local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// From now on what is drawn goes to whoever connects to the socket at `path`, and their bytes are typed.
    pub fn serve(&self, path: &Path) {
        let listener = UnixListener::bind(path).expect("a socket");
        let master = self.master.try_clone().expect("a copy");
        std::thread::spawn(move || serve(&listener, &master));
    }

    pub fn ends(&mut self) -> Ended {
        let start = Instant::now();
        while self.read() {
            assert!(start.elapsed() < PATIENCE, "it does not end:\n{}", self.screen());
        }
        let status = self.child.wait().expect("ended").code().unwrap_or(-1);
        let mut output = String::new();
        self.output.rewind().expect("rewound");
        self.output.read_to_string(&mut output).expect("read");
        Ended { status, output, errors: self.screen() }
    }

    /// Reads what is there, or waits a moment; false at the end.
    fn read(&mut self) -> bool {
        let mut watched = [PollFd::new(&self.master, PollFlags::IN)];
        poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 100_000_000 })).expect("polled");
        if watched[0].revents().is_empty() {
            return true;
        }
        let mut buffer = [0; 4096];
        match rustix::io::read(&self.master, &mut buffer) {
            Ok(length) if length > 0 => self.drawn.extend(&buffer[..length]),
            // The last program has closed the other side.
            _ => return false,
        }
        true
    }

    /// What was drawn, without colours and movements.
    pub fn screen(&self) -> String {
        let drawn = String::from_utf8_lossy(&self.drawn);
        let mut text = String::new();
        let mut characters = drawn.chars();
        while let Some(character) = characters.next() {
            match character {
                '\x1b' => match characters.next() {
                    Some('[') => drop(characters.find(|c| c.is_ascii_alphabetic())),
                    Some('(') => drop(characters.next()),
                    _ => {}
                },
                '\r' => {}
                other => text.push(other),
            }
        }
        text
    }
}

/// Until the program's end. What is drawn for nobody is forgotten, so that the program never waits.
fn serve(listener: &UnixListener, master: &OwnedFd) {
    let (mut guest, mut buffer) = (None, [0; 4096]);
    loop {
        let mut watched = vec![PollFd::new(master, PollFlags::IN), PollFd::new(listener, PollFlags::IN)];
        watched.extend(guest.as_ref().map(|guest| PollFd::new(guest, PollFlags::IN)));
        poll(&mut watched, None).expect("polled");
        let seen: Vec<bool> = watched.iter().map(|watched| !watched.revents().is_empty()).collect();
        if seen[0] {
            let Ok(length @ 1..) = rustix::io::read(master, &mut buffer) else { return };
            // A guest who has gone is noticed below.
            let _ = guest.as_mut().map(|guest: &mut UnixStream| guest.write_all(&buffer[..length]));
        }
        if seen.get(2) == Some(&true) {
            match guest.as_mut().map(|guest| guest.read(&mut buffer)) {
                Some(Ok(length @ 1..)) => type_all(master, &buffer[..length]),
                _ => guest = None,
            }
        }
        if seen[1] {
            guest = Some(listener.accept().expect("a guest").0);
        }
    }
}

fn type_all(master: &OwnedFd, mut keys: &[u8]) {
    while !keys.is_empty() {
        let Ok(written) = rustix::io::write(master, keys) else { return };
        keys = &keys[written..];
    }
}

fn set_size(master: &OwnedFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(master, size).expect("sized");
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
