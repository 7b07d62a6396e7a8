//! Debian's archive: from the names of packages to the exact files that hold them and all they depend on.
//!
//! ```text
//! mirror -> release (signature) -> index (stanzas) -> resolve (relations, versions) -> packages
//! ```
//!
//! Invariant: a package is named only by an index whose digest a pinned public key has signed.

pub mod archive;
pub mod index;
pub mod mirror;
pub mod relation;
pub mod release;
pub mod resolve;
pub mod signature;
pub mod stanza;
pub mod version;

/// The suites where no layer names any, the one first that packages come from unless a tool tree says otherwise:
/// `name/bookworm-backports`. None of them moves any more.
pub const SUITES: [&str; 2] = ["bookworm", "bookworm-backports"];
