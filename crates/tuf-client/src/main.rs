//! Words of a command line in, trusted metadata and targets in folders out.
//!
//! Invariant: it does what [`osbuild_tuf`] does and nothing more, so that what judges it judges the device's client.

fn main() {}
