//! Names that apps ask for, to addresses that they may then reach: the only resolver that an app has.
//!
//! Invariant: an address is open to the app, for the name's ports alone, before the app gets to know it, and no longer
//! than the name server said, within bounds.

mod clients;
mod decision;
mod pending;
pub mod question;
mod serve;

pub use serve::Resolver;
