//! What PID 1 does about updates when it starts: nothing, a trial, or a restart at once.
//!
//! Invariant: a device whose state, variables or TPM cannot be read starts all the same, says why it cannot update, and tries it
//! again; unless the release that runs is on trial, whose fault that may be.

use super::device::Device;
use super::partitions::Partitions;
use crate::boot::facts::Facts;
use crate::error::chain;
use crate::log::Log;
use crate::thread;
use osbuild_format::command_line::Slot;
use osbuild_update::state::Journal;
use osbuild_update::trial::{self, Start};
use serde::{Deserialize, Serialize};
use std::sync::mpsc::{channel, Receiver};
use std::time::Duration;

/// The firmware and the TPM answer within milliseconds each, those of an emulated machine on a busy host within seconds; after this,
/// something is wrong with them.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a start has found.
pub struct Begun {
    pub beginning: Beginning,
    /// The security epoch that is committed; none: it could not be read.
    pub epoch: Option<u32>,
    /// Of a try that took too long: what it comes to after all.
    pub late: Option<Receiver<Tried>>,
}

/// What there is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Beginning {
    Ordinary,
    /// The version of the slot that runs for the first time.
    Trial(String),
    /// The other slot has to run.
    Restart,
    /// Why there are no updates for now.
    Unable(String),
}

/// What a try to begin has come to, or why it has not.
pub type Tried = Result<Found, String>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    pub beginning: Beginning,
    pub epoch: Option<u32>,
    /// For the log; whether it is bad news.
    pub told: Option<(bool, String)>,
    /// What was under way is forgotten.
    pub forgot: bool,
}

/// Calls `feed` again and again while it waits for firmware and TPM. `runs_epoch`: the security epoch of this release.
pub fn begin(facts: &Facts, runs_epoch: u32, log: &Log, feed: &mut dyn FnMut()) -> Begun {
    let (sender, answer) = channel();
    let (facts, slot) = (facts.clone(), facts.slot.clone());
    let within = thread::within("updates", PATIENCE, feed, move || {
        // PID 1 asks now and then what became of one that took too long.
        let _ = sender.send(attempt(&facts, runs_epoch));
    });
    match within {
        Ok(()) => {
            let tried = answer.recv().unwrap_or_else(|_| Err("it ended without an answer".to_owned()));
            begun(tried, &slot, log)
        }
        Err(error) => Begun { late: Some(answer), ..begun(Err(chain(&error)), &slot, log) },
    }
}

/// Does what there is to do about updates at a start, but for the restart. Nobody else may try at the same time.
pub fn attempt(facts: &Facts, runs_epoch: u32) -> Tried {
    let mut device = Device::open(facts).map_err(|error| error.to_string())?;
    let start = device.at_start(runs_epoch).map_err(|error| chain(&error))?;
    let (beginning, told) = of_start(start);
    Ok(Found { beginning, epoch: device.epoch.read().ok(), told, forgot: device.forgot })
}

/// What PID 1 makes of it.
pub fn begun(tried: Tried, slot: &str, log: &Log) -> Begun {
    match tried {
        Ok(found) => {
            if found.forgot {
                log.warn("the state of updates was damaged: what was under way is forgotten");
            }
            match &found.told {
                Some((true, text)) => log.error(text),
                Some((false, text)) => log.tell(text),
                None => {}
            }
            Begun { beginning: found.beginning, epoch: found.epoch, late: None }
        }
        Err(reason) => {
            if let Some(version) = trial_is_over(slot, &reason) {
                log.error(&format!("{version} is on trial and cannot be committed: {reason}; rebooting"));
                return Begun { beginning: Beginning::Restart, epoch: None, late: None };
            }
            log.warn(&format!("this device cannot update: {reason}"));
            Begun { beginning: Beginning::Unable(reason), epoch: None, late: None }
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

/// What there is to do, and what the log says of it: whether it is bad news, and the words.
fn of_start(start: Start) -> (Beginning, Option<(bool, String)>) {
    let (beginning, is_bad, text) = match start {
        Start::Ordinary => return (Beginning::Ordinary, None),
        Start::Trial(candidate) => {
            let text = format!("{} is on trial", candidate.version);
            (Beginning::Trial(candidate.version), false, text)
        }
        Start::Again(candidate) => (Beginning::Restart, false, format!("{} gets another start", candidate.version)),
        Start::RolledBack(candidate) => {
            (Beginning::Ordinary, false, format!("{} was not healthy: this slot is back", candidate.version))
        }
        Start::Fallen(candidate) => {
            let version = candidate.version;
            let text = format!("{version} was not healthy, but the other slot does not start: this one stays up");
            (Beginning::Ordinary, true, text)
        }
        Start::CommittedOther(candidate) => {
            (Beginning::Restart, false, format!("{} is committed, in the other slot", candidate.version))
        }
        Start::Astray => {
            let text = "this is not the slot that is committed, and must not stay: restarting in that one";
            (Beginning::Restart, false, text.to_owned())
        }
        Start::Committed(candidate) => (Beginning::Ordinary, false, format!("{} is committed", candidate.version)),
        Start::Unraised(candidate, reason) => {
            (Beginning::Ordinary, true, format!("{} is committed but for its epoch: {reason}", candidate.version))
        }
    };
    (beginning, Some((is_bad, text)))
}
