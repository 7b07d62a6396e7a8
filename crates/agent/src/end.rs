//! The two ways the machine stops, and the end of all hope.
//!
//! Invariant: no function here that ends the machine returns: PID 1 must not, or the kernel panics. None waits for a
//! disk without an end.

use crate::error::chain;
use crate::{boot, console, thread};
use rustix::system::{reboot, RebootCommand};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Reboot,
    PowerOff,
}

/// So that a slow serial line gets the reason out before the machine resets.
const TIME_TO_READ: Duration = Duration::from_secs(1);
/// For what was written to reach a disk, which may be what hangs.
const TIME_TO_WRITE: Duration = Duration::from_secs(5);

/// Whether [`fatal`] was called: any thread may, while the main loop still goes round.
static HOPELESS: AtomicBool = AtomicBool::new(false);

/// From then on nothing but a reset helps, so the watchdog must not be fed any more.
pub fn is_hopeless() -> bool {
    HOPELESS.load(Ordering::Relaxed)
}

/// Says why, and reboots: never a shell, never a system half up.
pub fn fatal(reason: &str) -> ! {
    HOPELESS.store(true, Ordering::Relaxed);
    console::say(&format!("fatal: {reason}"));
    // The initramfs has written nothing, and may be here because a disk does not answer.
    if !boot::is_initramfs() {
        if let Err(error) = thread::within("sync", TIME_TO_WRITE, &mut || (), rustix::fs::sync) {
            console::say(&chain(&error));
        }
    }
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
