//! A valid configuration and a lock in, a graph of actions out.
//!
//! Invariant: plan never does I/O; equal inputs give an equal plan, task for task.

pub mod task;
