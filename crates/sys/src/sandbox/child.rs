//! Starts a compiled sandbox: clone, map its user, put it into its group, and wait until it runs.
//!
//! Three processes: we; the sandbox's pid 1, which sets up and then only reaps; and the program itself.
//! Invariant: the sandbox does nothing before its user is mapped and its group entered.
#![allow(unsafe_code)]

use super::inside::{inside, Pointers, Setup, REPORT_BYTES};
use super::inside::{STEP_CONFINE, STEP_EXEC, STEP_IDENTITY, STEP_PRIVILEGES, STEP_TERMINAL};
use super::program::Program;
use super::{Network, Sandbox, SandboxError, Stdio};
use crate::answer::check;
use rustix::fd::{AsRawFd, OwnedFd, RawFd};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// linux/sched.h; libc has it as a number that does not fit.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A running sandbox. Dropping it ends everything in it.
#[derive(Debug)]
pub struct Child {
    pid: libc::pid_t,
    reaped: Option<ExitStatus>,
    end: Option<File>,
}

/// A sandbox that somebody else waits for.
#[derive(Debug)]
pub struct Started {
    /// Of the sandbox's pid 1, seen from outside. It passes SIGTERM on, and ends when the program has.
    pub pid: u32,
    /// After that: the program's own wait status, four bytes in native order; nothing when pid 1 was killed.
    pub end: File,
}

pub(super) fn spawn(sandbox: &Sandbox, program: Program) -> Result<Child, SandboxError> {
    let Waiting { child, go, report } = start(sandbox, &program)?;
    map_identity(child.pid, sandbox).map_err(SandboxError::Namespaces)?;
    File::from(go).write_all(b"g").map_err(SandboxError::Namespaces)?;
    await_exec(report, &program)?;
    Ok(child)
}

/// The sandbox's pid 1, which waits for a word in `go` before it does anything.
struct Waiting {
    child: Child,
    go: OwnedFd,
    report: OwnedFd,
}

fn start(sandbox: &Sandbox, program: &Program) -> Result<Waiting, SandboxError> {
    let (report_read, report_write) = pipe()?;
    let (go_read, go_write) = pipe()?;
    let (end_read, end_write) = pipe()?;
    let null = File::options().read(true).write(true).open("/dev/null").map_err(SandboxError::Namespaces)?;
    let own = rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty());
    let own = own.map_err(|e| SandboxError::Namespaces(e.into()))?;
    let setup = Setup {
        program,
        pointers: &Pointers::of(program),
        descriptors: descriptors(sandbox, &null),
        report: report_write.as_raw_fd(),
        go: [go_read.as_raw_fd(), go_write.as_raw_fd()],
        maker: own.as_raw_fd(),
        end: end_write.as_raw_fd(),
        identity: (sandbox.uid, sandbox.gid),
        terminal: sandbox.terminal,
        confinement: &sandbox.confinement,
    };
    let mut flags =
        libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    let visit = match &sandbox.network {
        Network::None => {
            flags |= libc::CLONE_NEWNET;
            None
        }
        Network::Host => None,
        Network::Of(namespace) => Some(Visit::begin(namespace)?),
    };
    // SAFETY: the child runs `inside`, which only makes system calls with arguments prepared above and never returns.
    let pid = unsafe { clone(flags, sandbox.group.as_ref()) };
    if pid == 0 {
        inside(&setup);
    }
    let failed = (pid < 0).then(io::Error::last_os_error);
    // Before anything else: whatever this thread opens belongs to the network that it is in.
    let returned = visit.map_or(Ok(()), Visit::end);
    if let Some(error) = failed {
        return returned.and(Err(SandboxError::Namespaces(error)));
    }
    let mut child = Child::new(pid as libc::pid_t);
    child.end = Some(File::from(end_read));
    returned.map(|()| Waiting { child, go: go_write, report: report_read })
}

/// Fork into new namespaces, and into a control group where there is one: to move there later would wait for every
/// processor. Without a group it is the older call, which sandboxes around us know.
unsafe fn clone(flags: libc::c_int, group: Option<&File>) -> libc::c_long {
    let Some(group) = group else {
        // Without CLONE_VM this is fork: the child has its own memory.
        return libc::syscall(libc::SYS_clone, flags | libc::SIGCHLD, 0, 0, 0, 0);
    };
    let mut args: libc::clone_args = std::mem::zeroed();
    args.flags = flags as u64 | CLONE_INTO_CGROUP;
    args.exit_signal = libc::SIGCHLD as u64;
    args.cgroup = group.as_raw_fd() as u64;
    libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>())
}

/// This thread in another network namespace, which a process that it makes inherits.
struct Visit {
    own: File,
}

impl Visit {
    fn begin(namespace: &OwnedFd) -> Result<Visit, SandboxError> {
        let failed = |source| SandboxError::Setup { step: "enter the network".to_owned(), source };
        let own = File::options().read(true).open("/proc/thread-self/ns/net").map_err(failed)?;
        enter(namespace.as_raw_fd()).map_err(failed)?;
        Ok(Visit { own })
    }

    fn end(self) -> Result<(), SandboxError> {
        enter(self.own.as_raw_fd()).map_err(SandboxError::Lost)
    }
}

fn enter(namespace: RawFd) -> io::Result<()> {
    // SAFETY: setns takes an open descriptor and a number; it changes this thread only.
    check(unsafe { libc::setns(namespace, libc::CLONE_NEWNET) })
}

/// What becomes 0, 1 and 2 of the program.
fn descriptors(sandbox: &Sandbox, null: &File) -> [RawFd; 3] {
    let stdio = [(0, &sandbox.stdin), (1, &sandbox.stdout), (2, &sandbox.stderr)];
    stdio.map(|(number, stdio)| match stdio {
        Stdio::Inherit => number,
        Stdio::Null => null.as_raw_fd(),
        Stdio::File(file) => file.as_raw_fd(),
    })
}

fn pipe() -> Result<(OwnedFd, OwnedFd), SandboxError> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|e| SandboxError::Namespaces(e.into()))
}

/// One uid and one gid become the sandbox's; `setgroups` must be denied first (user_namespaces(7)).
fn map_identity(pid: libc::pid_t, sandbox: &Sandbox) -> io::Result<()> {
    let own = || (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let (user, group) = sandbox.outside.unwrap_or_else(own);
    std::fs::write(format!("/proc/{pid}/setgroups"), "deny")?;
    std::fs::write(format!("/proc/{pid}/gid_map"), format!("{} {group} 1", sandbox.gid))?;
    std::fs::write(format!("/proc/{pid}/uid_map"), format!("{} {user} 1", sandbox.uid))
}

/// The pipe closes without a word when the program has been executed.
fn await_exec(report: OwnedFd, program: &Program) -> Result<(), SandboxError> {
    let mut bytes = Vec::new();
    File::from(report).read_to_end(&mut bytes).map_err(SandboxError::Namespaces)?;
    if bytes.is_empty() {
        return Ok(());
    }
    let Some((step, errno)) = bytes.get(..REPORT_BYTES).map(|b| b.split_at(4)) else {
        return Err(SandboxError::Vanished);
    };
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0_u32, |value, byte| value << 8 | u32::from(*byte));
    let step = match number(step) {
        STEP_IDENTITY => "take the sandbox's identity".to_owned(),
        STEP_EXEC => format!("execute `{}`", program.argv[0].to_string_lossy()),
        STEP_PRIVILEGES => "drop privileges".to_owned(),
        STEP_TERMINAL => "take the terminal".to_owned(),
        STEP_CONFINE => "confine the program".to_owned(),
        index => program.operations.get(index as usize).map_or("set up".to_owned(), |o| o.step.clone()),
    };
    Err(SandboxError::Setup { step, source: io::Error::from_raw_os_error(number(errno) as i32) })
}

impl Child {
    pub(super) fn new(pid: libc::pid_t) -> Child {
        Child { pid, reaped: None, end: None }
    }

    /// The process id of the sandbox's pid 1, seen from outside.
    pub fn pid(&self) -> u32 {
        self.pid as u32
    }

    /// Waits for the end and returns how the program ended.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        match self.wait_with(0)? {
            Some(status) => Ok(status),
            None => Err(io::Error::other("the sandbox has not ended")),
        }
    }

    /// How the program ended, or none while it runs.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.wait_with(libc::WNOHANG)
    }

    fn wait_with(&mut self, options: libc::c_int) -> io::Result<Option<ExitStatus>> {
        if self.reaped.is_some() {
            return Ok(self.reaped);
        }
        let mut status = 0;
        loop {
            // SAFETY: `status` is a valid place; the pid is our own unreaped child.
            match unsafe { libc::waitpid(self.pid, &mut status, options) } {
                0 => return Ok(None),
                pid if pid == self.pid => break,
                _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                _ => return Err(io::Error::last_os_error()),
            }
        }
        // Pid 1 passes a signal on as 128 + its number, since nothing can signal it in its own namespace.
        self.reaped = Some(ExitStatus::from_raw(status));
        Ok(self.reaped)
    }

    /// Lets go of it: it lives on, and whoever reaps every child of this process learns of its end. None: it has been
    /// waited for.
    pub fn leave(mut self) -> Option<Started> {
        let end = self.end.take().filter(|_| self.reaped.is_none())?;
        let pid = self.pid as u32;
        std::mem::forget(self);
        Some(Started { pid, end })
    }

    /// Ends everything in the sandbox at once.
    pub fn kill(&self) {
        if self.reaped.is_none() {
            // SAFETY: the pid is our own unreaped child, so it cannot have been reused.
            unsafe { libc::kill(self.pid, libc::SIGKILL) };
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        // Nothing is left to be told.
        let _ = self.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::super::program;
    use super::super::tests::without_program;
    use super::*;

    #[test]
    fn a_sandbox_whose_maker_ends_at_once_ends_too() {
        // Which of the two comes first is the scheduler's choice.
        for _ in 0..50 {
            let (read, write) = pipe().expect("a pipe");
            let scratch = tempfile::tempdir_in("/var/tmp").expect("a scratch folder");
            let stdout = Stdio::File(File::from(write));
            let sandbox = Sandbox { stdout, ..without_program(scratch.path(), scratch.path()) };
            let program = program::compile(&sandbox).expect("compiled");
            // SAFETY: the child does what `spawn` begins with and ends as if it was killed.
            unsafe {
                let maker = libc::fork();
                if maker == 0 {
                    let started = start(&sandbox, &program);
                    libc::_exit(started.is_err().into());
                }
                let mut status = 0;
                assert_eq!(libc::waitpid(maker, &mut status, 0), maker);
                assert_eq!(status, 0, "no sandbox was begun");
            }
            drop(sandbox);
            // Now only the sandbox has the other end.
            let mut watched = [rustix::event::PollFd::new(&read, rustix::event::PollFlags::empty())];
            let limit = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
            assert_eq!(rustix::event::poll(&mut watched, Some(&limit)).expect("polled"), 1, "the sandbox lives on");
        }
    }
}
