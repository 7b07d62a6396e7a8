//! What was under way when the device started in, what it has to do now out.
//!
//! Who arms a start writes first that it has one less. Invariant: the firmware's order changes only once the new slot has been
//! healthy; a slot without starts left is never armed; a device that is idle changes nothing, however often it loses power.

use crate::device::{BootManager, Epoch, Storage};
use crate::install::{other, InstallError};
use crate::state::{Candidate, Failure, Home, Journal, Phase, State};
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

/// Why a release is denied.
const FAILED: &str = "it was not healthy within its trial boots";
const FALLEN: &str = "it was not healthy within its trial boots, and runs because the slot before does not start";
const UNABLE: &str = "it could not be committed: it has no access to what that takes";

/// Decides, and does all but the restart. `runs_epoch`: the security epoch of the release that runs.
pub fn at_start(
    storage: &mut dyn Storage,
    boot: &mut dyn BootManager,
    epoch: &mut dyn Epoch,
    journal: &mut Journal,
    state: &mut State,
    running: Slot,
    runs_epoch: u32,
) -> Result<Start, InstallError> {
    match state.phase.clone() {
        Phase::Idle | Phase::Installing { .. } => {
            let committed = boot.committed().map_err(InstallError::Firmware)?;
            let forgot = committed.is_none();
            // An epoch that cannot be read is no reason to leave a system that runs.
            let is_behind = || epoch.read().is_ok_and(|committed| runs_epoch < committed);
            match state.home.as_mut() {
                // The slot that the firmware found may have the release before, which was left for a reason. Once: where the
                // other one does not start, an old release is better than none.
                Some(home) if home.slot != running && !home.told && (forgot || is_behind()) => {
                    home.told = true;
                    let slot = home.slot;
                    journal.save(storage, state)?;
                    if committed != Some(slot) {
                        boot.commit(slot).map_err(InstallError::Firmware)?;
                    }
                    return Ok(Start::Astray);
                }
                Some(home) if home.slot == running && home.told => {
                    home.told = false;
                    journal.save(storage, state)?;
                }
                _ => {}
            }
            // Where that did not help, a device goes on from the slot that its firmware finds.
            if forgot {
                boot.commit(running).map_err(InstallError::Firmware)?;
            }
            Ok(Start::Ordinary)
        }
        Phase::Trial { candidate, slot, boots_left, used } => match (slot == running, boots_left) {
            (true, _) => {
                // Firmware whose variables were lost would start the slot that it finds first, this one, for ever.
                if boot.committed().map_err(InstallError::Firmware)? != Some(other(slot)) {
                    boot.commit(other(slot)).map_err(InstallError::Firmware)?;
                }
                if boots_left > 0 {
                    arm(storage, boot, journal, state)?;
                } else if used {
                    state.deny(candidate.clone(), FALLEN);
                    journal.save(storage, state)?;
                    return Ok(Start::Fallen(candidate));
                } else {
                    state.phase = Phase::Trial { candidate: candidate.clone(), slot, boots_left, used: true };
                    journal.save(storage, state)?;
                }
                Ok(Start::Trial(candidate))
            }
            (false, 0) => {
                // First the firmware: a slot that is denied must not start once more.
                boot.set_next(None).map_err(InstallError::Firmware)?;
                state.deny(candidate.clone(), FAILED);
                journal.save(storage, state)?;
                Ok(Start::RolledBack(candidate))
            }
            (false, _) => arm(storage, boot, journal, state).map(|()| Start::Again(candidate)),
        },
        Phase::Committing { candidate, slot } => match settle(storage, boot, epoch, journal, state) {
            Ok(()) if slot == running => Ok(Start::Committed(candidate)),
            Ok(()) => Ok(Start::CommittedOther(candidate)),
            // A TPM that never obeys must not keep the device from what does not need it.
            Err(error @ InstallError::Epoch(_)) => {
                let failure = Failure::new(candidate.version.clone(), error.word(), &error);
                let reason = failure.reason.clone();
                let goes_there =
                    slot != running && !state.home.as_ref().is_some_and(|home| home.slot == slot && home.told);
                let before = state.clone();
                state.failure = Some(failure);
                if goes_there {
                    // Once: firmware that cannot start the other slot comes back here.
                    state.home = Some(Home { slot, told: true });
                }
                if *state != before {
                    journal.save(storage, state)?;
                }
                Ok(if goes_there { Start::CommittedOther(candidate) } else { Start::Unraised(candidate, reason) })
            }
            Err(error) => Err(error),
        },
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
) -> Result<Option<Candidate>, InstallError> {
    match state.phase.clone() {
        Phase::Trial { candidate, slot, boots_left, used } if slot == running => {
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

/// Arms one start of the slot on trial, which then has one less.
pub(crate) fn arm(
    storage: &mut dyn Storage,
    boot: &mut dyn BootManager,
    journal: &mut Journal,
    state: &mut State,
) -> Result<(), InstallError> {
    let Phase::Trial { slot, boots_left, .. } = &mut state.phase else { return Ok(()) };
    let slot = *slot;
    *boots_left = boots_left.saturating_sub(1);
    journal.save(storage, state)?;
    boot.set_next(Some(slot)).map_err(InstallError::Firmware)
}

/// The slot that runs is healthy: it becomes the one that the firmware starts. No effect when none is on trial.
pub fn commit(
    storage: &mut dyn Storage,
    boot: &mut dyn BootManager,
    epoch: &mut dyn Epoch,
    journal: &mut Journal,
    state: &mut State,
    running: Slot,
) -> Result<(), InstallError> {
    match state.phase.clone() {
        Phase::Trial { candidate, slot, .. } if slot == running => {
            state.phase = Phase::Committing { candidate, slot };
            journal.save(storage, state)?;
            settle(storage, boot, epoch, journal, state)
        }
        _ => Ok(()),
    }
}

/// Ends a commit, also one that [`Start::Unraised`] has left open. No effect when there is none. Everything here may be done
/// twice, and what is done already is not written again.
pub fn settle(
    storage: &mut dyn Storage,
    boot: &mut dyn BootManager,
    epoch: &mut dyn Epoch,
    journal: &mut Journal,
    state: &mut State,
) -> Result<(), InstallError> {
    let Phase::Committing { candidate, slot } = state.phase.clone() else { return Ok(()) };
    if boot.committed().map_err(InstallError::Firmware)? != Some(slot) {
        boot.commit(slot).map_err(InstallError::Firmware)?;
    }
    if boot.next().map_err(InstallError::Firmware)?.is_some() {
        boot.set_next(None).map_err(InstallError::Firmware)?;
    }
    epoch.raise(candidate.epoch).map_err(InstallError::Epoch)?;
    state.home = Home::of(slot);
    state.failure = None;
    state.end(candidate, true, "");
    Ok(journal.save(storage, state)?)
}
