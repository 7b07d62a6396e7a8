//! Threads of the agent: named, and with small stacks.
//!
//! Invariant: none is waited for without an end; each ends with the process.

use crate::error::{AgentError, Doing};
use std::sync::mpsc::{channel, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Deep recursion has no place here, and memory is dear.
const STACK_BYTES: usize = 128 * 1024;
/// Between two calls of what is done meanwhile.
const TURN: Duration = Duration::from_millis(20);

pub fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), AgentError> {
    let builder = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES);
    builder.spawn(work).map(drop).doing(|| format!("start the thread `{name}`"))
}

/// What the turn that ends here mapped of the program goes back to the kernel. A thread that comes round every few seconds calls
/// this before it waits: else it keeps the pages in memory that PID 1 gives back.
pub fn rest() {
    // Nothing is lost where that cannot be done; PID 1 does the same after each turn of its own, and tells.
    let _ = osbuild_sys::memory::release_program();
}

pub fn rest_for(duration: Duration) {
    rest();
    std::thread::sleep(duration);
}

/// Gives `work` a thread and at most `patience`, and calls `meanwhile` again and again until then. Where no thread can be
/// had, it is done here, with the watchdog as its bound. An error means that `work` is not done; it may still go on, for
/// nobody.
pub fn within(
    name: &str,
    patience: Duration,
    meanwhile: &mut dyn FnMut(),
    work: impl FnOnce() + Send + 'static,
) -> Result<(), AgentError> {
    let deadline = Instant::now() + patience;
    let (ended, end) = channel();
    let work = Arc::new(Mutex::new(Some(work)));
    let theirs = Arc::clone(&work);
    let started = start(name, move || {
        if let Some(work) = take(&theirs) {
            work();
        }
        // Nobody listens any more if it took too long.
        let _ = ended.send(());
    });
    if started.is_err() {
        if let Some(work) = take(&work) {
            work();
        }
        return Ok(());
    }
    loop {
        meanwhile();
        match end.recv_timeout(TURN) {
            Ok(()) => return Ok(()),
            Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
            Err(_) => return Err(AgentError::Wrong(format!("`{name}` was not done within {} s", patience.as_secs()))),
        }
    }
}

fn take<T>(place: &Mutex<Option<T>>) -> Option<T> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_ends_is_waited_for() {
        let (sender, receiver) = channel();
        let work = move || {
            std::thread::sleep(Duration::from_millis(50));
            sender.send(7).expect("the test waits");
        };
        within("quick", Duration::from_secs(60), &mut || (), work).expect("it ends in time");
        assert_eq!(receiver.try_recv(), Ok(7));
    }

    #[test]
    fn work_that_hangs_is_left_behind() {
        let (never, forever) = channel::<()>();
        let (began, mut turns) = (Instant::now(), 0);
        let hang = move || assert!(forever.recv().is_err());
        let error = within("stuck", Duration::from_millis(100), &mut || turns += 1, hang).expect_err("it hangs");
        assert!(error.to_string().starts_with("`stuck` was not done"), "{error}");
        assert!(turns > 1 && began.elapsed() < Duration::from_secs(5));
        drop(never);
    }
}
