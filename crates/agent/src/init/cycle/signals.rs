//! What the kernel reports by signals: that the system is to end, and that children have.
//!
//! Invariant: every child that has died is reaped, orphans that nobody else waits for included; errors are logged.

use super::{Agent, Program};
use crate::end::End;
use crate::log::Log;
use crate::supervise::process;
use crate::time;
use osbuild_sys::signal;
use rustix::io::Errno;
use rustix::process::{wait, Pid, WaitOptions, WaitStatus};
use std::io;

impl Agent {
    pub(super) fn take_signals(&mut self) {
        for taken in take_all(|| self.parts.signals.take(), "signals", &self.parts.log) {
            match taken {
                signal::TERMINATE | signal::INTERRUPT => self.end(End::Reboot),
                signal::POWER_OFF => self.end(End::PowerOff),
                _ => {}
            }
        }
        self.reap();
    }

    fn reap(&mut self) {
        for (pid, status) in take_all(dead_child, "dead children", &self.parts.log) {
            let exit = process::exit_of(status);
            let pid = u32::try_from(pid.as_raw_nonzero().get()).expect("pids are positive");
            let Some(unit) = self.supervisor.unit_of(pid) else { continue };
            match self.programs.get(&unit) {
                Some(Program::Service(place)) => {
                    let name = &self.parts.config.services[*place].name;
                    // What the service leaves behind must not live on beside its next run.
                    process::kill(name, pid);
                    self.parts.log.info(&format!("service `{name}` ended: {exit}"));
                    self.supervisor.exited(pid, exit, time::now());
                }
                Some(Program::App(id)) => {
                    let id = id.clone();
                    // What was reaped is the sandbox's first process; this is what the app's own did.
                    let exit = self.app_ended(&id);
                    self.supervisor.exited(pid, exit, time::now());
                    self.app_settled(unit, &id);
                }
                None => {}
            }
        }
    }
}

/// Everything that `next` has now. An error ends the list and is logged: the next turn tries again.
fn take_all<T>(mut next: impl FnMut() -> io::Result<Option<T>>, what: &str, log: &Log) -> Vec<T> {
    let mut taken = Vec::new();
    loop {
        match next() {
            Ok(Some(one)) => taken.push(one),
            Ok(None) => return taken,
            Err(error) => {
                log.error(&format!("cannot take {what}: {error}"));
                return taken;
            }
        }
    }
}

fn dead_child() -> io::Result<Option<(Pid, WaitStatus)>> {
    match wait(WaitOptions::NOHANG) {
        // There are no children at all, which is no failure.
        Err(Errno::CHILD) => Ok(None),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::OwnedFd;

    #[test]
    fn what_cannot_be_taken_is_logged_and_what_was_is_kept() {
        let (written, mut seen) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let log = Log::in_file(File::from(OwnedFd::from(written)));
        let mut answers = vec![Err(io::ErrorKind::BrokenPipe.into()), Ok(Some(2)), Ok(Some(1))];
        assert_eq!(take_all(|| answers.pop().expect("it stops at the error"), "signals", &log), [1, 2]);
        assert!(take_all::<i32>(|| Ok(None), "signals", &log).is_empty());
        drop(log);
        let mut text = String::new();
        seen.read_to_string(&mut text).expect("text");
        assert!(text.contains("\"error\"") && text.contains("cannot take signals: broken pipe"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
}
