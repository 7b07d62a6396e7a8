//! Ctrl-C and SIGTERM in, an orderly end out; where something does not come back, an end all the same.
//!
//! Invariant: a run may end at any instant: what is in the cache is whole, sandboxes end with us, and the next
//! process sweeps the rest. So nobody has to wait for a server that is silent.

use super::report::Failure;
use crate::exec::ExecError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::time::Duration;

/// The exit status of a process that SIGINT ended, as shells have it.
pub const EXIT: u8 = 130;
/// What an interrupted run has to come to an end by itself.
const GRACE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(50);

pub struct Interruption {
    flag: Arc<AtomicBool>,
}

impl Interruption {
    /// From now on the first signal sets the flag; the second one ends the process at once.
    pub fn watch() -> Result<Interruption, Failure> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            let failed = |error: std::io::Error| Failure::new(format!("cannot watch for signals: {error}"));
            signal_hook::flag::register_conditional_shutdown(signal, EXIT.into(), Arc::clone(&flag)).map_err(failed)?;
            signal_hook::flag::register(signal, Arc::clone(&flag)).map_err(failed)?;
        }
        Ok(Interruption { flag })
    }

    pub fn flag(&self) -> &Arc<AtomicBool> {
        &self.flag
    }

    /// Does `work`, which looks at the flag; the process ends when it does not come back soon after.
    pub fn guard<T>(&self, work: impl FnOnce() -> T) -> T {
        let (working, over) = channel::<()>();
        let flag = Arc::clone(&self.flag);
        std::thread::spawn(move || await_end(&flag, &over));
        let result = work();
        drop(working);
        result
    }
}

fn await_end(flag: &AtomicBool, over: &Receiver<()>) {
    while !flag.load(Ordering::Relaxed) {
        if over.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
    if over.recv_timeout(GRACE) == Err(RecvTimeoutError::Timeout) {
        eprintln!("{}", Failure::from(ExecError::Interrupted));
        std::process::exit(EXIT.into());
    }
}
