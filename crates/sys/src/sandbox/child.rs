//! Runs a compiled sandbox: clone, map the user, mount, drop everything, execute.
//!
//! Three processes: we; the sandbox's pid 1, which sets up and then only reaps; and the program itself.
//! Invariant: between the clone and the exec the children make system calls only.
#![allow(unsafe_code)]

use super::program::{Call, Operation, Program};
use super::{Network, Sandbox, SandboxError, Stdio};
use rustix::fd::{AsRawFd, OwnedFd, RawFd};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// A running sandbox. Dropping it ends everything in it.
#[derive(Debug)]
pub struct Child {
    pid: libc::pid_t,
    reaped: Option<ExitStatus>,
}

/// What a child reports before it gives up: the index of the step and errno.
const REPORT_BYTES: usize = 8;
const STEP_IDENTITY: u32 = u32::MAX;
const STEP_EXEC: u32 = u32::MAX - 1;
const STEP_PRIVILEGES: u32 = u32::MAX - 2;
const STEP_TERMINAL: u32 = u32::MAX - 3;

pub(super) fn spawn(sandbox: &Sandbox, program: Program) -> Result<Child, SandboxError> {
    let Started { child, go, report } = start(sandbox, &program)?;
    map_identity(child.pid, sandbox.uid, sandbox.gid).map_err(SandboxError::Namespaces)?;
    File::from(go).write_all(b"g").map_err(SandboxError::Namespaces)?;
    await_exec(report, &program)?;
    Ok(child)
}

/// The sandbox's pid 1, which waits for a word in `go` before it does anything.
struct Started {
    child: Child,
    go: OwnedFd,
    report: OwnedFd,
}

fn start(sandbox: &Sandbox, program: &Program) -> Result<Started, SandboxError> {
    let (report_read, report_write) = pipe()?;
    let (go_read, go_write) = pipe()?;
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
        identity: (sandbox.uid, sandbox.gid),
        terminal: sandbox.terminal,
    };
    let mut flags = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    if sandbox.network == Network::None {
        flags |= libc::CLONE_NEWNET;
    }
    // SAFETY: without CLONE_VM this is fork: the child has its own memory. It runs `inside`, which only makes
    // system calls with arguments prepared above and never returns.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags | libc::SIGCHLD, 0, 0, 0, 0) };
    if pid == 0 {
        inside(&setup);
    }
    if pid < 0 {
        return Err(SandboxError::Namespaces(io::Error::last_os_error()));
    }
    Ok(Started { child: Child::new(pid as libc::pid_t), go: go_write, report: report_read })
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

/// One uid and one gid of ours become the sandbox's; `setgroups` must be denied first (user_namespaces(7)).
fn map_identity(pid: libc::pid_t, uid: u32, gid: u32) -> io::Result<()> {
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    std::fs::write(format!("/proc/{pid}/setgroups"), "deny")?;
    std::fs::write(format!("/proc/{pid}/gid_map"), format!("{gid} {} 1", own.1))?;
    std::fs::write(format!("/proc/{pid}/uid_map"), format!("{uid} {} 1", own.0))
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
        index => program.operations.get(index as usize).map_or("set up".to_owned(), |o| o.step.clone()),
    };
    Err(SandboxError::Setup { step, source: io::Error::from_raw_os_error(number(errno) as i32) })
}

impl Child {
    pub(super) fn new(pid: libc::pid_t) -> Child {
        Child { pid, reaped: None }
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

/// `argv` and `envp` as the kernel wants them: pointers with a null at the end.
struct Pointers {
    argv: Vec<*const libc::c_char>,
    env: Vec<*const libc::c_char>,
}

impl Pointers {
    fn of(program: &Program) -> Pointers {
        let list =
            |strings: &[std::ffi::CString]| strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
        Pointers { argv: list(&program.argv), env: list(&program.env) }
    }
}

struct Setup<'a> {
    program: &'a Program,
    pointers: &'a Pointers,
    descriptors: [RawFd; 3],
    report: RawFd,
    /// Both ends: the child has a copy of ours as well.
    go: [RawFd; 2],
    /// A pidfd of the process that makes the sandbox.
    maker: RawFd,
    identity: (u32, u32),
    terminal: bool,
}

/// Pid 1 of the sandbox. Never returns.
fn inside(setup: &Setup) -> ! {
    // SAFETY: only system calls on prepared arguments until exec or exit; no allocation, no locks.
    unsafe {
        // With our own copy open we would wait for a dead maker's word for ever.
        libc::close(setup.go[1]);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        await_word(setup);
        become_identity(setup);
        for (index, operation) in setup.program.operations.iter().enumerate() {
            run(operation, setup, index as u32);
        }
        libc::umask(0o022);
        // The bare call: the library's fork takes the allocator's locks, and another thread may have held one
        // at the moment of our own clone; nobody would ever release it here.
        let program = libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as libc::pid_t;
        if program < 0 {
            fail(setup, STEP_EXEC);
        }
        if program == 0 {
            execute(setup);
        }
        // All of them: a pipe of another thread's sandbox that was being started would otherwise stay open
        // here, and that thread would wait for its end as long as this sandbox lives.
        libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0);
        reap(program)
    }
}

/// Waits until our user is mapped; ends when the maker has ended before it could be asked for its signal. `getppid` is
/// no help: seen from in here it is 0, whether the maker lives or not.
unsafe fn await_word(setup: &Setup) {
    let watch = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut watched = [watch(setup.go[0]), watch(setup.maker)];
    while libc::poll(watched.as_mut_ptr(), 2, -1) < 0 && *libc::__errno_location() == libc::EINTR {}
    let mut byte = 0_u8;
    if watched[1].revents != 0 || libc::read(setup.go[0], (&raw mut byte).cast(), 1) != 1 {
        libc::_exit(126);
    }
    libc::close(setup.go[0]);
}

unsafe fn become_identity(setup: &Setup) {
    let (uid, gid) = setup.identity;
    let hostname = &setup.program.hostname;
    let named = libc::sethostname(hostname.as_ptr(), hostname.as_bytes().len()) == 0;
    // Bare calls again: the library's would ask the threads of the process, which did not come along, to follow.
    let group = libc::syscall(libc::SYS_setresgid, gid, gid, gid);
    let user = libc::syscall(libc::SYS_setresuid, uid, uid, uid);
    if group != 0 || user != 0 || !named {
        fail(setup, STEP_IDENTITY);
    }
    if setup.program.isolated_network {
        loopback_up();
    }
    // SIGINT of the terminal is for us; we end the sandbox ourselves.
    if !setup.terminal {
        libc::setsid();
    }
    // The descriptors below are ours and open; dup2 clears close-on-exec. Above 2 first, in case they cross.
    let mut copies = [0; 3];
    for (copy, &descriptor) in copies.iter_mut().zip(&setup.descriptors) {
        *copy = libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 10);
    }
    for (number, &copy) in copies.iter().enumerate() {
        libc::dup2(copy, number as RawFd);
    }
}

/// A network namespace starts with its loopback device down. Failure is left to the task to notice.
unsafe fn loopback_up() {
    let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
    let mut request: libc::ifreq = std::mem::zeroed();
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    libc::ioctl(socket, libc::SIOCSIFFLAGS, &request);
    libc::close(socket);
}

unsafe fn run(operation: &Operation, setup: &Setup, index: u32) {
    let done = match &operation.call {
        Call::Mount { source, target, kind, flags, data } => {
            libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), *flags, data.as_ptr().cast()) == 0
        }
        Call::PivotRoot { root } => {
            // With `.` for both, the old root is stacked below the new one and detached (pivot_root(2)).
            libc::chdir(root.as_ptr()) == 0
                && libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) == 0
                && libc::umount2(c".".as_ptr(), libc::MNT_DETACH) == 0
                && libc::chdir(c"/".as_ptr()) == 0
        }
    };
    if !done {
        fail(setup, index);
    }
}

/// Version 3 of the capability interface, capset(2): every set empty.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

unsafe fn execute(setup: &Setup) -> ! {
    let program = setup.program;
    if libc::chdir(program.cwd.as_ptr()) != 0 {
        fail(setup, STEP_EXEC);
    }
    if setup.terminal {
        libc::setsid();
        if libc::ioctl(0, libc::TIOCSCTTY, 1) != 0 {
            fail(setup, STEP_TERMINAL);
        }
    }
    drop_privileges(setup);
    // Everything but the three standard descriptors is ours alone; the report closes at the exec.
    libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
    restore_signals();
    libc::execve(program.argv[0].as_ptr(), setup.pointers.argv.as_ptr(), setup.pointers.env.as_ptr());
    fail(setup, STEP_EXEC)
}

unsafe fn drop_privileges(setup: &Setup) {
    for capability in 0..64 {
        // Numbers past the kernel's last are refused, which is as good.
        libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
    }
    let header = CapabilityHeader { version: 0x2008_0522, pid: 0 };
    let empty = [0_u32; 6];
    let dropped = libc::syscall(libc::SYS_capset, &raw const header, empty.as_ptr()) == 0;
    if !dropped || libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
        fail(setup, STEP_PRIVILEGES);
    }
}

/// Handlers and masks of ours mean nothing to the program; Rust ignores SIGPIPE, which shells must not inherit.
unsafe fn restore_signals() {
    for signal in 1..32 {
        libc::signal(signal, libc::SIG_DFL);
    }
    let mut none: libc::sigset_t = std::mem::zeroed();
    libc::sigemptyset(&mut none);
    libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
}

unsafe fn reap(program: libc::pid_t) -> ! {
    loop {
        let mut status = 0;
        let ended = libc::waitpid(-1, &mut status, 0);
        if ended == program {
            let code = if libc::WIFSIGNALED(status) { 128 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) };
            // The end of pid 1 ends every process that is left.
            libc::_exit(code);
        }
        if ended < 0 && *libc::__errno_location() != libc::EINTR {
            libc::_exit(126);
        }
    }
}

unsafe fn fail(setup: &Setup, step: u32) -> ! {
    let errno = *libc::__errno_location() as u32;
    let mut report = [0_u8; REPORT_BYTES];
    report[..4].copy_from_slice(&step.to_le_bytes());
    report[4..].copy_from_slice(&errno.to_le_bytes());
    libc::write(setup.report, report.as_ptr().cast(), REPORT_BYTES);
    libc::_exit(126)
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
