//! Verity trees, initramfs, UKI and ESP, and the checked kernel configuration.
//!
//! Invariant: equal inputs give equal bytes.
pub mod kconfig;
