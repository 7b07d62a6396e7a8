//! The parts of an image and the keys in; a signed, described, verifiable image folder out.
//!
//! Invariant: this is the only stage that sees a private key, and it runs after every task.

pub mod app;
pub mod boot_key;
mod building;
pub mod image;
pub mod keys;
pub mod manifest;
pub mod signer;
pub mod verify;

#[cfg(test)]
pub(crate) mod tests;
