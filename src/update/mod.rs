//! Releases in, what brings devices from one to the next out: payloads, and the repository that carries them.
//!
//! Invariant: what is published was applied to the release that it starts from, and gave the release that it leads to.

pub mod delta;
pub mod guide;
pub mod repository;
