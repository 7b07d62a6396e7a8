//! The two ways the machine stops, and the end of all hope.
//!
//! Invariant: no function here returns: PID 1 must not, or the kernel panics.

use crate::console;
use rustix::system::{reboot, RebootCommand};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Reboot,
    PowerOff,
}

/// So that a slow serial line gets the reason out before the machine resets.
const TIME_TO_READ: Duration = Duration::from_secs(1);

/// Says why, and reboots: never a shell, never a system half up.
pub fn fatal(reason: &str) -> ! {
    console::say(&format!("fatal: {reason}"));
    rustix::fs::sync();
    std::thread::sleep(TIME_TO_READ);
    now(End::Reboot)
}

/// At once; everything is on disk by now.
pub fn now(end: End) -> ! {
    let command = match end {
        End::Reboot => RebootCommand::Restart,
        End::PowerOff => RebootCommand::PowerOff,
    };
    if let Err(error) = reboot(command) {
        console::say(&format!("the kernel refuses to {end:?}: {error}"));
    }
    // The watchdog, armed by now or by the firmware, does what the kernel did not.
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}
