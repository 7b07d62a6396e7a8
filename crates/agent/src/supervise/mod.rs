//! Services: when they start, stop and start again, and the processes they are.
//!
//! Invariant: `machine` decides, `process` does; neither does the other's part.

mod backoff;
mod machine;
pub mod process;

#[cfg(test)]
mod tests;

pub use machine::{Action, State, Supervisor, Unit};
