//! Services and apps: when they start, stop and start again; and the processes that services are.
//!
//! Invariant: `machine` decides, `process` does; neither does the other's part.

mod backoff;
mod machine;
pub mod process;
mod unit;

#[cfg(test)]
mod tests;

pub use machine::{Action, Supervisor};
pub use unit::{Exit, State, Unit, UnitConfig};
