//! Package files, skeletons and metadata in, the root of an image or of an app as a tar archive out.
//!
//! Invariants: equal input gives the same bytes whatever order it came in; an archive is made only when
//! every check passed, and the checks report all they found at once.

pub mod accounts;
mod agreement;
pub mod app_root;
mod apps;
pub mod check;
mod compose;
mod contents;
mod device;
pub mod glob;
mod metadata;
pub mod packages;
pub mod parameters;
mod problem;
pub mod release;
pub mod root;
pub mod rootfs;
pub mod size;
mod skeleton;
pub mod sysroot;
pub mod tar;
mod update;

#[cfg(test)]
mod tests;

pub use problem::{Problem, Problems, TreeError};
