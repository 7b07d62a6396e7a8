//! What was under way when the device started in, what it has to do now out.
//!
//! Who arms a start writes first that it has one less. Invariant: the firmware's order changes only once the new slot has been
//! healthy; a slot without starts left is never armed; a device that is idle changes nothing, however often it loses power.

use crate::device::{BootManager, Epoch, Storage};
use crate::install::{other, InstallError};
use crate::state::{Candidate, Home, Journal, Phase, State};
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
    /// An update that had shown to be healthy is committed; the slot that runs is the other one: restart.
    CommittedOther(Candidate),
    /// The same, and it runs.
    Committed(Candidate),
    /// The firmware had forgotten which slot is committed and started the other one: restart.
    Astray,
}

/// Why a release is denied.
const FAILED: &str = "it was not healthy within its trial boots";
const UNABLE: &str = "it could not be committed: it has no access to what that takes";

/// Decides, and does all but the restart.
pub fn at_start(
    storage: &mut dyn Storage,
    boot: &mut dyn BootManager,
    epoch: &mut dyn Epoch,
    journal: &mut Journal,
    state: &mut State,
    running: Slot,
) -> Result<Start, InstallError> {
    match state.phase.clone() {
        Phase::Idle | Phase::Installing { .. } => {
            let forgot = boot.committed().map_err(InstallError::Firmware)?.is_none();
            match state.home.as_mut() {
                // The slot that the firmware found may have the release before, which was left for a reason.
                Some(home) if forgot && home.slot != running && !home.told => {
                    home.told = true;
                    let slot = home.slot;
                    journal.save(storage, state)?;
                    boot.commit(slot).map_err(InstallError::Firmware)?;
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
        Phase::Trial { candidate, slot, boots_left } => match (slot == running, boots_left) {
            (true, _) => {
                // Firmware whose variables were lost would start the slot that it finds first, this one, for ever.
                if boot.committed().map_err(InstallError::Firmware)? != Some(other(slot)) {
                    boot.commit(other(slot)).map_err(InstallError::Firmware)?;
                }
                if boots_left > 0 {
                    arm(storage, boot, journal, state)?;
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
        Phase::Committing { candidate, slot } => {
            finish(storage, boot, epoch, journal, state)?;
            Ok(if slot == running { Start::Committed(candidate) } else { Start::CommittedOther(candidate) })
        }
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
        Phase::Trial { candidate, slot, boots_left } if slot == running => {
            match boots_left.checked_sub(1) {
                None => state.deny(candidate.clone(), UNABLE),
                Some(boots_left) => {
                    state.phase = Phase::Trial { candidate: candidate.clone(), slot, boots_left };
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
            finish(storage, boot, epoch, journal, state)
        }
        _ => Ok(()),
    }
}

/// Everything here may be done twice.
fn finish(
    storage: &mut dyn Storage,
    boot: &mut dyn BootManager,
    epoch: &mut dyn Epoch,
    journal: &mut Journal,
    state: &mut State,
) -> Result<(), InstallError> {
    let Phase::Committing { candidate, slot } = state.phase.clone() else { return Ok(()) };
    boot.commit(slot).map_err(InstallError::Firmware)?;
    boot.set_next(None).map_err(InstallError::Firmware)?;
    epoch.raise(candidate.epoch).map_err(InstallError::Epoch)?;
    state.home = Home::of(slot);
    state.end(candidate, true, "");
    Ok(journal.save(storage, state)?)
}
