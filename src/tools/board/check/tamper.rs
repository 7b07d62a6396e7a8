//! Negative boots: one bit of a disk copy changed, who must refuse it, and what must follow.
//!
//! Invariant: a boot that runs, becomes ready or shows a prompt in spite of the change is a failed check, never a
//! passed one; so is a refusal after which the device neither resets nor stays in its firmware.

use super::super::{damage, Board, BoardError, Persistence, Setup};
use super::run::with_causes;
use super::{known, Outcome, BOOT_PATIENCE};
use crate::io::file;
use regex::Regex;
use std::path::Path;
use std::time::{Duration, Instant};

const SUITE: &str = "changed bytes are refused";
/// The ESP and the root of the slot that the image fills, and the one writable partition.
const ESP: &str = "esp-a";
const ROOT: &str = "root-a";
const DATA: &str = "data";
const UKI: &str = "EFI/BOOT/BOOTX64.EFI";
/// Inside the superblock of EROFS, which every boot reads first.
const ROOT_OFFSET: u64 = 1024 + 16;
/// The magic number of ext4's superblock. Without it the agent has no file system to check or to mount, so it never
/// comes to e2fsck and a backup superblock.
const DATA_OFFSET: u64 = 1024 + 0x38;

/// OVMF's words for an image whose signature does not hold.
const FIRMWARE_REFUSES: &str = "failed to (load|start) .*: (Access Denied|Security Violation)";
/// The kernel's words for a block whose hash does not hold.
const KERNEL_REFUSES: &str = r"device-mapper: verity: .*block \d+ is corrupted";
/// The agent's words for a data partition that it cannot use.
const AGENT_REFUSES: &str = "osagent: fatal: .* holds no ext4 file system";
/// Somebody waits for words: a login, a password, or a prompt of a Unix shell or of the firmware's. Lines are looked at
/// while they arrive, so the start of another line must not look like a prompt.
macro_rules! waits {
    () => {
        r"login:|assword:|^\S* ?[#$] ?$|^\S*[\w\\]> ?$"
    };
}
/// A system that is up, or somebody who waits.
const UP: &str = concat!("(osagent: ready|", waits!(), ")");
/// Anything behind the firmware ran: the hand-over to a disk, the stub, the kernel or the agent.
const RAN: &str =
    concat!(r"(^BdsDxe: starting .*Pci|EFI stub:|Linux version|^\[ *\d+\.\d+\] |osagent:|", waits!(), ")");

/// How long a refusal may take to become a reset: the agent leaves a second to read its reason, the kernel none.
const RESET_PATIENCE: Duration = Duration::from_secs(30);
/// How long a firmware that refused is watched: it has nothing else to start, so it does nothing more.
const SETTLING: Duration = Duration::from_secs(5);
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// What must follow a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    StayInFirmware,
    Reset,
}

struct Case {
    name: &'static str,
    /// Folder of this boot's state and logs.
    folder: &'static str,
    change: fn(&Path, &Path) -> Result<(), BoardError>,
    refused: &'static str,
    forbidden: &'static str,
    then: Then,
}

const CASES: [Case; 3] = [
    Case {
        name: "the firmware refuses a UKI with one bit changed, and nothing of the kernel runs",
        folder: "changed-uki",
        change: |image, copy| damage::flip_bit_in_file(image, copy, ESP, UKI),
        refused: FIRMWARE_REFUSES,
        forbidden: RAN,
        then: Then::StayInFirmware,
    },
    Case {
        name: "the kernel refuses a root block with one bit changed, and the device resets",
        folder: "changed-root",
        change: |image, copy| damage::flip_bit_in_partition(image, copy, ROOT, ROOT_OFFSET),
        refused: KERNEL_REFUSES,
        forbidden: UP,
        then: Then::Reset,
    },
    Case {
        name: "the agent refuses a data partition that it cannot mount, and the device resets",
        folder: "changed-data",
        change: |image, copy| damage::flip_bit_in_partition(image, copy, DATA, DATA_OFFSET),
        refused: AGENT_REFUSES,
        forbidden: UP,
        then: Then::Reset,
    },
];

/// Boots a copy of the disk for each kind of change.
pub fn refusals(setup: &Setup) -> impl Iterator<Item = Outcome> + '_ {
    CASES.iter().map(|case| {
        let start = Instant::now();
        let objection = boot_changed(setup, case).unwrap_or_else(|error| Some(with_causes(&error)));
        Outcome { suite: SUITE.to_owned(), name: case.name.to_owned(), objection, took: start.elapsed() }
    })
}

fn boot_changed(setup: &Setup, case: &Case) -> Result<Option<String>, BoardError> {
    let state = setup.state.join(case.folder);
    file::create_dir_all(&state)?;
    let copy = state.join("changed.img");
    let booted = (case.change)(&setup.image, &copy).and_then(|()| {
        let changed = Setup { image: copy.clone(), state, persistence: Persistence::Fresh, ..setup.clone() };
        judge(&mut Board::start(&changed)?, case)
    });
    super::super::state::remove(&copy)?;
    booted
}

/// None: it was refused, and what must follow followed.
fn judge(board: &mut Board, case: &Case) -> Result<Option<String>, BoardError> {
    let [refused, forbidden] = [case.refused, case.forbidden].map(known);
    let seen = board.expect_console(&[refused, forbidden.clone()], BOOT_PATIENCE)?;
    if seen.pattern != 0 {
        return Ok(Some(in_spite(&seen.line.text)));
    }
    let missing = match case.then {
        Then::StayInFirmware => stays(board, &forbidden)?,
        Then::Reset => resets(board)?,
    };
    let shown = board.console().find(&forbidden).map(|line| in_spite(&line.text));
    let spoke = board.status().map(|status| in_spite(&status.to_string()));
    Ok(missing.or(shown).or(spoke))
}

fn in_spite(line: &str) -> String {
    format!("it ran in spite of the change: `{line}`")
}

fn stays(board: &mut Board, forbidden: &Regex) -> Result<Option<String>, BoardError> {
    match board.expect_console(std::slice::from_ref(forbidden), SETTLING) {
        Ok(seen) => Ok(Some(in_spite(&seen.line.text))),
        Err(BoardError::NotSeen { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn resets(board: &mut Board) -> Result<Option<String>, BoardError> {
    let start = Instant::now();
    while start.elapsed() < RESET_PATIENCE {
        if board.control().events()?.iter().any(|event| event == "RESET") {
            return Ok(None);
        }
        board.pause(BETWEEN_LOOKS)?;
    }
    Ok(Some(format!("it was refused, but the device did not reset within {} s", RESET_PATIENCE.as_secs())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_refusals_are_recognised() {
        let table = [
            (FIRMWARE_REFUSES, "BdsDxe: failed to load Boot0001 \"UEFI Misc Device\" from PciRoot(0x0): Access Denied"),
            (KERNEL_REFUSES, "[    1.2] device-mapper: verity: 254:0: data block 0 is corrupted"),
            (AGENT_REFUSES, "osagent: fatal: `/dev/vda7` holds no ext4 file system"),
        ];
        for (pattern, line) in table {
            assert!(known(pattern).is_match(line), "{line}");
        }
        let harmless = known(FIRMWARE_REFUSES);
        assert!(!harmless.is_match("BdsDxe: failed to load Boot0001 \"UEFI Misc Device\" from PciRoot(0x0): Not Found"));
    }

    #[test]
    fn whatever_came_up_is_recognised_and_a_refusal_is_none_of_it() {
        for line in [
            "osagent: ready in 812 ms",
            "gateway-dev:~# ",
            "/ # ",
            "sh-5.2$ ",
            "gateway login: ",
            "Shell> ",
            "FS0:\\> ",
        ] {
            assert!(known(UP).is_match(line), "{line}");
        }
        let started = "BdsDxe: starting Boot0001 \"UEFI Misc Device\" from PciRoot(0x0)/Pci(0x1,0x0)";
        for line in ["EFI stub: UEFI Secure Boot is enabled.", "[    0.000000] Linux version 6.12", started] {
            assert!(known(RAN).is_match(line) && !known(UP).is_match(line), "{line}");
        }
        for case in &CASES {
            let refusals = [
                "BdsDxe: loading Boot0001 \"UEFI Misc Device\" from PciRoot(0x0)/Pci(0x1,0x0)",
                "BdsDxe: failed to load Boot0001 \"UEFI Misc Device\" from PciRoot(0x0)/Pci(0x1,0x0): Access Denied",
                "BdsDxe: No bootable option or device was found.",
                "BdsDxe: Press any key to enter the Boot Manager Menu.",
                ">>Start HTTP Boot over IPv4....",
                "  Error: Could not retrieve NBP file size from HTTP server.",
            ];
            for line in refusals {
                // As it arrives, byte by byte.
                for end in 0..=line.len() {
                    assert!(!known(case.forbidden).is_match(&line[..end]), "{}: {}", case.name, &line[..end]);
                }
            }
        }
        let oops = "CPU: 0 PID: 1 Comm: init Not tainted 6.12.95 #1";
        assert!((0..=oops.len()).all(|end| !known(UP).is_match(&oops[..end])));
        assert!(!known(UP).is_match("osagent: fatal: `/dev/vda7` holds no ext4 file system"));
    }
}
