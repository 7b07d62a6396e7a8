//! Releases in, what brings devices from one to the next out: payloads, and the repository that carries them.
//!
//! Invariant: each segment of a payload was applied to the release that it starts from, and gave what it writes; metadata is visible
//! only when everything that it names is.

pub mod delta;
pub mod guide;
pub mod repository;
