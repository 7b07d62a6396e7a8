//! Where files lie in the root, verity trees, the files of apps, initramfs, UKI and ESP, and the checked kernel configuration.
//!
//! Invariant: equal inputs give equal bytes.

mod app;
pub mod authenticode;
pub mod erofs;
pub mod esp;
mod initramfs;
pub mod kconfig;
pub mod pe;
mod step;
pub mod uki;
pub mod verity;

pub use app::step as app_step;
pub use erofs::place_step;
pub use initramfs::step as initramfs_step;
pub use step::ImageError;
