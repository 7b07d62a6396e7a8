//! The orderly end: services stop first, then everything else, and what was written is brought to the disk.
//!
//! Invariant: each wait here has an end, so that a stop cannot hang while the watchdog is fed.

use super::Agent;
use crate::end::{self, End};
use crate::error::chain;
use crate::log::Log;
use crate::network::clock;
use crate::{data, thread, time};
use rustix::process::{kill_process_group, wait, Pid, Signal, WaitOptions};
use std::time::Duration;

/// Between the last SIGKILL and the last write.
const LAST_PATIENCE: Duration = Duration::from_secs(2);
/// For what was written to reach the disk. The watchdog is fed meanwhile, so a disk that hangs has to be left by us.
const TIME_TO_WRITE: Duration = Duration::from_secs(60);

impl Agent {
    pub(super) fn end(&mut self, end: End) {
        if self.ending.is_none() {
            self.parts.log.tell(match end {
                End::Reboot => "stopping, to reboot",
                End::PowerOff => "stopping, to power off",
            });
            self.ending = Some(end);
            self.supervisor.stop();
        }
    }

    /// Services have stopped or were given up; everything else goes, and what was written is brought to the disk.
    pub(super) fn finish(&mut self, end: End) -> ! {
        // To every process but this one.
        let _ = kill_process_group(Pid::INIT, Signal::KILL);
        let deadline = time::now() + LAST_PATIENCE;
        // An error means that there are no children left.
        while time::now() < deadline && wait(WaitOptions::NOHANG).is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let (log, guard) = (self.parts.log.clone(), &mut self.parts.guard);
        let last_writes = move || {
            save_clock(&log);
            data::unmount(&log);
        };
        if let Err(error) = thread::within("last writes", TIME_TO_WRITE, &mut || guard.feed(), last_writes) {
            self.parts.log.error(&chain(&error));
        }
        end::now(end)
    }
}

pub(super) fn save_clock(log: &Log) {
    if let Err(error) = clock::save() {
        log.info(&format!("cannot keep the time for the next boot: {error}"));
    }
}
