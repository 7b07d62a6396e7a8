//! The virtual board: a disk image to a running machine with Secure Boot and a TPM, and what it says.
//!
//! Invariant: every program it starts comes from a pinned tool tree and ends with the value that started it.

pub mod varstore;
