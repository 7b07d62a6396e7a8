//! Threads of the agent: named, and with small stacks.
//!
//! Invariant: none is waited for; each ends with the process.

use crate::error::{AgentError, Doing};

/// Deep recursion has no place here, and memory is dear.
const STACK_BYTES: usize = 128 * 1024;

pub fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), AgentError> {
    let builder = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES);
    builder.spawn(work).map(drop).doing(|| format!("start the thread `{name}`"))
}
