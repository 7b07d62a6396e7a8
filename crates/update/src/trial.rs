//! What was under way when the device started in, what it has to do now out.
//!
//! Who arms a start tells the firmware first and then writes that the slot has one less: a loss of power between the two gives one
//! more. Invariant: the firmware's order changes only once the new slot has been healthy; a slot without starts left is never
//! armed; a device that is idle, or whose update waits, changes nothing, however often it loses power.

use crate::device::{BootManager, Epoch, Storage};
use crate::install::{other, InstallError};
use crate::state::{Candidate, Failure, Home, Journal, Phase, State, StateError};
use osbuild_format::command_line::Slot;

/// What a start of the device finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nothing is under way, or an installation that goes on by itself.
    Ordinary,
    /// This is a trial: healthy within the deadline, then [`commit`]; otherwise restart.
    Trial(Candidate),
    /// The other slot gets one more start: restart now.
    Again(Candidate),
    /// The other slot has failed and this one is back.
    RolledBack(Candidate),
    /// This slot has failed, and the firmware starts it all the same, since it cannot start the other one: the system stays up.
    Fallen(Candidate),
    /// An update that had shown to be healthy is committed; the slot that runs is the other one: restart.
    CommittedOther(Candidate),
    /// The same, and it runs.
    Committed(Candidate),
    /// The same, but the security epoch cannot be raised, for this reason: the system goes on, and [`settle`] tries it again.
    Unraised(Candidate, String),
    /// The firmware had forgotten which slot is committed, or somebody has chosen the other one, whose release is behind the
    /// security epoch: restart.
    Astray,
}

/// What a trial reads and writes.
pub struct Device<'a> {
    pub storage: &'a mut dyn Storage,
    pub boot: &'a mut dyn BootManager,
    pub epoch: &'a mut dyn Epoch,
    pub journal: &'a mut Journal,
    pub state: &'a mut State,
}

/// Why a release is denied.
const FAILED: &str = "it was not healthy within its trial boots";
const FALLEN: &str = "it was not healthy within its trial boots, and runs because the slot before does not start";
const WITHDRAWN: &str = "it was withdrawn before it was started";
const UNABLE: &str = "it could not be committed";

/// Decides, and does all but the restart. `runs_epoch`: the security epoch of the release that runs.
pub fn at_start(device: &mut Device, running: Slot, runs_epoch: u32) -> Result<Start, InstallError> {
    match found(&device.state.phase, running) {
        Phase::Idle | Phase::Installing { .. } | Phase::Waiting { .. } => {
            let committed = device.boot.committed().map_err(InstallError::Firmware)?;
            let forgot = committed.is_none();
            // An epoch that cannot be read is no reason to leave a system that runs.
            let is_behind = || device.epoch.read().is_ok_and(|committed| runs_epoch < committed);
            match device.state.home.as_mut() {
                // The slot that the firmware found may have the release before, which was left for a reason. Once: where the
                // other one does not start, an old release is better than none.
                Some(home) if home.slot != running && !home.told && (forgot || is_behind()) => {
                    home.told = true;
                    let slot = home.slot;
                    device.journal.save(device.storage, device.state)?;
                    if committed != Some(slot) {
                        device.boot.commit(slot).map_err(InstallError::Firmware)?;
                    }
                    return Ok(Start::Astray);
                }
                Some(home) if home.slot == running && home.told => {
                    home.told = false;
                    device.journal.save(device.storage, device.state)?;
                }
                _ => {}
            }
            // Where that did not help, a device goes on from the slot that its firmware finds.
            if forgot {
                device.boot.commit(running).map_err(InstallError::Firmware)?;
            }
            Ok(Start::Ordinary)
        }
        Phase::Trial { candidate, slot, boots_left, used } => match (slot == running, boots_left) {
            (true, _) => {
                // Firmware whose variables were lost would start the slot that it finds first, this one, for ever.
                if device.boot.committed().map_err(InstallError::Firmware)? != Some(other(slot)) {
                    device.boot.commit(other(slot)).map_err(InstallError::Firmware)?;
                }
                if boots_left > 0 {
                    arm(device.storage, device.boot, device.journal, device.state)?;
                } else if used {
                    device.state.deny(candidate.clone(), FALLEN);
                    device.journal.save(device.storage, device.state)?;
                    return Ok(Start::Fallen(candidate));
                } else {
                    device.state.phase = Phase::Trial { candidate: candidate.clone(), slot, boots_left, used: true };
                    device.journal.save(device.storage, device.state)?;
                }
                Ok(Start::Trial(candidate))
            }
            (false, 0) => {
                // First the firmware: a slot that is denied must not start once more.
                device.boot.set_next(None).map_err(InstallError::Firmware)?;
                device.state.deny(candidate.clone(), FAILED);
                device.journal.save(device.storage, device.state)?;
                Ok(Start::RolledBack(candidate))
            }
            (false, _) => {
                arm(device.storage, device.boot, device.journal, device.state).map(|()| Start::Again(candidate))
            }
        },
        Phase::Committing { candidate, slot } => match settle(device) {
            Ok(()) if slot == running => Ok(Start::Committed(candidate)),
            Ok(()) => Ok(Start::CommittedOther(candidate)),
            // A TPM that never obeys must not keep the device from what does not need it.
            Err(error @ InstallError::Epoch(_)) => {
                let failure = Failure::new(candidate.version.clone(), error.word(), &error);
                let reason = failure.reason.clone();
                let goes_there =
                    slot != running && !device.state.home.as_ref().is_some_and(|home| home.slot == slot && home.told);
                let before = device.state.clone();
                device.state.failure = Some(failure);
                if goes_there {
                    // Once: firmware that cannot start the other slot comes back here.
                    device.state.home = Some(Home { slot, told: true });
                }
                if *device.state != before {
                    device.journal.save(device.storage, device.state)?;
                }
                Ok(if goes_there { Start::CommittedOther(candidate) } else { Start::Unraised(candidate, reason) })
            }
            Err(error) => Err(error),
        },
    }
}

/// The phase that the slot which runs says there is. A slot that is written into cannot be started, so one that runs was whole; and nobody
/// has seen it healthy. Either the record that said so is lost, or the firmware has lost its variables and found this slot first.
fn found(phase: &Phase, running: Slot) -> Phase {
    match phase.clone() {
        Phase::Installing { candidate, slot, .. } | Phase::Waiting { candidate, slot } if slot == running => {
            Phase::Trial { candidate, slot, boots_left: 0, used: false }
        }
        phase => phase,
    }
}

/// What a start comes to that cannot read or write what [`at_start`] needs: the release that is on trial here and can never be
/// committed by this start, which has to restart now; none: there is nothing better to start. Each call leaves one start less,
/// and after the last one the release is denied, so firmware that starts this slot whatever it is told ends with a system
/// that is up.
pub fn unable(
    storage: &mut dyn Storage,
    journal: &mut Journal,
    state: &mut State,
    running: Slot,
    reason: &str,
) -> Result<Option<Candidate>, InstallError> {
    match found(&state.phase, running) {
        Phase::Trial { candidate, slot, boots_left, used } if slot == running => {
            state.failure = Some(Failure::of_trial(candidate.version.clone(), reason));
            match boots_left.checked_sub(1) {
                None => state.deny(candidate.clone(), UNABLE),
                Some(boots_left) => {
                    state.phase = Phase::Trial { candidate: candidate.clone(), slot, boots_left, used };
                }
            }
            journal.save(storage, state)?;
            Ok(Some(candidate))
        }
        _ => Ok(None),
    }
}

/// Notes why this start of the release on trial is given up, for the reason of its denial: the device restarts, and whatever comes next
/// knows nothing else of it. No effect when none is on trial here.
pub fn failed(
    storage: &mut dyn Storage,
    journal: &mut Journal,
    state: &mut State,
    running: Slot,
    reason: &str,
) -> Result<(), StateError> {
    match &state.phase {
        Phase::Trial { candidate, slot, .. } if *slot == running => {
            state.failure = Some(Failure::of_trial(candidate.version.clone(), reason));
            journal.save(storage, state)
        }
        _ => Ok(()),
    }
}

/// The moment of the release that waits in the other slot has come: it gets so many starts to show that it is healthy, at least one,
/// and the first one is armed. No effect when none waits.
pub fn begin(
    storage: &mut dyn Storage,
    boot: &mut dyn BootManager,
    journal: &mut Journal,
    state: &mut State,
    starts: u32,
) -> Result<(), InstallError> {
    let Phase::Waiting { candidate, slot } = state.phase.clone() else { return Ok(()) };
    state.phase = Phase::Trial { candidate, slot, boots_left: starts.max(1), used: false };
    journal.save(storage, state)?;
    arm(storage, boot, journal, state)
}

/// The release that is armed in the other slot was put off before its start: it waits again. No effect when none is.
pub fn put_off(
    storage: &mut dyn Storage,
    boot: &mut dyn BootManager,
    journal: &mut Journal,
    state: &mut State,
    running: Slot,
) -> Result<(), InstallError> {
    match state.phase.clone() {
        Phase::Trial { candidate, slot, .. } if slot != running => {
            // The firmware first: what waits must not start.
            boot.set_next(None).map_err(InstallError::Firmware)?;
            state.phase = Phase::Waiting { candidate, slot };
            Ok(journal.save(storage, state)?)
        }
        _ => Ok(()),
    }
}

/// Arms one start of the slot on trial, which then has one less.
fn arm(
    storage: &mut dyn Storage,
    boot: &mut dyn BootManager,
    journal: &mut Journal,
    state: &mut State,
) -> Result<(), InstallError> {
    let Phase::Trial { slot, boots_left, .. } = &mut state.phase else { return Ok(()) };
    let slot = *slot;
    // The firmware first: of a start that is not armed nothing may be taken. A loss of power between the two gives one more.
    boot.set_next(Some(slot)).map_err(InstallError::Firmware)?;
    let before = *boots_left;
    *boots_left = before.saturating_sub(1);
    match journal.save(storage, state) {
        Ok(()) => Ok(()),
        Err(error) => {
            // What cannot be counted must not be started over and over.
            if let Phase::Trial { boots_left, .. } = &mut state.phase {
                *boots_left = before;
            }
            boot.set_next(None).map_err(InstallError::Firmware)?;
            Err(error.into())
        }
    }
}

/// Sees to it that the firmware starts the slot on trial next, and takes no start for that: it may not have obeyed when the
/// trial began. No effect when none is on trial.
pub fn keep_armed(boot: &mut dyn BootManager, state: &State) -> Result<(), InstallError> {
    let Phase::Trial { slot, .. } = state.phase else { return Ok(()) };
    match boot.next().map_err(InstallError::Firmware)? == Some(slot) {
        true => Ok(()),
        false => boot.set_next(Some(slot)).map_err(InstallError::Firmware),
    }
}

/// The release that is written to the other slot is not to be started any more: whoever published it has thought better of it. It is
/// not denied, and may come back. Where the power fails in the middle, it is started after all. No effect when none waits there.
pub fn withdraw(
    storage: &mut dyn Storage,
    boot: &mut dyn BootManager,
    journal: &mut Journal,
    state: &mut State,
    running: Slot,
) -> Result<(), InstallError> {
    match state.phase.clone() {
        Phase::Waiting { candidate, slot } | Phase::Trial { candidate, slot, .. } if slot != running => {
            // The firmware first: what the state has forgotten must not start.
            boot.set_next(None).map_err(InstallError::Firmware)?;
            state.end(candidate, false, WITHDRAWN);
            Ok(journal.save(storage, state)?)
        }
        _ => Ok(()),
    }
}

/// The slot that runs is healthy: it becomes the one that the firmware starts. No effect when none is on trial.
pub fn commit(device: &mut Device, running: Slot) -> Result<(), InstallError> {
    match device.state.phase.clone() {
        Phase::Trial { candidate, slot, .. } if slot == running => {
            device.state.phase = Phase::Committing { candidate, slot };
            device.journal.save(device.storage, device.state)?;
            settle(device)
        }
        _ => Ok(()),
    }
}

/// Ends a commit, also one that [`Start::Unraised`] has left open. No effect when there is none. Everything here may be done
/// twice, and what is done already is not written again.
pub fn settle(device: &mut Device) -> Result<(), InstallError> {
    let Phase::Committing { candidate, slot } = device.state.phase.clone() else { return Ok(()) };
    if device.boot.committed().map_err(InstallError::Firmware)? != Some(slot) {
        device.boot.commit(slot).map_err(InstallError::Firmware)?;
    }
    if device.boot.next().map_err(InstallError::Firmware)?.is_some() {
        device.boot.set_next(None).map_err(InstallError::Firmware)?;
    }
    device.epoch.raise(candidate.epoch).map_err(InstallError::Epoch)?;
    device.state.home = Home::of(slot);
    device.state.failure = None;
    device.state.end(candidate, true, "");
    Ok(device.journal.save(device.storage, device.state)?)
}
