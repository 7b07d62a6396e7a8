//! Negative boots: one bit of a disk copy changed, and who must refuse it.
//!
//! Invariant: a boot that becomes ready in spite of the change is a failed check, never a passed one.

use super::super::{damage, Board, BoardError, Persistence, Setup};
use super::run::with_causes;
use super::{known, Outcome, BOOT_PATIENCE, READY};
use crate::io::file::{self, at};
use std::path::Path;
use std::time::Instant;

const SUITE: &str = "changed bytes are refused";
/// The ESP and the root of the slot that the image fills.
const ESP: &str = "esp-a";
const ROOT: &str = "root-a";
const UKI: &str = "EFI/BOOT/BOOTX64.EFI";
/// Inside the superblock of EROFS, which every boot reads first.
const ROOT_OFFSET: u64 = 1024 + 16;
/// OVMF's words for an image whose signature does not hold.
const FIRMWARE_REFUSES: &str = "failed to (load|start) .*: (Access Denied|Security Violation)";
/// The kernel's words for a block whose hash does not hold.
const KERNEL_REFUSES: &str = r"device-mapper: verity: .*block \d+ is corrupted";
/// The kernel ran at all.
const KERNEL_RUNS: &str = "(EFI stub:|Linux version)";

/// Boots a copy with one bit of the UKI changed: the firmware must refuse it before it runs.
fn changed_uki(setup: &Setup) -> Outcome {
    outcome("the firmware refuses a UKI with one bit changed", || {
        let change = |image: &Path, copy: &Path| damage::flip_bit_in_file(image, copy, ESP, UKI);
        boot_changed(setup, "changed-uki", change, FIRMWARE_REFUSES, KERNEL_RUNS)
    })
}

/// Boots a copy with one bit of the root file system changed: the kernel must refuse the block.
fn changed_root_block(setup: &Setup) -> Outcome {
    outcome("the kernel refuses a root block with one bit changed", || {
        let change = |image: &Path, copy: &Path| damage::flip_bit_in_partition(image, copy, ROOT, ROOT_OFFSET);
        boot_changed(setup, "changed-root", change, KERNEL_REFUSES, READY)
    })
}

/// Boots a copy of the disk for each kind of change.
pub fn refusals(setup: &Setup) -> impl Iterator<Item = Outcome> + '_ {
    [changed_uki, changed_root_block].into_iter().map(move |boot| boot(setup))
}

fn outcome(name: &str, boot: impl FnOnce() -> Result<Option<String>, BoardError>) -> Outcome {
    let start = Instant::now();
    let objection = boot().unwrap_or_else(|error| Some(with_causes(&error)));
    Outcome { suite: SUITE.to_owned(), name: name.to_owned(), objection, took: start.elapsed() }
}

fn boot_changed(
    setup: &Setup,
    name: &str,
    change: impl FnOnce(&Path, &Path) -> Result<(), BoardError>,
    refused: &str,
    accepted: &str,
) -> Result<Option<String>, BoardError> {
    let state = setup.state.join(name);
    file::create_dir_all(&state)?;
    let copy = state.join("changed.img");
    change(&setup.image, &copy)?;
    let changed = Setup { image: copy.clone(), state, persistence: Persistence::Fresh, ..setup.clone() };
    let board = Board::start(&changed)?;
    let seen = board.expect_console(&[known(refused), known(accepted)], BOOT_PATIENCE)?;
    drop(board);
    std::fs::remove_file(&copy).map_err(at("remove", &copy))?;
    Ok((seen.pattern != 0).then(|| format!("it ran in spite of the change: `{}`", seen.line.text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_refusals_are_recognised() {
        let table = [
            (FIRMWARE_REFUSES, "BdsDxe: failed to load Boot0001 \"UEFI Misc Device\" from PciRoot(0x0): Access Denied"),
            (KERNEL_REFUSES, "[    1.2] device-mapper: verity: 254:0: data block 0 is corrupted"),
            (KERNEL_RUNS, "EFI stub: UEFI Secure Boot is enabled."),
        ];
        for (pattern, line) in table {
            assert!(known(pattern).is_match(line), "{line}");
        }
        let harmless = known(FIRMWARE_REFUSES);
        assert!(!harmless.is_match("BdsDxe: failed to load Boot0001 \"UEFI Misc Device\" from PciRoot(0x0): Not Found"));
    }
}
