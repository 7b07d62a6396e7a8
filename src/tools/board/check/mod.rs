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

use super::{Accelerator, Board, BoardError, PowerOff, Setup, Stop};
use regex::Regex;
use std::time::Duration;

/// How long a board may take from power on to ready.
pub const BOOT_PATIENCE: Duration = Duration::from_secs(180);
const POWER_OFF_PATIENCE: Duration = Duration::from_secs(30);
/// The firmware's last line before it starts the UKI.
const HAND_OVER: &str = "^BdsDxe: starting ";
const READY: &str = r"osagent: ready in \d+ ms";
/// The agent gave up, and would only try the same again.
const FATAL: &str = "osagent: fatal: ";
/// The suite of what every product promises without being asked.
const LIFE: &str = "from power on to power off";

/// What to find out about a board.
pub struct Plan<'a> {
    pub checks: &'a [Check],
    pub ssh: Option<&'a SshAccess>,
    /// Also boot copies of the disk with one bit changed.
    pub tampered: bool,
}

/// Boots the board, runs the checks against it and switches it off; `tell` is called after each check. Whatever the
/// machine does once it has started is in the report; an error means that there is nothing to report.
pub fn test(setup: &Setup, plan: &Plan, tell: &mut dyn FnMut(&Outcome)) -> Result<Report, BoardError> {
    let mut outcomes = Outcomes { list: Vec::new(), tell, stop: setup.tools.stop() };
    let board = Board::start(setup)?;
    let accelerator = match board.accelerator() {
        Accelerator::Kvm => "kvm",
        Accelerator::Software => "tcg",
    };
    let ready = await_ready(&board);
    let firmware = board.console().find(&known(HAND_OVER)).map(|line| line.at);
    outcomes.add(handed_over(firmware))?;
    outcomes.add(became_ready(&ready))?;
    let bench = run::Bench { tools: &setup.tools, ssh: plan.ssh };
    for check in plan.checks {
        let outcome = if ready.is_ok() { run::run(&board, &bench, check) } else { untried(check) };
        outcomes.add(outcome)?;
    }
    let power_off = board.power_off(POWER_OFF_PATIENCE);
    outcomes.add(switched_off(&power_off))?;
    if plan.tampered {
        tamper::refusals(setup).try_for_each(|outcome| outcomes.add(outcome))?;
    }
    let hand_over_to_ready = ready.ok().zip(firmware).map(|(ready, firmware)| ready.saturating_sub(firmware));
    let timings = Timings { firmware, hand_over_to_ready, power_off: duration(&power_off) };
    Ok(Report { product: setup.name.clone(), accelerator, timings, outcomes: outcomes.list })
}

/// Outcomes as they come.
struct Outcomes<'a> {
    list: Vec<Outcome>,
    tell: &'a mut dyn FnMut(&Outcome),
    stop: &'a Stop,
}

impl Outcomes<'_> {
    /// What was found out while somebody wished to stop counts for nothing.
    fn add(&mut self, outcome: Outcome) -> Result<(), BoardError> {
        self.stop.check()?;
        (self.tell)(&outcome);
        self.list.push(outcome);
        Ok(())
    }
}

/// When it became ready, or why it did not.
fn await_ready(board: &Board) -> Result<Duration, String> {
    match board.expect_console(&[known(READY), known(FATAL)], BOOT_PATIENCE) {
        Ok(seen) if seen.pattern == 0 => Ok(seen.line.at),
        Ok(seen) => Err(format!("the console showed `{}`", seen.line.text)),
        Err(error) => Err(with_causes(&error)),
    }
}

fn life(name: &str, objection: Option<String>, took: Duration) -> Outcome {
    Outcome { suite: LIFE.to_owned(), name: name.to_owned(), objection, took }
}

fn handed_over(firmware: Option<Duration>) -> Outcome {
    let objection = firmware.is_none().then(|| format!("no line of the console matched `{HAND_OVER}`"));
    life("the firmware hands over to the image", objection, firmware.unwrap_or_default())
}

fn became_ready(ready: &Result<Duration, String>) -> Outcome {
    let took = *ready.as_ref().unwrap_or(&BOOT_PATIENCE);
    life("it becomes ready", ready.as_ref().err().cloned(), took)
}

fn untried(check: &Check) -> Outcome {
    let objection = Some("not tried: the board did not become ready".to_owned());
    Outcome { suite: check.suite.clone(), name: check.name.clone(), objection, took: Duration::ZERO }
}

fn switched_off(power_off: &Result<PowerOff, BoardError>) -> Outcome {
    let objection = match power_off {
        Ok(PowerOff::Ordered(_)) => None,
        Ok(PowerOff::Forced) => Some(format!("it was still on after {} s", POWER_OFF_PATIENCE.as_secs())),
        Err(error) => Some(with_causes(error)),
    };
    life("the power button switches it off", objection, duration(power_off).unwrap_or_default())
}

fn duration(power_off: &Result<PowerOff, BoardError>) -> Option<Duration> {
    match power_off {
        Ok(PowerOff::Ordered(took)) => Some(*took),
        _ => None,
    }
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
        assert!(known(FATAL).is_match("osagent: fatal: `/dev/vda7` holds no ext4 file system"));
    }

    #[test]
    fn what_goes_wrong_between_power_on_and_power_off_is_a_failed_outcome() {
        let second = Duration::from_secs(1);
        for (outcome, objection) in [
            (handed_over(Some(second)), None),
            (handed_over(None), Some("BdsDxe: starting")),
            (became_ready(&Ok(second)), None),
            (became_ready(&Err("the last lines were: panic".to_owned())), Some("panic")),
            (switched_off(&Ok(PowerOff::Ordered(second))), None),
            (switched_off(&Ok(PowerOff::Forced)), Some("still on after 30 s")),
            (switched_off(&Err(BoardError::Damage("gone".to_owned()))), Some("gone")),
        ] {
            match objection {
                None => assert_eq!(outcome.objection, None, "{}", outcome.name),
                Some(part) => assert!(outcome.objection.expect("a failure").contains(part), "{}", outcome.name),
            }
        }
    }

    #[test]
    fn a_check_that_was_not_tried_has_failed() {
        let probe = Probe::Connect { network: 0, guest_port: 22, says: None };
        let check = Check { suite: "s".into(), name: "n".into(), probe, within: Duration::from_secs(1) };
        let outcome = untried(&check);
        assert_eq!((outcome.suite.as_str(), outcome.name.as_str()), ("s", "n"));
        assert!(outcome.objection.is_some());
    }
}
