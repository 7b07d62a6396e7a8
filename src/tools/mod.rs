//! The tool trees and what comes from outside: archives, Debian packages, sources, and the virtual board.
//!
//! Invariant: bytes from outside are checked against a pinned digest or a pinned public key before they
//! are used, and every parser of them has limits.

pub mod archive;
pub mod board;
pub mod debian;
pub mod fetch;
pub mod lock;
pub mod serial;
pub mod source;
pub mod tooltree;
pub mod vendor;
