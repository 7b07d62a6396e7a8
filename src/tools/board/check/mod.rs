//! Checks of a running board: the files in `tests/board/` to a report.
//!
//! Invariant: every check that applies to the product has one outcome; no checks at all is a failure.

mod report;
mod run;
mod spec;
pub mod sshkey;
mod tamper;

pub use report::{Outcome, Report, Timings};
pub use run::{with_causes, SshAccess};
pub use spec::{checks_for, Check, CheckFile, Probe, SuiteFile, Wanted};
pub use tamper::{changed_root_block, changed_uki};

use super::{Accelerator, Board, BoardError, PowerOff, Setup};
use regex::Regex;
use std::time::Duration;

/// How long a board may take from power on to ready.
pub const BOOT_PATIENCE: Duration = Duration::from_secs(180);
const POWER_OFF_PATIENCE: Duration = Duration::from_secs(30);
/// The firmware's last line before it starts the UKI.
const HAND_OVER: &str = "^BdsDxe: starting ";
const READY: &str = r"osagent: ready in \d+ ms";

/// Boots the board, runs `checks` against it and switches it off; `tell` is called after each check.
pub fn test(
    setup: &Setup,
    ssh: Option<&SshAccess>,
    checks: &[Check],
    mut tell: impl FnMut(&Outcome),
) -> Result<Report, BoardError> {
    let board = Board::start(setup)?;
    let (hand_over, ready) = (known(HAND_OVER), known(READY));
    let ready = board.expect_console(&[ready], BOOT_PATIENCE)?.line.at;
    let firmware = board.console().find(&hand_over).map_or(Duration::ZERO, |line| line.at);
    let bench = run::Bench { tools: &setup.tools, ssh };
    let mut outcomes = Vec::new();
    for check in checks {
        let outcome = run::run(&board, &bench, check);
        tell(&outcome);
        outcomes.push(outcome);
        setup.tools.stop().check()?;
    }
    let accelerator = match board.accelerator() {
        Accelerator::Kvm => "kvm",
        Accelerator::Software => "tcg",
    };
    let power_off = match board.power_off(POWER_OFF_PATIENCE)? {
        PowerOff::Ordered(took) => Some(took),
        PowerOff::Forced => None,
    };
    let timings = Timings { firmware, hand_over_to_ready: ready.saturating_sub(firmware), power_off };
    Ok(Report { product: setup.name.clone(), accelerator, timings, outcomes })
}

fn known(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a constant that tests compile")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_lines_are_recognised() {
        assert!(known(HAND_OVER).is_match("BdsDxe: starting Boot0001 \"UEFI Misc Device\" from PciRoot(0x0)"));
        assert!(known(READY).is_match("[    1.2] osagent: ready in 812 ms"));
    }
}
