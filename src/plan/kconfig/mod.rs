//! Kernel fragments are a contract: fragments in, what they request; a final `.config` in, every request it breaks.
//!
//! The language is that of the kernel's `Documentation/kbuild/kconfig-language.rst`; busybox uses an older form
//! of it. Invariant: pure functions with limits; no input makes them panic or recurse without bound.

mod check;
mod configuration;
mod edit;
mod explain;
mod expression;
mod fragment;
mod lines;
mod read;
mod symbols;

pub use check::{check, Unmet, Waiver};
pub use configuration::{diff, Change, Configuration, Value};
pub use edit::{Conflict, Edit};
pub use fragment::{
    allconfig, assignment, requested, updated, without_modules, FragmentError, Request, Requested, Settings,
};
pub use read::{read, ReadError, Sources};
pub use symbols::Symbols;

use std::fmt;
use std::sync::Arc;

/// A line of a fragment or of a Kconfig file; lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub file: Arc<str>,
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}
