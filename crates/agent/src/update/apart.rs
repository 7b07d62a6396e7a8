//! An errand that reads from the network in, done by a confined copy of this process; its exit code out.
//!
//! This one keeps what only root has, the firmware's variables, and answers the copy's questions. Invariant: it reads nothing of
//! the copy but those questions and how it ended.

use super::asked::{self, Asked};
use super::background::{Stop, Work};
use super::confine::{self, Reach};
use super::device::Device;
use super::report::Report;
use super::worker::{say, Circumstances};
use crate::boot::facts::Facts;
use crate::boot::slot::Disk;
use crate::error::{chain, AgentError};
use osbuild_format::app::token;
use osbuild_format::command_line::Slot;
use osbuild_format::device::DeviceConfig;
use osbuild_sys::audit::Audit;
use osbuild_sys::twin::twin;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// The kernel tells of a forbidden call through a thread of its own, which may be a little late.
const AUDIT_PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
const SIGSYS: i32 = 31;

/// Does `errand` in a confined copy of this process, which says what came of it.
pub fn apart(
    device: Device,
    facts: &Facts,
    config: DeviceConfig,
    circumstances: Circumstances,
    errand: impl FnOnce(Work) -> Result<Report, Stop>,
) -> Result<u8, Stop> {
    let never = of_running_slot(facts, device.running).map_err(|error| chain(&error))?;
    let machine_id = crate::file::text(crate::init::MACHINE_ID).map_err(|error| error.to_string())?;
    let device_id = token::device_id(&machine_id);
    let epoch = device.epoch.read().map_err(|error| error.to_string())?;
    let Device { storage, mut boot, epoch: tpm, journal, state, running, .. } = device;
    // What is open now stays open in the copy.
    drop(tpm);
    let base = circumstances.from.as_ref().or(config.update.url.as_ref());
    let reach = base.map_or_else(Reach::default, |base| Reach::of(base));
    let (asks, answers) = UnixStream::pair().map_err(|error| error.to_string())?;
    let copy = twin(move || {
        let boot = Asked::new(asks);
        say(confine::enter(&reach, &never).map_err(Stop::Failed).and_then(|status| {
            errand(Work { storage, boot, journal, state, running, epoch, device_id, config, circumstances, status })
        }))
    });
    let copy = copy.map_err(|error| format!("the updater cannot be set apart: {error}"))?;
    let audit = Audit::open().ok();
    // It fails when the copy is killed, whose end says more.
    let _ = asked::answer(&answers, &mut boot, running);
    drop(answers);
    let ended = copy.wait().map_err(|error| format!("the updater cannot be waited for: {error}"))?;
    match ended.code().and_then(|code| u8::try_from(code).ok()) {
        Some(code) => Ok(code),
        None => Err(Stop::Failed(killed(ended, audit))),
    }
}

/// The disk and the partitions that run now: what an update must never write to.
fn of_running_slot(facts: &Facts, running: Slot) -> Result<Vec<String>, AgentError> {
    let disk = Disk::read(&facts.disk)?;
    let mut paths = vec![format!("/dev/{}", disk.name)];
    for image in ["esp", "root", "verity"] {
        paths.push(disk.device(&format!("{image}-{}", running.letter()))?);
    }
    Ok(paths)
}

/// Why it has not come to an end by itself. None of `audit`: the kernel does not tell which call it was.
fn killed(ended: ExitStatus, audit: Option<Audit>) -> String {
    if ended.signal() != Some(SIGSYS) {
        return format!("the updater was ended: {ended}");
    }
    let call = audit.and_then(|mut audit| {
        // An error means what a timeout does: no name.
        let _ = poll(&mut [PollFd::new(&audit, PollFlags::IN)], Some(&AUDIT_PATIENCE));
        audit.take().into_iter().rev().find(|record| record.uid == 0).map(|record| record.call)
    });
    let call = call.map_or_else(|| "of a name that the kernel does not tell".to_owned(), |call| format!("`{call}`"));
    format!("the updater was ended for a system call that it may not make: {call}; check where the update came from")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_it_was_killed_is_told() {
        let status = |signal| ExitStatus::from_raw(signal);
        assert_eq!(killed(status(9), None), "the updater was ended: signal: 9 (SIGKILL)");
        assert!(killed(status(SIGSYS), None).contains("a system call that it may not make"));
    }
}
