//! The device's side of an update: its partitions, its firmware's variables, its epoch and its clock, as `osbuild_update`
//! wants them.
//!
//! Invariant: nothing here decides about an update; what decides is `osbuild_update`, which the tests run without a device.

pub mod clock;
pub mod epoch;
pub mod firmware;
pub mod folder;
pub mod partitions;
