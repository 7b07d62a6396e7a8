//! What PID 1 does about updates when it starts: nothing, a trial, or a restart at once.
//!
//! Invariant: a device whose state, variables or TPM cannot be read starts all the same, and says why it cannot update; unless
//! the release that runs is on trial, whose fault that may be.

use super::device::Device;
use super::partitions::Partitions;
use crate::boot::facts::Facts;
use crate::error::chain;
use crate::log::Log;
use crate::thread;
use osbuild_format::command_line::Slot;
use osbuild_update::state::Journal;
use osbuild_update::trial::{self, Start};
use std::sync::mpsc::channel;
use std::time::Duration;

/// The firmware and the TPM answer within milliseconds each, those of an emulated machine on a busy host within seconds; after this,
/// something is wrong with them.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a start has found.
pub struct Begun {
    pub beginning: Beginning,
    /// The security epoch that is committed; none: it could not be read.
    pub epoch: Option<u32>,
}

/// What there is to do.
pub enum Beginning {
    Ordinary,
    /// The version of the slot that runs for the first time.
    Trial(String),
    /// The other slot has to run.
    Restart,
    /// Why there will be no updates.
    Unable(String),
}

/// Calls `feed` again and again while it waits for firmware and TPM. `runs_epoch`: the security epoch of this release.
pub fn begin(facts: &Facts, runs_epoch: u32, log: &Log, feed: &mut dyn FnMut()) -> Begun {
    let (sender, answer) = channel();
    let (facts, slot) = (facts.clone(), facts.slot.clone());
    let within = thread::within("updates", PATIENCE, feed, move || {
        let began = Device::open(&facts).map_err(|error| error.to_string()).and_then(|mut device| {
            let start = device.at_start(runs_epoch).map_err(|error| chain(&error))?;
            Ok((start, device.forgot, device.epoch.read().ok()))
        });
        // Nobody listens any more if it took too long.
        let _ = sender.send(began);
    });
    let began = match within {
        Ok(()) => answer.recv().unwrap_or_else(|_| Err("it ended without an answer".to_owned())),
        Err(error) => Err(chain(&error)),
    };
    match began {
        Ok((start, forgot, epoch)) => {
            if forgot {
                log.warn("the state of updates was damaged: what was under way is forgotten");
            }
            Begun { beginning: of_start(start, log), epoch }
        }
        Err(reason) => {
            if let Some(version) = trial_is_over(&slot, &reason) {
                log.error(&format!("{version} is on trial and cannot be committed: {reason}; rebooting"));
                return Begun { beginning: Beginning::Restart, epoch: None };
            }
            log.warn(&format!("this device cannot update: {reason}"));
            Begun { beginning: Beginning::Unable(reason), epoch: None }
        }
    }
}

/// Nothing but the state on `/data` is needed to know that the release that runs is on trial. One that cannot go on from there
/// must not stay: nobody would ever commit it, and the next power cut would take it away. None: the system stays as it is.
fn trial_is_over(slot: &str, reason: &str) -> Option<String> {
    let running = Slot::from_letter(slot)?;
    let mut storage = Partitions::only_state(true).ok()?;
    let (mut journal, mut state, _) = Journal::load(&storage).ok()?;
    // A start that cannot be counted would be repeated without an end.
    trial::unable(&mut storage, &mut journal, &mut state, running, reason).ok()?.map(|candidate| candidate.version)
}

/// Notes why the start of a release on trial is given up, while no worker runs; the device restarts whether that can be written or not.
pub fn failed(slot: &str, reason: &str, log: &Log) {
    let noted = (|| {
        let running = Slot::from_letter(slot).ok_or_else(|| "no slot runs".to_owned())?;
        let mut storage = Partitions::only_state(true).map_err(|error| error.to_string())?;
        let (mut journal, mut state, _) = Journal::load(&storage).map_err(|error| chain(&error))?;
        trial::failed(&mut storage, &mut journal, &mut state, running, reason).map_err(|error| chain(&error))
    })();
    if let Err(error) = noted {
        log.warn(&format!("why this start failed cannot be noted: {error}"));
    }
}

fn of_start(start: Start, log: &Log) -> Beginning {
    match start {
        Start::Ordinary => Beginning::Ordinary,
        Start::Trial(candidate) => {
            log.tell(&format!("{} is on trial", candidate.version));
            Beginning::Trial(candidate.version)
        }
        Start::Again(candidate) => {
            log.tell(&format!("{} gets another start", candidate.version));
            Beginning::Restart
        }
        Start::RolledBack(candidate) => {
            log.tell(&format!("{} was not healthy: this slot is back", candidate.version));
            Beginning::Ordinary
        }
        Start::Fallen(candidate) => {
            let version = candidate.version;
            log.error(&format!("{version} was not healthy, but the other slot does not start: this one stays up"));
            Beginning::Ordinary
        }
        Start::CommittedOther(candidate) => {
            log.tell(&format!("{} is committed, in the other slot", candidate.version));
            Beginning::Restart
        }
        Start::Astray => {
            log.tell("this is not the slot that is committed, and must not stay: restarting in that one");
            Beginning::Restart
        }
        Start::Committed(candidate) => {
            log.tell(&format!("{} is committed", candidate.version));
            Beginning::Ordinary
        }
        Start::Unraised(candidate, reason) => {
            log.warn(&format!("{} is committed but for its epoch: {reason}", candidate.version));
            Beginning::Ordinary
        }
    }
}
