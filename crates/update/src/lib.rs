//! A device with one release in, the same device with the next out.
//!
//! Everything that a device does to get there, over the traits of [`device`]: the agent gives it real partitions, the builder
//! files, the tests a storage that loses power. Invariant: at every instant the firmware finds a whole release to start.

mod digest;
pub mod choose;
pub mod device;
pub mod install;
pub mod payload;
pub mod policy;
pub mod reason;
pub mod simulate;
pub mod state;
pub mod trial;
mod verity;
