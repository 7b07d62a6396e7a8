//! The sandbox from inside: mounts, drops everything, confines itself, executes; and its first process, which reaps.
//!
//! Invariant: between the clone and the exec only system calls are made, on what was prepared before: no allocation,
//! no lock.
#![allow(unsafe_code)]

use super::program::{Call, Operation, Program};
use crate::confinement::{drop_privileges, Confinement};
use rustix::fd::RawFd;

/// What a child reports before it gives up: the index of the step and errno.
pub(super) const REPORT_BYTES: usize = 8;
pub(super) const STEP_IDENTITY: u32 = u32::MAX;
pub(super) const STEP_EXEC: u32 = u32::MAX - 1;
pub(super) const STEP_PRIVILEGES: u32 = u32::MAX - 2;
pub(super) const STEP_TERMINAL: u32 = u32::MAX - 3;
pub(super) const STEP_CONFINE: u32 = u32::MAX - 4;

/// `argv` and `envp` as the kernel wants them: pointers with a null at the end.
pub(super) struct Pointers {
    argv: Vec<*const libc::c_char>,
    env: Vec<*const libc::c_char>,
}

impl Pointers {
    pub(super) fn of(program: &Program) -> Pointers {
        let list =
            |strings: &[std::ffi::CString]| strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
        Pointers { argv: list(&program.argv), env: list(&program.env) }
    }
}

pub(super) struct Setup<'a> {
    pub program: &'a Program,
    pub pointers: &'a Pointers,
    pub descriptors: [RawFd; 3],
    pub report: RawFd,
    /// Both ends: the child has a copy of ours as well.
    pub go: [RawFd; 2],
    /// A pidfd of the process that makes the sandbox.
    pub maker: RawFd,
    pub identity: (u32, u32),
    pub terminal: bool,
    /// Where pid 1 tells how the program ended.
    pub end: RawFd,
    pub confinement: &'a Confinement,
}

/// Pid 1 of the sandbox. Never returns.
pub(super) fn inside(setup: &Setup) -> ! {
    // SAFETY: only system calls on prepared arguments until exec or exit; no allocation, no locks.
    unsafe {
        // With our own copy open we would wait for a dead maker's word for ever.
        libc::close(setup.go[1]);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        await_word(setup);
        become_identity(setup);
        // Only now: what the group is was decided after the clone.
        if libc::unshare(libc::CLONE_NEWCGROUP) != 0 {
            fail(setup, STEP_IDENTITY);
        }
        for (index, operation) in setup.program.operations.iter().enumerate() {
            run(operation, setup, index as u32);
        }
        libc::umask(0o022);
        // From before the program is there, so that no end of it is missed.
        block_signals();
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
        libc::dup2(setup.end, 0);
        libc::syscall(libc::SYS_close_range, 1, u32::MAX, 0);
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
        Call::MakeFolder { path } => {
            libc::mkdir(path.as_ptr(), 0o755) == 0 || *libc::__errno_location() == libc::EEXIST
        }
        Call::MakeFile { path } => {
            let file =
                libc::open(path.as_ptr(), libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY | libc::O_CLOEXEC, 0o444);
            file >= 0 && libc::close(file) == 0
        }
        Call::Symlink { target, path } => libc::symlink(target.as_ptr(), path.as_ptr()) == 0,
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
    if let Err(errno) = drop_privileges() {
        fail_with(setup, STEP_PRIVILEGES, errno);
    }
    // Everything but the three standard descriptors is ours alone; the report closes at the exec.
    libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
    restore_signals();
    // Last of all: from here on only the exec, or the report that it failed.
    if let Err(errno) = setup.confinement.enforce() {
        fail_with(setup, STEP_CONFINE, errno);
    }
    libc::execve(program.argv[0].as_ptr(), setup.pointers.argv.as_ptr(), setup.pointers.env.as_ptr());
    fail(setup, STEP_EXEC)
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

/// What pid 1 of the sandbox waits for. A signal that is blocked is kept for it; one that is not would be lost, since
/// nothing ends the first process of a namespace.
unsafe fn awaited() -> libc::sigset_t {
    let mut set: libc::sigset_t = std::mem::zeroed();
    libc::sigemptyset(&mut set);
    libc::sigaddset(&mut set, libc::SIGCHLD);
    libc::sigaddset(&mut set, libc::SIGTERM);
    set
}

unsafe fn block_signals() {
    libc::sigprocmask(libc::SIG_BLOCK, &awaited(), std::ptr::null_mut());
}

/// Passes SIGTERM on to the program, reaps whatever dies, and ends with the program; the end of pid 1 ends every process
/// that is left.
unsafe fn reap(program: libc::pid_t) -> ! {
    let set = awaited();
    loop {
        match libc::sigwaitinfo(&set, std::ptr::null_mut()) {
            libc::SIGTERM => {
                libc::kill(program, libc::SIGTERM);
            }
            libc::SIGCHLD => reap_the_dead(program),
            _ if *libc::__errno_location() == libc::EINTR => {}
            _ => libc::_exit(126),
        }
    }
}

unsafe fn reap_the_dead(program: libc::pid_t) {
    loop {
        let mut status: libc::c_int = 0;
        let ended = libc::waitpid(-1, &mut status, libc::WNOHANG);
        if ended == program {
            libc::write(0, (&raw const status).cast(), std::mem::size_of::<libc::c_int>());
            let code = if libc::WIFSIGNALED(status) { 128 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) };
            libc::_exit(code);
        }
        if ended == 0 || (ended < 0 && *libc::__errno_location() != libc::EINTR) {
            return;
        }
    }
}

unsafe fn fail(setup: &Setup, step: u32) -> ! {
    fail_with(setup, step, *libc::__errno_location())
}

unsafe fn fail_with(setup: &Setup, step: u32, errno: i32) -> ! {
    let mut report = [0_u8; REPORT_BYTES];
    report[..4].copy_from_slice(&step.to_le_bytes());
    report[4..].copy_from_slice(&(errno as u32).to_le_bytes());
    libc::write(setup.report, report.as_ptr().cast(), REPORT_BYTES);
    libc::_exit(126)
}
