//! The device's side of an update: its partitions, its firmware's variables, its epoch and its clock, as `osbuild_update`
//! wants them; the processes that work with them, and what PID 1 has to do at a start.
//!
//! Invariant: nothing here decides about an update; what decides is `osbuild_update`, which the tests run without a device.

mod apart;
mod asked;
mod background;
pub mod clock;
mod confine;
mod device;
pub mod epoch;
pub mod firmware;
mod health;
pub mod partitions;
mod repository;
pub mod report;
pub mod start;
pub mod worker;
