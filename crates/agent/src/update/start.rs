//! What PID 1 does about updates when it starts: nothing, a trial, or a restart at once.
//!
//! Invariant: a device whose state, variables or TPM cannot be read starts all the same, and says why it cannot update.

use super::device::Device;
use crate::boot::facts::Facts;
use crate::error::chain;
use crate::log::Log;
use crate::thread;
use osbuild_update::trial::Start;
use std::sync::mpsc::channel;
use std::time::Duration;

/// The firmware and the TPM answer within milliseconds, or something is wrong with them.
const PATIENCE: Duration = Duration::from_secs(20);

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

/// Calls `feed` again and again while it waits for firmware and TPM.
pub fn begin(facts: &Facts, log: &Log, feed: &mut dyn FnMut()) -> Beginning {
    let (sender, answer) = channel();
    let facts = facts.clone();
    let within = thread::within("updates", PATIENCE, feed, move || {
        let began = Device::open(&facts).map_err(|error| error.to_string()).and_then(|mut device| {
            let start = device.at_start().map_err(|error| chain(&error))?;
            Ok((start, device.forgot))
        });
        // Nobody listens any more if it took too long.
        let _ = sender.send(began);
    });
    let began = match within {
        Ok(()) => answer.recv().unwrap_or_else(|_| Err("it ended without an answer".to_owned())),
        Err(error) => Err(chain(&error)),
    };
    match began {
        Ok((start, forgot)) => {
            if forgot {
                log.warn("the state of updates was damaged: what was under way is forgotten");
            }
            of_start(start, log)
        }
        Err(reason) => {
            log.warn(&format!("this device cannot update: {reason}"));
            Beginning::Unable(reason)
        }
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
        Start::CommittedOther(candidate) => {
            log.tell(&format!("{} is committed, in the other slot", candidate.version));
            Beginning::Restart
        }
        Start::Committed(candidate) => {
            log.tell(&format!("{} is committed", candidate.version));
            Beginning::Ordinary
        }
    }
}
